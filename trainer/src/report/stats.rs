//! Means, spreads and paired differences. Pure functions.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// Mean; NaN of none.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Standard deviation of a sample, with `n - 1`; NaN of fewer than two.
pub fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    if values.len() < 2 {
        return f64::NAN;
    }
    (squares / (values.len() - 1) as f64).sqrt()
}

/// How far paired values differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Pairs.
    pub n: usize,
    /// Mean of `one - other`.
    pub mean: f64,
    /// Half of its 95 % interval by Student's t with `n - 1` degrees of freedom; NaN of fewer than two pairs.
    pub half: f64,
}

impl Difference {
    /// The difference of pairs `(one, other)`.
    pub fn new(pairs: &[(f64, f64)]) -> Difference {
        let differences: Vec<f64> = pairs.iter().map(|(one, other)| one - other).collect();
        let n = differences.len();
        let error = deviation(&differences) / (n as f64).sqrt();
        let t = StudentsT::new(0.0, 1.0, n.saturating_sub(1) as f64);
        Difference {
            n,
            mean: mean(&differences),
            half: t.map_or(f64::NAN, |t| t.inverse_cdf(0.975) * error),
        }
    }

    /// Whether the interval leaves out 0.
    pub fn is_decided(&self) -> bool {
        self.mean.abs() > self.half
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Student's sleep data (1908): mean 1.58, 95 % interval 0.70 to 2.46, as in R's `t.test`.
    #[test]
    fn agrees_with_students_sleep_data() {
        let one = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        let other = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let pairs: Vec<_> = one.into_iter().zip(other).collect();
        let difference = Difference::new(&pairs);
        assert!((difference.mean - 1.58).abs() < 1e-9);
        assert!(
            (difference.mean - difference.half - 0.700_114).abs() < 1e-4,
            "{difference:?}"
        );
        assert!(difference.is_decided());
    }

    #[test]
    fn one_pair_decides_nothing() {
        let difference = Difference::new(&[(2.0, 1.0)]);
        assert!(difference.half.is_nan() && !difference.is_decided());
        assert!((deviation(&[1.0, 2.0, 3.0]) - 1.0).abs() < 1e-12);
    }
}
