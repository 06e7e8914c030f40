//! What was measured, and its percentiles.

/// What rounds of one program saw.
#[derive(Default)]
pub struct Holds {
    /// How long each thread was held, in nanoseconds, all threads of all rounds.
    pub held: Vec<u64>,
    /// From the first stop to the last release, for each round.
    pub windows: Vec<u64>,
    /// What was not captured, or not as asked.
    pub losses: usize,
}

/// Of all holds and windows, in microseconds.
#[derive(Clone, Copy)]
pub struct Figures {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
    /// The median.
    pub window: f64,
}

impl Holds {
    pub fn figures(&mut self) -> Figures {
        Figures {
            p50: percentile(&mut self.held, 50),
            p99: percentile(&mut self.held, 99),
            max: percentile(&mut self.held, 100),
            window: percentile(&mut self.windows, 50),
        }
    }
}

/// In microseconds; of nothing it is no number.
pub fn percentile(nanoseconds: &mut [u64], percent: usize) -> f64 {
    nanoseconds.sort_unstable();
    let last = nanoseconds.len().saturating_sub(1);
    let at = (nanoseconds.len() * percent / 100).min(last);
    nanoseconds.get(at).map_or(f64::NAN, |&ns| ns as f64 / 1000.0)
}
