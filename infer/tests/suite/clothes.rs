//! Fashion-MNIST, of which the released network has never seen a picture, against MNIST's test digits.

use std::path::Path;

use infer::Classifier;
use models::mnist::{Part, Split};

/// Where Debian's dataset-fashion-mnist puts it.
const CLOTHES: &str = "/usr/share/datasets/fashion-mnist";
/// Pictures of each kind.
const N: usize = 5000;

#[test]
fn digits_are_told_from_clothes_by_the_confidence() {
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data");
    let [Ok(digits), Ok(clothes)] = [&digits, Path::new(CLOTHES)].map(|folder| Split::read(folder, Part::Test)) else {
        let required = std::env::var_os("THREEBLOCK_REQUIRE_CLOTHES").is_some();
        assert!(!required, "MNIST or {CLOTHES} is missing: run make setup");
        crate::skipped("MNIST or Fashion-MNIST is missing: run make setup");
        return;
    };
    let mut classifier = Classifier::released().unwrap();
    let mut confidences = |split: &Split| {
        let predictions = classifier.classify_all(&split.digits[..N]).unwrap();
        predictions
            .into_iter()
            .map(|prediction| prediction.confidence)
            .collect::<Vec<_>>()
    };
    let (of_digits, mut of_clothes) = (confidences(&digits), confidences(&clothes));
    of_clothes.sort_by(f32::total_cmp);
    let below = |&digit: &f32| of_clothes.partition_point(|&clothes| clothes < digit);
    let area = of_digits.iter().map(below).sum::<usize>() as f64 / (N * N) as f64;
    assert!(area >= 0.98, "area under the ROC curve: {area}");
}
