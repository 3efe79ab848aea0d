//! How networks fare where MNIST does not lead: altered test digits, and pictures of no digit. Networks in, tables out.

use std::fmt::Write;

use models::glyph::INK_BOX;
use models::score::area_under_curve;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

use crate::augment::{Motion, PIXEL, from_ink, strokes, to_ink, warp};
use crate::calibration::{self, confidences};
use crate::data::Dataset;
use crate::net::{self, Net};
use crate::outliers;
use crate::train::{self, EVAL_BATCH};

/// Pictures of no digit of each kind; fewer where there are fewer test digits.
const N_OUTLIERS: usize = 10_000;

/// Named networks, each with the temperature of its probabilities.
pub type Nets = [(String, Net, f64)];
/// A row's name, and its digits or pictures `[n, 1, 28, 28]`.
type Case = (String, Tensor);

/// Three tables in Markdown: accuracy on altered test digits; how far no digits are told from test digits by the
/// confidence of the answer, and by the evidence; calibration. `strangers` are pictures of no digit that nobody trained on,
/// and their folder.
pub fn tables(nets: &Nets, test: &Dataset, strangers: Option<&(String, Dataset)>) -> String {
    let _no_grad = tch::no_grad_guard();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut text = header(nets, "accuracy", &["test digits"]);
    for (name, digits) in altered(&test.digits, &mut rng) {
        let cells = nets.iter().map(|(_, net, _)| {
            let labels = test.labels.shallow_clone();
            format!(
                "{:.4}",
                train::evaluate(
                    net,
                    &Dataset {
                        digits: digits.shallow_clone(),
                        labels
                    }
                )
                .accuracy()
            )
        });
        row(&mut text, &name, cells);
    }
    text += &header(
        nets,
        "area under the ROC curve, share with confidence over 0.5, highest confidence, share with as much evidence as 99 % of \
         the test digits have",
        &["no digits", "n"],
    );
    let logits = |net: &Net, pictures: &Tensor| net::logits(net, pictures, EVAL_BATCH);
    let of_digits = nets.iter().map(|(_, net, temperature)| {
        let logits = logits(net, &test.digits);
        (confidences(&logits, *temperature), hundredth(evidence(&logits)))
    });
    let of_digits: Vec<(Vec<f64>, f64)> = of_digits.collect();
    for (name, pictures) in no_digits(test, strangers, &mut rng) {
        let cells = nets
            .iter()
            .zip(&of_digits)
            .map(|((_, net, temperature), (sure, enough))| {
                let logits = logits(net, &pictures);
                let unsure = confidences(&logits, *temperature);
                let highest = unsure.iter().copied().fold(0.0, f64::max);
                let [over, answered] = [
                    share(&unsure, |confidence| confidence > 0.5),
                    share(&evidence(&logits), |evidence| evidence >= *enough),
                ];
                format!(
                    "{:.4}, {over:.4}, {highest:.2}, {answered:.4}",
                    area_under_curve(sure, &unsure)
                )
            });
        let n = pictures.size()[0].to_string();
        row(&mut text, &name, std::iter::once(n).chain(cells));
    }
    text += &header(nets, "expected calibration error", &["test digits"]);
    let cells = nets.iter().map(|(_, net, temperature)| {
        let error = calibration::error(&logits(net, &test.digits), &test.labels, *temperature);
        format!("{error:.4}")
    });
    row(&mut text, "unaltered", cells);
    text
}

/// What a table shows, and its head: columns of its own, and one for each network.
fn header(nets: &Nets, what: &str, columns: &[&str]) -> String {
    let names: Vec<&str> = nets.iter().map(|(name, ..)| name.as_str()).collect();
    let columns = [columns, &names].concat();
    let numbers = "---:|".repeat(columns.len() - 1);
    format!("\n{what}:\n\n| {} |\n|---|{numbers}\n", columns.join(" | "))
}

fn row(text: &mut String, name: &str, cells: impl Iterator<Item = String>) {
    let cells: String = cells.map(|cell| format!(" {cell} |")).collect();
    writeln!(text, "| {name} |{cells}").expect("a String takes all");
}

