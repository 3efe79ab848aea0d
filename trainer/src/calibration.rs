//! How sure a network may be: the temperature that makes its confidence its accuracy, and how far they lie apart.

use tch::{Kind, Reduction, Tensor};

/// Bins of the calibration error.
const BINS: usize = 15;

/// The temperature in `0.1..10` that makes the mean cross entropy of `logits / temperature` least (Guo et al. 2017), for
/// logits `[n, 10]` of digits that were not trained on. The cross entropy has one minimum there.
pub fn fit(logits: &Tensor, labels: &Tensor) -> f64 {
    const STEPS: usize = 50;
    let (mut low, mut high) = (0.1f64.ln(), 10f64.ln());
    for _ in 0..STEPS {
        let third = (high - low) / 3.0;
        let [left, right] = [low + third, high - third].map(|log| loss(logits, labels, log.exp()));
        if left < right {
            high -= third;
        } else {
            low += third;
        }
    }
    f64::midpoint(low, high).exp()
}

/// Mean cross entropy of `logits / temperature`, in nats.
pub fn loss(logits: &Tensor, labels: &Tensor, temperature: f64) -> f64 {
    let calibrated = logits.to_kind(Kind::Double) / temperature;
    calibrated
        .cross_entropy_loss::<Tensor>(labels, None, Reduction::Mean, -100, 0.0)
        .double_value(&[])
}

/// The probability of the likeliest answer to each picture, for logits `[n, 10]`.
pub fn confidences(logits: &Tensor, temperature: f64) -> Vec<f64> {
    let calibrated = logits.to_kind(Kind::Double) / temperature;
    let likeliest = calibrated.softmax(1, Kind::Double).amax([1], false);
    Vec::try_from(likeliest).expect("one number a picture")
}

/// Mean distance between confidence and accuracy over bins of equal width, weighted by their digits (Guo et al. 2017).
pub fn error(logits: &Tensor, labels: &Tensor, temperature: f64) -> f64 {
    let hits = logits.argmax(1, false).eq_tensor(&labels.to_device(logits.device()));
    let hits: Vec<bool> = Vec::try_from(hits).expect("one answer a digit");
    expected_error(&confidences(logits, temperature), &hits)
}

fn expected_error(confidences: &[f64], hits: &[bool]) -> f64 {
    let mut gaps = [0.0; BINS];
    for (confidence, &hit) in confidences.iter().zip(hits) {
        let bin = ((confidence * BINS as f64) as usize).min(BINS - 1);
        gaps[bin] += confidence - f64::from(u8::from(hit));
    }
    gaps.iter().map(|gap| gap.abs()).sum::<f64>() / confidences.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidence_that_is_accuracy_has_no_error() {
        let hits = [true, true, true, false];
        assert!(expected_error(&[0.75; 4], &hits) < 1e-12);
        assert!((expected_error(&[1.0; 4], &hits) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn the_temperature_makes_confidence_accuracy() {
        // Three of four answers are right, and the logits say so at temperature 1.
        let row = |scale: f32| [scale * 3f32.ln(), 0.0];
        let labels = Tensor::from_slice(&[0i64, 0, 0, 1]);
        for (scale, expected) in [(1.0, 1.0), (2.0, 2.0), (0.5, 0.5)] {
            let logits = Tensor::from_slice(&[row(scale); 4].concat()).view([4, 2]);
            let temperature = fit(&logits, &labels);
            assert!((temperature - expected).abs() < 1e-3, "{temperature} {expected}");
            assert!(error(&logits, &labels, temperature) < 1e-3);
        }
    }
}
