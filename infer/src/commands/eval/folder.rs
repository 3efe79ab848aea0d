//! `infer eval --folder`: how well labelled pictures are read, and what refusing more would bring.

use std::path::{Path, PathBuf};

use anyhow::Context;
use infer::folder::{self, Labelled, Outcome, Outcomes, Refusing};
use infer::glyph::{self, Page};
use infer::{Classifier, Reading};
use models::score::wilson;
use rayon::ThreadPool;
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::commands::{no_digit, percent, progress, read_picture, shown, tell};

/// Pictures that are decoded side by side.
const BATCH: usize = 64;
/// Parts of the pictures with digits that are answered, in the curve.
const COVERAGES: [f64; 7] = [1.0, 0.99, 0.98, 0.95, 0.9, 0.8, 0.5];
/// Misread pictures that are listed in a text.
const LISTED: usize = 20;

/// What is printed.
pub struct Report {
    folder: String,
    /// The picture of each outcome.
    paths: Vec<PathBuf>,
    outcomes: Outcomes,
    /// How many pictures could not be read.
    pub unreadable: usize,
    reject: f32,
}

/// Reads every labelled picture. One that cannot be read is told of; with digits it counts as one on which nothing was found,
/// without it does not count: it was not refused.
pub fn read(classifier: &mut Classifier, pool: &ThreadPool, folder: &Path, reject: f32) -> anyhow::Result<Report> {
    let name = folder.display().to_string();
    let labelled = folder::labelled(folder).with_context(|| name.clone())?;
    let bar = progress(labelled.len());
    let (mut paths, mut outcomes, mut unreadable) = (Vec::new(), Vec::new(), 0);
    for batch in labelled.chunks(BATCH) {
        let page =
            |picture: &Labelled| -> anyhow::Result<Page> { Ok(glyph::read_page(&read_picture(&picture.path)?)?) };
        let pages: Vec<_> = pool.install(|| batch.par_iter().map(page).collect());
        let mut readings = classifier
            .read_all(pages.iter().flatten(), f32::NEG_INFINITY)?
            .into_iter();
        for (picture, page) in batch.iter().zip(pages) {
            let reading = match page {
                Ok(_) => Ok(readings.next().expect("there is a reading for every page")),
                Err(error) => no_digit(error),
            };
            let reading = match reading {
                Ok(reading) => reading,
                Err(error) => {
                    let error = error.to_string();
                    unreadable += 1;
                    bar.suspend(|| tell(&picture.path, &error));
                    if picture.label.is_none() {
                        continue;
                    }
                    Reading {
                        lines: Vec::new(),
                        reason: Some(error),
                    }
                }
            };
            paths.push(picture.path.clone());
            outcomes.push(Outcome::new(picture.label.clone(), &reading));
        }
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    Ok(Report {
        folder: name,
        paths,
        outcomes: Outcomes(outcomes),
        unreadable,
        reject,
    })
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
        if self.unreadable > 0 {
            text += &format!(
                "unreadable  {}, of which those with digits count as refused\n",
                self.unreadable
            );
        }
        if let Some(area) = self.outcomes.area_under_curve() {
            text += &format!("area        {area:.4} under the ROC curve of the evidence\n");
        }
        if digits > 0 {
            let score = self.outcomes.score();
            if score.n() > 0 {
                text += &format!("\n{}", super::digits(&score));
            }
            text += &self.curve();
            text += &self.calibration();
        }
        text + &self.misread_text()
    }

    /// Pictures that were answered, but not with what stands there.
    fn misread(&self) -> impl Iterator<Item = (&PathBuf, &Outcome)> {
        let all = self.paths.iter().zip(&self.outcomes.0);
        all.filter(|(_, outcome)| outcome.is_answered(self.reject) && !outcome.is_right())
    }

    fn misread_text(&self) -> String {
        let n = self.misread().count();
        if n == 0 {
            return String::new();
        }
        let mut text = String::from("\n   label    answer  confidence  misread\n");
        for (path, outcome) in self.misread().take(LISTED) {
            text += &format!(
                "{:>8}  {:>8}  {:>10}  {}\n",
                label(outcome),
                outcome.text,
                percent(outcome.confidence.into()),
                shown(path)
            );
        }
        match n.saturating_sub(LISTED) {
            0 => text,
            rest => text + &format!("and {rest} more, which --format json and csv list\n"),
        }
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
            "unreadable": self.unreadable,
            "at_reject": counts(&refusing),
            "accuracy": refusing.right_of_all().0,
            "interval": refusing.right_of_all().1,
            "area_under_curve": self.outcomes.area_under_curve(),
            "confusion": self.outcomes.score().confusion,
            "curve": curve,
            "calibration_error": self.outcomes.calibration_error(),
            "misread": self.misread().map(picture).collect::<Vec<_>>(),
        })
    }

    /// A row a picture.
    pub fn csv(&self) -> anyhow::Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["path", "label", "text", "evidence", "confidence", "reason"])?;
        for (path, outcome) in self.paths.iter().zip(&self.outcomes.0) {
            writer.write_record([
                &path.display().to_string(),
                label(outcome),
                &outcome.text,
                &outcome.evidence.to_string(),
                &outcome.confidence.to_string(),
                outcome.reason.as_deref().unwrap_or_default(),
            ])?;
        }
        Ok(String::from_utf8(writer.into_inner()?)?)
    }
}

fn label(outcome: &Outcome) -> &str {
    outcome.label.as_deref().unwrap_or("none")
}

fn picture((path, outcome): (&PathBuf, &Outcome)) -> Value {
    json!({
        "path": path.display().to_string(),
        "label": label(outcome),
        "text": outcome.text,
        "evidence": outcome.evidence,
        "confidence": outcome.confidence,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As many pictures that were misread, and one that was read right.
    fn report(misread: usize) -> Report {
        let outcome = |text: &str| Outcome {
            label: Some("20".into()),
            text: text.into(),
            evidence: 5.0,
            confidence: 0.75,
            reason: None,
        };
        Report {
            folder: "pages".into(),
            paths: (0..=misread).map(|n| format!("pages/a, {n}.png").into()).collect(),
            outcomes: Outcomes([vec![outcome("20")], vec![outcome("70"); misread]].concat()),
            unreadable: 0,
            reject: 3.0,
        }
    }

    #[test]
    fn lists_what_was_misread() {
        insta::assert_snapshot!(report(2).text());
        assert!(!report(0).text().contains("misread"));
        let many = report(LISTED + 3).text();
        assert!(many.contains("and 3 more") && !many.contains("a, 21.png"), "{many}");
        assert_eq!(report(30).json()["misread"].as_array().map(Vec::len), Some(30));
    }

    #[test]
    fn a_row_begins_with_its_picture() {
        let csv = report(1).csv().unwrap();
        assert_eq!(csv.lines().nth(2), Some(r#""pages/a, 1.png",20,70,5,0.75,"#));
    }
}