/// The digits, altered in one way at a time; to which side is left to chance.
fn altered(digits: &Tensor, rng: &mut ChaCha8Rng) -> Vec<Case> {
    let n = digits.size()[0];
    let ink = to_ink(digits);
    let all = |value: f64| ink.new_full([n, 1], value, (Kind::Float, ink.device()));
    let mut either = |value: f64| {
        let signs: Vec<f32> = (0..n).map(|_| if rng.random() { 1.0 } else { -1.0 }).collect();
        Tensor::from_slice(&signs).view([n, 1]).to_device(ink.device()) * value
    };
    let still = || Motion {
        rotation: all(0.0),
        shear: all(0.0),
        shrink: (all(1.0), all(1.0)),
        shift: (all(0.0), all(0.0)),
    };
    let flat = ink.new_zeros([1], (Kind::Float, ink.device()));
    let moved = |motion: &Motion| warp(&ink, motion, &flat);
    let mut shifted = |pixels: f64| {
        let shift = (either(pixels * PIXEL), either(pixels * PIXEL));
        moved(&Motion { shift, ..still() })
    };
    let mut cases = vec![("unaltered", ink.shallow_clone())];
    cases.extend([
        ("shifted by 2 + 2 pixels", shifted(2.0)),
        ("shifted by 3 + 3 pixels", shifted(3.0)),
    ]);
    let mut turned = |degrees: f64| {
        let rotation = either(degrees.to_radians());
        moved(&Motion { rotation, ..still() })
    };
    cases.extend([
        ("rotated by 15 degrees", turned(15.0)),
        ("rotated by 25 degrees", turned(25.0)),
    ]);
    let shear = either(0.4);
    cases.push(("slanted by 0.4", moved(&Motion { shear, ..still() })));
    let scaled = |scale: f64| {
        let shrink = (all(1.0 / scale), all(1.0 / scale));
        moved(&Motion { shrink, ..still() })
    };
    cases.extend([
        ("0.75 times as large", scaled(0.75)),
        ("1.25 times as large", scaled(1.25)),
    ]);
    let thick = |pixels: f64| {
        let scale = INK_BOX as f64 / (INK_BOX as f64 + 2.0 * pixels);
        strokes(&scaled(scale), &all(pixels), &all(0.0))
    };
    cases.extend([("thicker by 2 pixels", thick(1.0)), ("thicker by 3 pixels", thick(1.5))]);
    cases.push(("thinner by 1.6 pixels", strokes(&ink, &all(0.0), &all(0.8))));
    let blurred = (0..2).fold(ink.shallow_clone(), |ink, _| {
        ink.avg_pool2d([3, 3], [1, 1], [1, 1], false, true, None)
    });
    cases.extend([
        ("blurred twice over 3x3 pixels", blurred),
        ("half as bright", &ink * 0.5),
    ]);
    let noise: Vec<f32> = (0..ink.numel()).map(|_| rng.random_range(-0.4..0.4)).collect();
    let noise = Tensor::from_slice(&noise).view_as(&ink).to_device(ink.device());
    cases.push(("with noise up to 0.4", (&ink + noise).clamp(0.0, 1.0)));
    cases
        .into_iter()
        .map(|(name, ink)| (name.to_owned(), from_ink(&ink)))
        .collect()
}

/// Pictures of no digit, kind by kind.
fn no_digits(test: &Dataset, strangers: Option<&(String, Dataset)>, rng: &mut ChaCha8Rng) -> Vec<Case> {
    let kinds: [(&str, outliers::Kind); 7] = [
        ("noise", outliers::noise),
        ("one grey", outliers::flat),
        ("lines from edge to edge", outliers::lines),
        ("squared paper", outliers::grid),
        ("scribbles", outliers::scribble),
        ("letters and signs", outliers::letter),
        ("two digits", outliers::pair),
    ];
    let n = test.len().min(N_OUTLIERS);
    let drawn = kinds.map(|(name, kind)| (name.to_owned(), outliers::draw(&[kind], test, n, rng)));
    let strangers =
        strangers.map(|(folder, strangers)| (format!("pictures in {folder}"), strangers.digits.shallow_clone()));
    drawn.into_iter().chain(strangers).collect()
}

/// Logarithm of the sum of the logits' exponentials for logits `[n, 10]`, by which `infer` refuses what has too little of it.
fn evidence(logits: &Tensor) -> Vec<f64> {
    let evidence = logits.to_kind(Kind::Double).logsumexp([1], false);
    Vec::try_from(evidence).expect("one number a picture")
}

/// The number under which a hundredth of them lies.
fn hundredth(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 100]
}

/// Fraction of the numbers that are `such`.
fn share(numbers: &[f64], such: impl Fn(f64) -> bool) -> f64 {
    numbers.iter().filter(|&&number| such(number)).count() as f64 / numbers.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundredth_is_under_its_number() {
        let numbers = (0..300).rev().map(f64::from).collect();
        assert_eq!(hundredth(numbers), 3.0);
        assert_eq!(share(&[1.0, 2.0, 3.0, 4.0], |number| number >= 3.0), 0.5);
    }

    #[test]
    fn evidence_is_a_sum() {
        let logits = Tensor::from_slice(&[1f32, 1.0, 1.0, 1.0, 0.0, f32::NEG_INFINITY]).view([3, 2]);
        let expected = [1.0 + 2f64.ln(), 1.0 + 2f64.ln(), 0.0];
        for (evidence, expected) in evidence(&logits).into_iter().zip(expected) {
            assert!((evidence - expected).abs() < 1e-9, "{evidence} {expected}");
        }
    }
}
