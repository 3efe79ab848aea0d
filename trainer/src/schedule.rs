//! How the learning rate goes through a training.

use serde::{Deserialize, Serialize};

/// Which schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// The same rate throughout.
    Constant,
    /// A straight rise from 0, then half a cosine down to 0 (after Smith and Topin 2018).
    OneCycle,
}

impl Schedule {
    /// Learning rate after the fraction `progress` of the training; `peak` is the highest, to which it rises over the
    /// fraction `warm_up` of it.
    pub fn rate(self, peak: f64, warm_up: f64, progress: f64) -> f64 {
        match self {
            Schedule::Constant => peak,
            Schedule::OneCycle if progress < warm_up => peak * progress / warm_up,
            Schedule::OneCycle => {
                let fall = (progress - warm_up) / (1.0 - warm_up);
                peak * (1.0 + (std::f64::consts::PI * fall).cos()) / 2.0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cycle_starts_and_ends_at_nothing_and_peaks_between() {
        let rate = |progress| Schedule::OneCycle.rate(0.1, 0.2, progress);
        for (progress, expected) in [(0.0, 0.0), (0.1, 0.05), (0.2, 0.1), (0.6, 0.05), (1.0, 0.0)] {
            assert!((rate(progress) - expected).abs() < 1e-12, "{progress}");
        }
    }

    #[test]
    fn constant_is_constant() {
        assert_eq!(Schedule::Constant.rate(0.1, 0.2, 0.0), 0.1);
        assert_eq!(Schedule::Constant.rate(0.1, 0.2, 1.0), 0.1);
    }
}
