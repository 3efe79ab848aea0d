//! From logits to an answer: softmax and argmax, once for all engines.

use models::CLASSES;
use models::golden::argmax;
use serde::Serialize;

/// What a model answers for one digit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// The most probable digit; the smallest of equal ones.
    pub digit: u8,
    /// Its probability.
    pub confidence: f32,
    /// Probability of each digit, which together are 1.
    pub probabilities: [f32; CLASSES],
    /// Log of the sum of the logits' exponentials: how much in the picture speaks for any digit at all. Letters and
    /// scribbles have less than digits, however sure the probabilities are (Liu et al. 2020, as the free energy).
    pub evidence: f32,
    #[serde(skip)]
    log_probabilities: [f64; CLASSES],
}

impl Prediction {
    /// Softmax of finite logits, divided by a `temperature` over 0.
    pub fn from_logits(logits: &[f32; CLASSES], temperature: f64) -> Prediction {
        let digit = argmax(logits);
        let shifted = logits.map(|logit| f64::from(logit) - f64::from(logits[digit]));
        let log_sum = |values: &[f64]| values.iter().map(|value| value.exp()).sum::<f64>().ln();
        let calibrated = shifted.map(|value| value / temperature);
        let calibrated_log_sum = log_sum(&calibrated);
        let log_probabilities = calibrated.map(|value| value - calibrated_log_sum);
        let probabilities = log_probabilities.map(|value| value.exp() as f32);
        Prediction {
            digit: digit as u8,
            confidence: probabilities[digit],
            probabilities,
            evidence: (f64::from(logits[digit]) + log_sum(&shifted)) as f32,
            log_probabilities,
        }
    }

    /// The `k` most probable digits with their probabilities, the best first.
    pub fn top(&self, k: usize) -> Vec<(u8, f32)> {
        let mut ranked: Vec<_> = (0..).zip(self.probabilities).collect();
        // Stable: of equal ones the smaller digit comes first, as in `digit`.
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked.truncate(k);
        ranked
    }

    /// Cross entropy in nats, where the digit is known to be `label`.
    ///
    /// # Panics
    /// When `label` is over 9.
    pub fn loss(&self, label: u8) -> f64 {
        -self.log_probabilities[usize::from(label)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probabilities_are_a_softmax() {
        let mut logits = [0.0; CLASSES];
        logits[3] = 9f32.ln();
        let prediction = Prediction::from_logits(&logits, 1.0);
        assert_eq!(prediction.digit, 3);
        assert!((prediction.confidence - 0.5).abs() < 1e-6);
        assert!((prediction.probabilities[0] - 0.5 / 9.0).abs() < 1e-6);
        assert!((prediction.loss(3) - 2f64.ln()).abs() < 1e-6);
        assert!((prediction.evidence - 18f32.ln()).abs() < 1e-6);
        let top: Vec<_> = prediction.top(3).into_iter().map(|(digit, _)| digit).collect();
        assert_eq!(top, [3, 0, 1]);
    }

    #[test]
    fn a_low_temperature_makes_surer_and_leaves_the_evidence() {
        let mut logits = [0.0; CLASSES];
        logits[3] = 3f32.ln();
        let [warm, cold] = [1.0, 0.5].map(|temperature| Prediction::from_logits(&logits, temperature));
        assert!((warm.confidence - 3.0 / 12.0).abs() < 1e-6);
        assert!((cold.confidence - 9.0 / 18.0).abs() < 1e-6);
        assert_eq!(warm.evidence, cold.evidence);
    }

    #[test]
    fn huge_logits_do_not_overflow() {
        let mut logits = [-3e38; CLASSES];
        logits[9] = 3e38;
        let prediction = Prediction::from_logits(&logits, 1.0);
        assert_eq!((prediction.digit, prediction.confidence), (9, 1.0));
        assert!(prediction.loss(0).is_finite());
    }
}
