//! How well digits were read: accuracy with its interval, loss, each digit, the confusion matrix. Pure counting.

use crate::CLASSES;

/// What was answered for a set of labelled digits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// `confusion[label][answer]` counts the digits.
    pub confusion: [[u32; CLASSES]; CLASSES],
    /// Sum of the cross entropies of the digits, in nats.
    pub loss_sum: f64,
}

impl Score {
    /// Counts one answer with its cross entropy in nats.
    ///
    /// # Panics
    /// When label or answer is over 9.
    pub fn add(&mut self, label: u8, answer: u8, loss: f64) {
        self.confusion[usize::from(label)][usize::from(answer)] += 1;
        self.loss_sum += loss;
    }

    /// Digits counted.
    pub fn n(&self) -> u32 {
        self.confusion.iter().flatten().sum()
    }

    /// Digits read right.
    pub fn hits(&self) -> u32 {
        (0..CLASSES).map(|digit| self.confusion[digit][digit]).sum()
    }

    /// Fraction of the digits that were read right; NaN of none.
    pub fn accuracy(&self) -> f64 {
        f64::from(self.hits()) / f64::from(self.n())
    }

    /// Mean cross entropy in nats; NaN of none.
    pub fn loss(&self) -> f64 {
        self.loss_sum / f64::from(self.n())
    }

    /// Fraction read right of the digits that show `digit`; NaN of none.
    ///
    /// # Panics
    /// When `digit` is over 9.
    pub fn digit_accuracy(&self, digit: usize) -> f64 {
        let row = &self.confusion[digit];
        f64::from(row[digit]) / f64::from(row.iter().sum::<u32>())
    }

    /// [`Score::digit_accuracy`] of the ten digits.
    pub fn per_digit(&self) -> [f64; CLASSES] {
        std::array::from_fn(|digit| self.digit_accuracy(digit))
    }

    /// The digit that is the answer to every digit, where there is only one.
    pub fn only_answer(&self) -> Option<usize> {
        let answered = |&answer: &usize| self.confusion.iter().any(|row| row[answer] > 0);
        let mut answers = (0..CLASSES).filter(answered);
        answers.next().filter(|_| answers.next().is_none())
    }

    /// The 95 % interval of the accuracy.
    pub fn interval(&self) -> (f64, f64) {
        wilson(self.hits(), self.n())
    }
}

/// Wilson's 95 % score interval of a fraction `hits / n` (Wilson 1927); `(0, 1)` of none.
pub fn wilson(hits: u32, n: u32) -> (f64, f64) {
    const Z: f64 = 1.959_963_984_540_054;
    if n == 0 {
        return (0.0, 1.0);
    }
    let n = f64::from(n);
    let p = f64::from(hits) / n;
    let center = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (((center - half) / scale).max(0.0), ((center + half) / scale).min(1.0))
}

/// Area under the ROC curve: how often one of `high` is over one of `low`, ties counting half (Hanley and McNeil 1982); NaN
/// where one of both is empty.
pub fn area_under_curve(high: &[f64], low: &[f64]) -> f64 {
    let mut low = low.to_vec();
    low.sort_by(f64::total_cmp);
    let below = |value: &f64| {
        let less = low.partition_point(|other| other < value);
        let equal = low.partition_point(|other| other <= value) - less;
        less as f64 + equal as f64 / 2.0
    };
    high.iter().map(below).sum::<f64>() / (high.len() as f64 * low.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_counts_pairs() {
        assert_eq!(area_under_curve(&[0.9, 0.8], &[0.1, 0.2, 0.3]), 1.0);
        assert_eq!(area_under_curve(&[0.5], &[0.5]), 0.5);
        assert_eq!(area_under_curve(&[0.9, 0.2], &[0.1, 0.5]), 0.75);
        let nothing = f64::NEG_INFINITY;
        assert_eq!(area_under_curve(&[nothing, 1.0], &[nothing]), 0.75);
        assert!(area_under_curve(&[0.5], &[]).is_nan());
    }

    #[test]
    fn counts() {
        let mut score = Score::default();
        score.add(3, 3, 0.5);
        score.add(3, 5, 1.5);
        score.add(0, 0, 0.0);
        assert_eq!((score.n(), score.hits()), (3, 2));
        assert_eq!(score.accuracy(), 2.0 / 3.0);
        assert_eq!(score.digit_accuracy(3), 0.5);
        assert!(score.digit_accuracy(9).is_nan());
        assert_eq!(score.only_answer(), None);
        assert!((score.loss() - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn one_answer_to_everything_is_noticed() {
        let mut score = Score::default();
        assert_eq!(score.only_answer(), None);
        score.add(3, 4, 2.3);
        score.add(4, 4, 2.3);
        assert_eq!(score.only_answer(), Some(4));
    }

    /// 81 of 263 gives 0.2553 to 0.3662: Newcombe 1998, table I, method 3.
    #[test]
    fn wilson_agrees_with_the_literature() {
        let (low, high) = wilson(81, 263);
        assert!(
            (low - 0.2553).abs() < 5e-5 && (high - 0.3662).abs() < 5e-5,
            "{low} {high}"
        );
        let (low, high) = wilson(0, 20);
        assert!(low == 0.0 && (high - 0.1611).abs() < 5e-5, "{high}");
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }
}
