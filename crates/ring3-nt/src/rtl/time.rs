//! Times as calendar fields and seconds. Documentation: wdm.h, ntifs.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::layout::{LARGE_INTEGER, TIME_FIELDS};

const PER_MILLISECOND: i64 = 10_000;
const PER_SECOND: i64 = 10_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// Days of 400 years.
const DAYS_PER_ERA: i64 = 146_097;
/// Days from March 1st of the year 0 (of the calendar continued backwards) to 1601-01-01.
const MARCH_OF_YEAR_0: i64 = 584_694;
/// 1970-01-01 and 1980-01-01 in seconds since 1601.
const UNIX_EPOCH: i64 = 11_644_473_600;
const DOS_EPOCH: i64 = 11_960_006_400;

/// A calendar date and time of day, as TIME_FIELDS has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    year: i16,
    month: i16,
    day: i16,
    hour: i16,
    minute: i16,
    second: i16,
    milliseconds: i16,
    weekday: i16,
}

/// The fields of a time in 100 ns units since 1601. Negative times have none and give 1601-01-01.
#[must_use]
pub fn fields(time: i64) -> Fields {
    let time = time.max(0);
    let milliseconds = time / PER_MILLISECOND;
    let seconds = milliseconds / 1000;
    let days = seconds / SECONDS_PER_DAY;
    let rest = seconds % SECONDS_PER_DAY;
    // Years that begin in March have their leap day at the end. Counted from March of the year 0, whose
    // cycle of 400 years starts then.
    let shifted = days + MARCH_OF_YEAR_0;
    let (era, day_of_era) = (shifted / DAYS_PER_ERA, shifted % DAYS_PER_ERA);
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let first = (153 * month + 2) / 5;
    let (calendar_month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let calendar_year = era * 400 + year + carry;
    Fields {
        year: calendar_year as i16,
        month: calendar_month as i16,
        day: (day - first + 1) as i16,
        hour: (rest / 3600) as i16,
        minute: (rest / 60 % 60) as i16,
        second: (rest % 60) as i16,
        milliseconds: (milliseconds % 1000) as i16,
        // 1601-01-01 was a Monday; 0 is Sunday.
        weekday: ((days + 1) % 7) as i16,
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The time of calendar fields; `None` if they are no date from 1601 on. The weekday is ignored.
#[must_use]
pub fn time_of(f: &Fields) -> Option<i64> {
    let (year, month, day) = (i64::from(f.year), i64::from(f.month), i64::from(f.day));
    let in_range = |value: i16, end: i16| (0..end).contains(&value);
    if year < 1601 || !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    if !(in_range(f.hour, 24)
        && in_range(f.minute, 60)
        && in_range(f.second, 60)
        && in_range(f.milliseconds, 1000))
    {
        return None;
    }
    let past = year - 1601;
    let mut days = past * 365 + past / 4 - past / 100 + past / 400;
    days += (1..month).map(|m| days_in_month(year, m)).sum::<i64>() + day - 1;
    let seconds = days * SECONDS_PER_DAY
        + i64::from(f.hour) * 3600
        + i64::from(f.minute) * 60
        + i64::from(f.second);
    Some(seconds * PER_SECOND + i64::from(f.milliseconds) * PER_MILLISECOND)
}

fn write(cx: &mut Machine, at: Gva<TIME_FIELDS>, f: &Fields) -> Result<(), Fault> {
    let values = [
        f.year,
        f.month,
        f.day,
        f.hour,
        f.minute,
        f.second,
        f.milliseconds,
        f.weekday,
    ];
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    cx.memory.write_bytes(at, &bytes)
}

fn read(cx: &Machine, at: Gva<TIME_FIELDS>) -> Result<Fields, Fault> {
    Ok(Fields {
        year: cx.memory.get(at, TIME_FIELDS::Year)?,
        month: cx.memory.get(at, TIME_FIELDS::Month)?,
        day: cx.memory.get(at, TIME_FIELDS::Day)?,
        hour: cx.memory.get(at, TIME_FIELDS::Hour)?,
        minute: cx.memory.get(at, TIME_FIELDS::Minute)?,
        second: cx.memory.get(at, TIME_FIELDS::Second)?,
        milliseconds: cx.memory.get(at, TIME_FIELDS::Milliseconds)?,
        weekday: cx.memory.get(at, TIME_FIELDS::Weekday)?,
    })
}

fn seconds_since(
    cx: &mut Machine,
    time: Gva<LARGE_INTEGER>,
    epoch: i64,
    to: Gva<u32>,
) -> Result<bool, Fault> {
    let seconds = cx.memory.get(time, LARGE_INTEGER::QuadPart)? / PER_SECOND - epoch;
    let Ok(seconds) = u32::try_from(seconds) else {
        return Ok(false);
    };
    cx.memory.write(to, seconds)?;
    Ok(true)
}

/// Routines on times.
pub struct Times;

#[exports("ntoskrnl.exe")]
impl Times {
    /// Splits a time into calendar fields.
    #[page("wdm/nf-wdm-rtltimetotimefields")]
    #[irql(any)]
    fn RtlTimeToTimeFields(
        cx: &mut Machine,
        Time: Gva<LARGE_INTEGER>,
        TimeFields: Gva<TIME_FIELDS>,
    ) -> Result<(), Fault> {
        let time = cx.memory.get(Time, LARGE_INTEGER::QuadPart)?;
        write(cx, TimeFields, &fields(time))
    }

    /// Makes a time of calendar fields. FALSE if they are no date.
    #[page("wdm/nf-wdm-rtltimefieldstotime")]
    #[irql(any)]
    fn RtlTimeFieldsToTime(
        cx: &mut Machine,
        TimeFields: Gva<TIME_FIELDS>,
        Time: Gva<LARGE_INTEGER>,
    ) -> Result<bool, Fault> {
        let Some(time) = time_of(&read(cx, TimeFields)?) else {
            return Ok(false);
        };
        cx.memory.set(Time, LARGE_INTEGER::QuadPart, time)?;
        Ok(true)
    }

    /// Splits a span of time: days in Day, no year and no month.
    #[page("")]
    #[irql(any)]
    fn RtlTimeToElapsedTimeFields(
        cx: &mut Machine,
        Time: Gva<LARGE_INTEGER>,
        TimeFields: Gva<TIME_FIELDS>,
    ) -> Result<(), Fault> {
        let time = cx.memory.get(Time, LARGE_INTEGER::QuadPart)?.max(0);
        let days = time / PER_SECOND / SECONDS_PER_DAY;
        let span = Fields {
            year: 0,
            month: 0,
            day: days as i16,
            weekday: 0,
            ..fields(time)
        };
        write(cx, TimeFields, &span)
    }

    /// Converts system time to local time; the machine's time zone is UTC.
    #[page("wdm/nf-wdm-exsystemtimetolocaltime")]
    #[irql(any)]
    fn ExSystemTimeToLocalTime(
        cx: &mut Machine,
        SystemTime: Gva<LARGE_INTEGER>,
        LocalTime: Gva<LARGE_INTEGER>,
    ) -> Result<(), Fault> {
        let time = cx.memory.get(SystemTime, LARGE_INTEGER::QuadPart)?;
        cx.memory.set(LocalTime, LARGE_INTEGER::QuadPart, time)
    }

    /// Converts local time to system time; the machine's time zone is UTC.
    #[page("wdm/nf-wdm-exlocaltimetosystemtime")]
    #[irql(any)]
    fn ExLocalTimeToSystemTime(
        cx: &mut Machine,
        LocalTime: Gva<LARGE_INTEGER>,
        SystemTime: Gva<LARGE_INTEGER>,
    ) -> Result<(), Fault> {
        let time = cx.memory.get(LocalTime, LARGE_INTEGER::QuadPart)?;
        cx.memory.set(SystemTime, LARGE_INTEGER::QuadPart, time)
    }

    /// Seconds since 1970 of a time. FALSE if they do not fit.
    #[page("ntifs/nf-ntifs-rtltimetosecondssince1970")]
    #[irql(any)]
    fn RtlTimeToSecondsSince1970(
        cx: &mut Machine,
        Time: Gva<LARGE_INTEGER>,
        ElapsedSeconds: Gva<u32>,
    ) -> Result<bool, Fault> {
        seconds_since(cx, Time, UNIX_EPOCH, ElapsedSeconds)
    }

    /// Seconds since 1980 of a time. FALSE if they do not fit.
    #[page("ntifs/nf-ntifs-rtltimetosecondssince1980")]
    #[irql(any)]
    fn RtlTimeToSecondsSince1980(
        cx: &mut Machine,
        Time: Gva<LARGE_INTEGER>,
        ElapsedSeconds: Gva<u32>,
    ) -> Result<bool, Fault> {
        seconds_since(cx, Time, DOS_EPOCH, ElapsedSeconds)
    }

    /// The time of seconds since 1970.
    #[page("ntifs/nf-ntifs-rtlsecondssince1970totime")]
    #[irql(any)]
    fn RtlSecondsSince1970ToTime(
        cx: &mut Machine,
        ElapsedSeconds: u32,
        Time: Gva<LARGE_INTEGER>,
    ) -> Result<(), Fault> {
        cx.memory.set(
            Time,
            LARGE_INTEGER::QuadPart,
            (i64::from(ElapsedSeconds) + UNIX_EPOCH) * PER_SECOND,
        )
    }

    /// The time of seconds since 1980.
    #[page("ntifs/nf-ntifs-rtlsecondssince1980totime")]
    #[irql(any)]
    fn RtlSecondsSince1980ToTime(
        cx: &mut Machine,
        ElapsedSeconds: u32,
        Time: Gva<LARGE_INTEGER>,
    ) -> Result<(), Fault> {
        cx.memory.set(
            Time,
            LARGE_INTEGER::QuadPart,
            (i64::from(ElapsedSeconds) + DOS_EPOCH) * PER_SECOND,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(time: i64) -> (i16, i16, i16, i16) {
        let f = fields(time);
        (f.year, f.month, f.day, f.weekday)
    }

    #[test]
    fn known_days() {
        assert_eq!(date(0), (1601, 1, 1, 1));
        assert_eq!(date(UNIX_EPOCH * PER_SECOND), (1970, 1, 1, 4));
        assert_eq!(date(DOS_EPOCH * PER_SECOND), (1980, 1, 1, 2));
        assert_eq!(date(133_485_408_000_000_000), (2024, 1, 1, 1));
    }

    #[test]
    fn every_day_of_eight_centuries_comes_back() {
        let day = SECONDS_PER_DAY * PER_SECOND;
        let mut before = fields(0);
        for n in 1..800 * 365 {
            let f = fields(n * day + 12_345 * PER_MILLISECOND);
            assert_eq!(
                time_of(&f),
                Some(n * day + 12_345 * PER_MILLISECOND),
                "{f:?}"
            );
            let next =
                if i64::from(before.day) < days_in_month(before.year.into(), before.month.into()) {
                    (before.year, before.month, before.day + 1)
                } else if before.month < 12 {
                    (before.year, before.month + 1, 1)
                } else {
                    (before.year + 1, 1, 1)
                };
            assert_eq!((f.year, f.month, f.day), next);
            assert_eq!(f.weekday, (before.weekday + 1) % 7);
            before = f;
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        let good = fields(133_485_408_000_000_000);
        assert!(time_of(&good).is_some());
        assert_eq!(time_of(&Fields { month: 13, ..good }), None);
        assert_eq!(
            time_of(&Fields {
                month: 2,
                day: 30,
                ..good
            }),
            None
        );
        assert_eq!(time_of(&Fields { year: 1600, ..good }), None);
        assert_eq!(time_of(&Fields { hour: 24, ..good }), None);
        assert_eq!(
            time_of(&Fields {
                milliseconds: -1,
                ..good
            }),
            None
        );
    }
}
