//! Clocks and medians.

use std::time::{Duration, Instant};

/// Processor time of the calling thread where the host has such a clock (Unix), wall time elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    #[cfg(unix)]
    start: Duration,
    #[cfg(not(unix))]
    start: Instant,
}

#[cfg(unix)]
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

impl Stopwatch {
    /// Starts.
    #[must_use]
    pub fn start() -> Self {
        #[cfg(unix)]
        let start = thread_time();
        #[cfg(not(unix))]
        let start = Instant::now();
        Self { start }
    }

    /// The time since then.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        #[cfg(unix)]
        return thread_time().saturating_sub(self.start);
        #[cfg(not(unix))]
        self.start.elapsed()
    }
}

/// Wall time of a piece of work, with what it gave.
pub fn wall<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

/// The value in the middle; NaN for none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let at = |n: usize| sorted.get(n).copied().unwrap_or(f64::NAN);
    if sorted.len() % 2 == 1 || sorted.is_empty() {
        at(middle)
    } else {
        f64::midpoint(at(middle - 1), at(middle))
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians() {
        assert!(median(&[]).is_nan());
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }
}
