//! Runs of equal bits: the logic of the bitmap routines.

/// What a search without a result returns.
pub const NOT_FOUND: u32 = u32::MAX;

/// The runs of one value, in order, as (start, length).
#[derive(Debug)]
pub struct Runs<'a> {
    bits: &'a [bool],
    value: bool,
    at: usize,
}

impl<'a> Runs<'a> {
    /// All runs.
    #[must_use]
    pub fn of(bits: &'a [bool], value: bool) -> Self {
        Self { bits, value, at: 0 }
    }

    /// Runs from a place on; one that has begun before counts from there.
    #[must_use]
    pub fn from(bits: &'a [bool], value: bool, at: usize) -> Self {
        Self { bits, value, at }
    }
}

impl Iterator for Runs<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        let rest = self.bits.get(self.at..)?;
        let start = self.at + rest.iter().position(|b| *b == self.value)?;
        let length = self
            .bits
            .get(start..)?
            .iter()
            .take_while(|b| **b == self.value)
            .count();
        self.at = start + length;
        Some((start, length))
    }
}

/// The first run of at least `count` bits: from `hint` on, else from the start.
#[must_use]
pub fn find_run(bits: &[bool], value: bool, count: usize, hint: usize) -> u32 {
    let hint = if hint < bits.len() { hint } else { 0 };
    Runs::from(bits, value, hint)
        .chain(Runs::of(bits, value))
        .find(|(_, length)| *length >= count)
        .map_or(NOT_FOUND, |(at, _)| at as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(text: &str) -> Vec<bool> {
        text.chars().map(|c| c == '1').collect()
    }

    #[test]
    fn runs_are_found_in_order() {
        let map = bits("0011000110");
        assert_eq!(
            Runs::of(&map, false).collect::<Vec<_>>(),
            [(0, 2), (4, 3), (9, 1)]
        );
        assert_eq!(Runs::of(&map, true).collect::<Vec<_>>(), [(2, 2), (7, 2)]);
        assert_eq!(Runs::from(&map, false, 5).next(), Some((5, 2)));
        assert_eq!(Runs::from(&map, false, 10).next(), None);
        assert_eq!(Runs::from(&map, false, 99).next(), None);
    }

    #[test]
    fn a_search_starts_at_its_hint_and_wraps() {
        let map = bits("0001000110");
        assert_eq!(find_run(&map, false, 2, 0), 0);
        assert_eq!(find_run(&map, false, 2, 2), 4);
        assert_eq!(find_run(&map, false, 3, 5), 0);
        assert_eq!(find_run(&map, false, 4, 0), NOT_FOUND);
        assert_eq!(find_run(&map, true, 2, 50), 7);
        assert_eq!(find_run(&[], false, 1, 0), NOT_FOUND);
    }
}
