//! `realdigits`: reads the real pictures in the folder that REALDIGITS names and writes what it finds into
//! docs/realdigits.md: what each step of the front end brings, and what refusing does.
//!
//! usage: REALDIGITS=DIR cargo run -p benches --bin realdigits
#![forbid(unsafe_code)]

use std::path::Path;

use anyhow::Context;
use benches::{table, workspace};
use infer::folder::{Labelled, Outcome, Outcomes, labelled};
use infer::glyph::ladder::{self, Rung};
use infer::glyph::{self};
use infer::{Classifier, REJECT, Reading};

/// Sets of one digit a picture.
const SINGLE: [&str; 4] = ["photos", "drawings", "hard", "printed"];
/// Sets without digits.
const NONE: [&str; 2] = ["ood_greek", "ood_latin"];

fn main() -> anyhow::Result<()> {
    let folder = std::env::var_os("REALDIGITS").context("REALDIGITS names no folder of real pictures")?;
    let folder = Path::new(&folder);
    let mut classifier = Classifier::released()?;
    let document = workspace("docs/realdigits.md");
    table::insert(&document, "ladder", &ladder_table(&mut classifier, folder)?)?;
    table::insert(&document, "whole", &whole_table(&mut classifier, folder)?)?;
    table::insert(&document, "reject", &reject_table(&mut classifier, folder)?)?;
    eprintln!("wrote {}", document.display());
    Ok(())
}

/// Per cent read right as the front end grows, the largest digit of each picture, nothing refused.
fn ladder_table(classifier: &mut Classifier, folder: &Path) -> anyhow::Result<String> {
    let sets = SINGLE.map(|set| labelled(&folder.join(set)));
    let sets = sets.into_iter().collect::<std::io::Result<Vec<_>>>()?;
    let mut text = String::from("| the front end |");
    for (name, set) in SINGLE.iter().zip(&sets) {
        text += &format!(" {name} (n = {}) |", set.len());
    }
    text += "\n|---|---:|---:|---:|---:|\n";
    for rung in Rung::ALL {
        text += &format!("| {} |", rung.name());
        for set in &sets {
            text += &format!(" {:.1} |", 100.0 * right_on(classifier, set, rung)?);
        }
        text += "\n";
    }
    Ok(text)
}

fn right_on(classifier: &mut Classifier, set: &[Labelled], rung: Rung) -> anyhow::Result<f64> {
    let mut right = 0;
    for picture in set {
        if let Ok(digit) = ladder::read_up_to(&std::fs::read(&picture.path)?, rung) {
            let answer = classifier.classify(&digit)?.digit.to_string();
            right += u32::from(picture.label == Some(answer));
        }
    }
    Ok(f64::from(right) / set.len() as f64)
}

/// Everything that stands on each picture must be read, and nothing else.
fn whole_table(classifier: &mut Classifier, folder: &Path) -> anyhow::Result<String> {
    let mut text = String::from(
        "| set | n | nothing refused: read right | 95 % interval | default `--reject`: right | wrong | refused |\n\
         |---|---:|---:|---|---:|---:|---:|\n",
    );
    for set in SINGLE.iter().chain(&["multi"]) {
        let outcomes = read(classifier, &folder.join(set))?;
        let (all, strict) = (outcomes.refusing(f32::NEG_INFINITY), outcomes.refusing(REJECT));
        let (accuracy, (low, high)) = all.right_of_all();
        text += &format!(
            "| {set} | {} | {} ({:.1} %) | {:.1} to {:.1} % | {} | {} | {} |\n",
            all.digits,
            all.right,
            100.0 * accuracy,
            100.0 * low,
            100.0 * high,
            strict.right,
            strict.answered - strict.right,
            strict.digits - strict.answered,
        );
    }
    Ok(text)
}

/// All sets together: what refusing costs digits, and what it keeps out.
fn reject_table(classifier: &mut Classifier, folder: &Path) -> anyhow::Result<String> {
    let mut all = Outcomes::default();
    for set in SINGLE.iter().chain(&NONE) {
        all.0.extend(read(classifier, &folder.join(set))?.0);
    }
    let area = all.area_under_curve().context("there are no pictures without digits")?;
    let mut text =
        String::from("| digits answered | `--reject` | of these right | letters refused |\n|---:|---:|---:|---:|\n");
    for coverage in [1.0, 0.99, 0.98, 0.95, 0.9, 0.8, 0.5] {
        let row = all.refusing(all.threshold(coverage));
        text += &format!(
            "| {:.1} % of {} | {:.2} | {:.1} % | {:.1} % of {} |\n",
            100.0 * f64::from(row.answered) / f64::from(row.digits),
            row.digits,
            row.reject,
            100.0 * row.accuracy(),
            100.0 * f64::from(row.none_refused) / f64::from(row.none),
            row.none,
        );
    }
    Ok(text
        + &format!(
            "\nArea under the ROC curve of the evidence: {area:.3}. Calibration error of the confidence: {:.3}.\n",
            all.calibration_error()
        ))
}

fn read(classifier: &mut Classifier, folder: &Path) -> anyhow::Result<Outcomes> {
    let mut outcomes = Outcomes::default();
    for picture in labelled(folder)? {
        let reading = match glyph::read_page(&std::fs::read(&picture.path)?) {
            Ok(page) => classifier.read_all([&page], f32::NEG_INFINITY)?.remove(0),
            Err(error) => Reading::none(&error),
        };
        outcomes.0.push(Outcome::new(picture.label, &reading));
    }
    Ok(outcomes)
}
