//! `infer eval --folder`: how well labelled pictures are read, and what refusing more would bring.

use std::path::Path;

use anyhow::Context;
use infer::folder::{self, Labelled, Outcome, Outcomes, Refusing};
use infer::glyph::{self, GlyphError};
use infer::{Classifier, Reading};
use models::score::wilson;
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::commands::{percent, progress};

/// Pictures that are decoded side by side.
const BATCH: usize = 64;
/// Parts of the pictures with digits that are answered, in the curve.
const COVERAGES: [f64; 7] = [1.0, 0.99, 0.98, 0.95, 0.9, 0.8, 0.5];

/// What is printed.
pub struct Report {
    pub folder: String,
    pub outcomes: Outcomes,
    pub reject: f32,
}

/// Reads every labelled picture; one that cannot be decoded counts as one on which nothing was found.
pub fn read(classifier: &mut Classifier, folder: &Path) -> anyhow::Result<Outcomes> {
    let labelled = folder::labelled(folder).with_context(|| folder.display().to_string())?;
    let bar = progress(labelled.len());
    let mut outcomes = Vec::new();
    for batch in labelled.chunks(BATCH) {
        let page = |picture: &Labelled| -> anyhow::Result<Result<glyph::Page, GlyphError>> {
            let bytes = std::fs::read(&picture.path).with_context(|| picture.path.display().to_string())?;
            Ok(glyph::read_page(&bytes))
        };
        let pages = batch.par_iter().map(page).collect::<anyhow::Result<Vec<_>>>()?;
        let mut readings = classifier
            .read_all(pages.iter().flatten(), f32::NEG_INFINITY)?
            .into_iter();
        for (picture, page) in batch.iter().zip(&pages) {
            let reading = match page {
                Ok(_) => readings.next().expect("there is a reading for every page"),
                Err(error) => Reading::none(error),
            };
            outcomes.push(Outcome::new(picture.label.clone(), &reading));
        }
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    Ok(Outcomes(outcomes))
}

impl Report {
    pub fn text(&self) -> String {
        let Refusing {
            reject,
            digits,
            answered,
            right,
            none,
            none_refused,
        } = self.outcomes.refusing(self.reject);
        let mut text = format!("{}\n", self.folder);
        if digits > 0 {
            let (low, high) = wilson(right, digits);
            text += &format!(
                "digits      {right} of {digits} read right, {} wrong, {} refused\n\
                 accuracy    {}, 95 % interval {} to {}\n",
                answered - right,
                digits - answered,
                percent(f64::from(right) / f64::from(digits)),
                percent(low),
                percent(high),
            );
        }
        if none > 0 {
            text += &format!("no digit    {none_refused} of {none} refused with evidence under {reject}\n");
        }
        if let Some(area) = self.outcomes.area_under_curve() {
            text += &format!("area        {area:.4} under the ROC curve of the evidence\n");
        }
        if digits > 0 {
            text += &format!("\n{}", super::digits(&self.outcomes.score()));
            text += &self.curve();
            text += &self.calibration();
        }
        text
    }

    fn curve(&self) -> String {
        let mut text = String::from("\nanswered   --reject  accuracy  no digit refused\n");
        for row in self.rows() {
            let part = percent(f64::from(row.answered) / f64::from(row.digits));
            let accuracy = percent(row.accuracy());
            text += &format!(
                "{part:>8}  {:>9.2}  {accuracy:>8}  {} of {}\n",
                row.reject, row.none_refused, row.none
            );
        }
        text
    }

    fn rows(&self) -> Vec<Refusing> {
        let row = |coverage: &f64| self.outcomes.refusing(self.outcomes.threshold(*coverage));
        COVERAGES.iter().map(row).collect()
    }

    fn calibration(&self) -> String {
        let mut text = String::from("\nconfidence     n  accuracy\n");
        for bin in self.outcomes.calibration().iter().filter(|bin| bin.n > 0) {
            text += &format!(
                "{:>10}  {:>4}  {:>8}\n",
                percent(bin.confidence),
                bin.n,
                percent(bin.accuracy)
            );
        }
        text + &format!("calibration error {:.4}\n", self.outcomes.calibration_error())
    }

    pub fn json(&self) -> Value {
        let refusing = self.outcomes.refusing(self.reject);
        let curve: Vec<Value> = self.rows().iter().map(counts).collect();
        json!({
            "folder": self.folder,
            "at_reject": counts(&refusing),
            "accuracy": refusing.right_of_all().0,
            "interval": refusing.right_of_all().1,
            "area_under_curve": self.outcomes.area_under_curve(),
            "confusion": self.outcomes.score().confusion,
            "curve": curve,
            "calibration_error": self.outcomes.calibration_error(),
        })
    }

    /// A row a picture.
    pub fn csv(&self) -> String {
        let mut csv = String::from("label,text,evidence,confidence\n");
        for outcome in &self.outcomes.0 {
            let label = outcome.label.as_deref().unwrap_or("none");
            csv += &format!("{label},{},{},{}\n", outcome.text, outcome.evidence, outcome.confidence);
        }
        csv
    }
}

fn counts(row: &Refusing) -> Value {
    json!({
        "reject": row.reject,
        "digits": row.digits,
        "answered": row.answered,
        "right": row.right,
        "none": row.none,
        "none_refused": row.none_refused,
    })
}
