//! Labelled pictures in a folder, and how well they were read: pure counting over [`Outcome`]s.

use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

use models::CLASSES;
use models::score::{Score, area_under_curve, wilson};

use crate::Reading;

/// How the names of pictures end that are looked for in a folder.
const EXTENSIONS: [&str; 14] = [
    "png", "jpg", "jpeg", "jpe", "jfif", "gif", "bmp", "webp", "tif", "tiff", "pbm", "pgm", "ppm", "pnm",
];
/// How macOS begins the names of what it keeps beside files on disks of other systems.
const COMPANION: &str = "._";

/// A picture and what stands on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labelled {
    /// The file.
    pub path: PathBuf,
    /// Its digits in reading order; `None` where there is none.
    pub label: Option<String>,
}

/// The pictures that `labels.csv` names in its columns `path` and `label` (`none` for no digit), or those that lie however
/// deep in one sub-folder a digit (and `none`), by name. A folder that cannot be looked into is among them.
///
/// # Errors
/// When there is neither, nothing is labelled, the table has no such columns, or a row of it names no file or no digits.
pub fn labelled(folder: &Path) -> io::Result<Vec<Labelled>> {
    if !fs::metadata(folder)?.is_dir() {
        return Err(io::Error::other("not a folder"));
    }
    let table = folder.join("labels.csv");
    let found = match table.is_file() {
        true => from_table(folder, &table).map_err(|error| io::Error::other(format!("labels.csv: {error}")))?,
        false => from_folders(folder),
    };
    if found.is_empty() {
        return Err(io::Error::other(
            "no labelled pictures: a labels.csv with the columns path and label, or a sub-folder for each digit is wanted",
        ));
    }
    Ok(found)
}

/// The pictures in a folder and in the folders in it, by name, but nothing that is to be `left_out`. Links to folders are not
/// followed: they may lead back. A folder that cannot be looked into is among them itself, so that reading it says why.
pub fn pictures(folder: &Path, left_out: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(folder, left_out, &mut found);
    found
}

fn walk(folder: &Path, left_out: &dyn Fn(&Path) -> bool, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let Ok(mut entries) = entries else {
        return found.push(folder.to_owned());
    };
    entries.sort_by_key(DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if !left_out(&path) {
                walk(&path, left_out, found);
            }
        } else if is_picture(&path) && fs::metadata(&path).map_or(true, |data| data.is_file()) {
            found.push(path);
        }
    }
}

/// Whether the file's name is that of a picture.
fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    let companion = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(COMPANION.as_bytes()));
    !companion && extension.is_some_and(|extension| EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str()))
}

fn from_table(folder: &Path, table: &Path) -> io::Result<Vec<Labelled>> {
    let text = fs::read(table)?;
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::Headers)
        .from_reader(&text[..]);
    let headers = reader.headers()?.clone();
    let column = |name: &str| {
        let found = headers.iter().position(|header| header.eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            let found: Vec<_> = headers.iter().collect();
            io::Error::other(format!(
                "there is no column {name} among {found:?}: commas separate columns"
            ))
        })
    };
    let (path, label) = (column("path")?, column("label")?);
    let row = |record: csv::Result<csv::StringRecord>| {
        let record = record?;
        from_row(folder, &record[path], &record[label])
            .map_err(|problem| io::Error::other(format!("line {}: {problem}", line(&text, &record))))
    };
    reader.records().map(row).collect()
}

/// The line on which a record begins. Its position is before any blank lines above it, and may be within a line break.
fn line(text: &[u8], record: &csv::StringRecord) -> usize {
    let start = record.position().map_or(0, |position| position.byte() as usize);
    let blank = text[start..].iter().take_while(|byte| b"\r\n".contains(byte)).count();
    let above = text[..start + blank].iter();
    1 + above.filter(|&&byte| byte == b'\n').count()
}

fn from_row(folder: &Path, path: &str, label: &str) -> Result<Labelled, String> {
    // Spaces around a name may be its own.
    let path = match folder.join(path).exists() {
        true => path,
        false => path.trim(),
    };
    match fs::metadata(folder.join(path)) {
        Ok(data) if data.is_file() => {}
        Ok(_) => return Err(format!("{path:?} is not a file")),
        Err(error) => return Err(format!("{path:?}: {error}")),
    }
    // Spaces part the lines of a page, where it has several.
    let digits: String = label.split_whitespace().collect();
    if digits.is_empty() || digits != "none" && !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("the label {label:?} is neither digits nor none"));
    }
    Ok(Labelled {
        path: folder.join(path),
        label: Some(digits).filter(|digits| digits != "none"),
    })
}

fn from_folders(folder: &Path) -> Vec<Labelled> {
    let names = (0..CLASSES).map(|digit| digit.to_string()).chain(["none".to_owned()]);
    let labelled = names.flat_map(|name| {
        let folder = folder.join(&name);
        let paths = match folder.is_dir() {
            true => pictures(&folder, &|_| false),
            false => Vec::new(),
        };
        let label = Some(name).filter(|name| name != "none");
        paths.into_iter().map(move |path| Labelled {
            path,
            label: label.clone(),
        })
    });
    labelled.collect()
}

/// What was read on a labelled picture, nothing being refused for want of evidence.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The digits that stand on the picture; `None` where there is none.
    pub label: Option<String>,
    /// The digits that were read; empty where nothing was found.
    pub text: String,
    /// The least evidence of any digit; minus infinity where nothing was found.
    pub evidence: f32,
    /// The least confidence of any digit.
    pub confidence: f32,
    /// Why nothing was read; `None` where something was.
    pub reason: Option<String>,
}

impl Outcome {
    /// The outcome of a reading in which nothing was refused.
    pub fn new(label: Option<String>, reading: &Reading) -> Outcome {
        let least = |value: fn(&crate::Answer) -> f32| reading.digits().map(value).reduce(f32::min);
        Outcome {
            label,
            text: reading.text().replace('\n', ""),
            evidence: least(|answer| answer.prediction.evidence).unwrap_or(f32::NEG_INFINITY),
            confidence: least(|answer| answer.prediction.confidence).unwrap_or(0.0),
            reason: reading.reason.clone(),
        }
    }

    /// Whether exactly the digits that stand there were read.
    pub fn is_right(&self) -> bool {
        self.label.as_ref() == Some(&self.text)
    }

    /// Whether digits were read, none of them with less evidence than `reject`.
    pub fn is_answered(&self, reject: f32) -> bool {
        self.evidence >= reject && !self.text.is_empty()
    }
}

/// The outcomes of a folder.
#[derive(Clone, Debug, Default)]
pub struct Outcomes(pub Vec<Outcome>);

/// What comes of refusing whatever has less evidence than a threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Refusing {
    /// The threshold.
    pub reject: f32,
    /// Pictures with digits.
    pub digits: u32,
    /// Those of them that were answered.
    pub answered: u32,
    /// Those of them that were answered rightly.
    pub right: u32,
    /// Pictures without digits.
    pub none: u32,
    /// Those of them that were refused.
    pub none_refused: u32,
}

/// Answers of about the same confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    /// Answers in the bin.
    pub n: u32,
    /// Mean confidence of the answers.
    pub confidence: f64,
    /// Fraction of them that is right.
    pub accuracy: f64,
}

impl Outcomes {
    /// The counts with a threshold.
    pub fn refusing(&self, reject: f32) -> Refusing {
        let count = |test: &dyn Fn(&Outcome) -> bool| self.0.iter().filter(|outcome| test(outcome)).count() as u32;
        let answered = |outcome: &Outcome| outcome.is_answered(reject);
        Refusing {
            reject,
            digits: count(&|outcome| outcome.label.is_some()),
            answered: count(&|outcome| outcome.label.is_some() && answered(outcome)),
            right: count(&|outcome| outcome.is_right() && answered(outcome)),
            none: count(&|outcome| outcome.label.is_none()),
            none_refused: count(&|outcome| outcome.label.is_none() && !answered(outcome)),
        }
    }

    /// The threshold with which `coverage`, from 0 to 1, of the pictures with digits is answered, but one at least.
    pub fn threshold(&self, coverage: f64) -> f32 {
        let mut evidence = self.evidence(true);
        evidence.sort_by(|a, b| b.total_cmp(a));
        let answered = (coverage * evidence.len() as f64).round() as usize;
        evidence
            .get(answered.saturating_sub(1))
            .copied()
            .unwrap_or(f32::NEG_INFINITY)
    }

    /// The chance that a picture with digits has more evidence than one without, the area under the ROC curve;
    /// `None` where one of both is missing.
    pub fn area_under_curve(&self) -> Option<f64> {
        let [with, without] = [true, false].map(|of_digits| {
            let evidence = self.evidence(of_digits).into_iter();
            evidence.map(f64::from).collect::<Vec<_>>()
        });
        Some(area_under_curve(&with, &without)).filter(|area| !area.is_nan())
    }

    fn evidence(&self, of_digits: bool) -> Vec<f32> {
        let chosen = self.0.iter().filter(|outcome| outcome.label.is_some() == of_digits);
        chosen.map(|outcome| outcome.evidence).collect()
    }

    /// How often which digit was read as which, over pictures of one digit that were read as one.
    pub fn score(&self) -> Score {
        let mut score = Score::default();
        let one = |text: &str| {
            text.parse::<u8>()
                .ok()
                .filter(|&digit| usize::from(digit) < CLASSES && text.len() == 1)
        };
        for outcome in &self.0 {
            if let (Some(label), Some(answer)) = (outcome.label.as_deref().and_then(one), one(&outcome.text)) {
                score.add(label, answer, 0.0);
            }
        }
        score
    }

    /// Answers to pictures with digits by confidence, in ten equal bins from 0 to 1.
    pub fn calibration(&self) -> [Bin; 10] {
        std::array::from_fn(|bin| {
            let inside = |outcome: &&Outcome| ((outcome.confidence * 10.0) as usize).min(9) == bin;
            let answered = self
                .0
                .iter()
                .filter(|outcome| outcome.label.is_some() && !outcome.text.is_empty());
            let inside: Vec<&Outcome> = answered.filter(inside).collect();
            let mean = |value: &dyn Fn(&Outcome) -> f64| {
                inside.iter().map(|outcome| value(outcome)).sum::<f64>() / inside.len() as f64
            };
            Bin {
                n: inside.len() as u32,
                confidence: mean(&|outcome| outcome.confidence.into()),
                accuracy: mean(&|outcome| f64::from(u8::from(outcome.is_right()))),
            }
        })
    }

    /// Mean distance of confidence and accuracy over the bins, weighted by their answers; NaN of none.
    pub fn calibration_error(&self) -> f64 {
        let bins = self.calibration();
        let n: u32 = bins.iter().map(|bin| bin.n).sum();
        let filled = bins.iter().filter(|bin| bin.n > 0);
        let off = filled.map(|bin| f64::from(bin.n) * (bin.confidence - bin.accuracy).abs());
        off.sum::<f64>() / f64::from(n)
    }
}

impl Refusing {
    /// Fraction of the answers that is right; NaN of none.
    pub fn accuracy(&self) -> f64 {
        f64::from(self.right) / f64::from(self.answered)
    }

    /// Fraction of the pictures with digits that is answered rightly, with its 95 % interval; NaN of none.
    pub fn right_of_all(&self) -> (f64, (f64, f64)) {
        let fraction = f64::from(self.right) / f64::from(self.digits);
        (fraction, wilson(self.right, self.digits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(label: &str, text: &str, evidence: f32, confidence: f32) -> Outcome {
        Outcome {
            label: Some(label.to_owned()).filter(|label| label != "none"),
            text: text.into(),
            evidence,
            confidence,
            reason: None,
        }
    }

    fn outcomes() -> Outcomes {
        Outcomes(vec![
            outcome("3", "3", 9.0, 0.95),
            outcome("5", "6", 5.0, 0.55),
            outcome("12", "12", 7.0, 0.85),
            outcome("8", "", f32::NEG_INFINITY, 0.0),
            outcome("none", "4", 6.0, 0.9),
            outcome("none", "", f32::NEG_INFINITY, 0.0),
        ])
    }

    #[test]
    fn refusing_more_answers_less_and_better() {
        let all = outcomes().refusing(f32::NEG_INFINITY);
        assert_eq!(
            (all.digits, all.answered, all.right, all.none, all.none_refused),
            (4, 3, 2, 2, 1)
        );
        let strict = outcomes().refusing(outcomes().threshold(0.5));
        assert_eq!(
            (strict.reject, strict.answered, strict.right, strict.none_refused),
            (7.0, 2, 2, 2)
        );
        assert_eq!(strict.accuracy(), 1.0);
    }

    #[test]
    fn the_area_counts_pairs() {
        // Of eight pairs five are in order, and the two that found nothing are equal.
        assert_eq!(outcomes().area_under_curve(), Some(5.5 / 8.0));
        assert_eq!(Outcomes::default().area_under_curve(), None);
    }

    #[test]
    fn bins_hold_answers_of_one_confidence() {
        let bins = outcomes().calibration();
        assert_eq!((bins[9].n, bins[5].n, bins[0].n), (1, 1, 0));
        assert_eq!((bins[9].accuracy, bins[5].accuracy), (1.0, 0.0));
        let error = (0.05 + 0.55 + 0.15) / 3.0;
        assert!((outcomes().calibration_error() - error).abs() < 1e-6);
    }

    #[test]
    fn labels_come_from_a_table_or_from_folders() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        assert!(labelled(folder.path()).is_err());
        fs::create_dir(folder.path().join("7")).unwrap();
        fs::create_dir(folder.path().join("7/scan 1")).unwrap();
        for name in [
            "7/a.PNG",
            "7/._a.png",
            "7/scan 1/b.jpe",
            "7/Thumbs.db",
            "7/.DS_Store",
            "b.png",
            "c.png",
        ] {
            write(name, "");
        }
        let found = labelled(folder.path()).unwrap();
        let names: Vec<_> = found.iter().map(|picture| picture.path.file_name().unwrap()).collect();
        assert_eq!(names, ["a.PNG", "b.jpe"]);
        assert!(found.iter().all(|picture| picture.label.as_deref() == Some("7")));
        write(" c.png", "");
        write("labels.csv", "note,Path, LABEL\n, b.png, none\n,\" c.png\",314 27\n");
        let found = labelled(folder.path()).unwrap();
        assert_eq!(
            (found[0].label.as_deref(), found[1].label.as_deref()),
            (None, Some("31427"))
        );
        assert!(found[0].path.ends_with("b.png") && found[1].path.ends_with(" c.png"));
    }

    #[test]
    fn what_is_wrong_with_a_table_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.png"), b"").unwrap();
        let table = folder.path().join("labels.csv");
        for (text, problem) in [
            (
                "path;label\na.png;4\n",
                r#"labels.csv: there is no column path among ["path;label"]"#,
            ),
            (
                "path,label\na.png,4\na.png,four\n",
                r#"labels.csv: line 3: the label "four" is neither"#,
            ),
            ("path,label\na.png,\n", r#"line 2: the label "" is neither"#),
            (
                "path,label\r\na.png,4\r\nb.png,4\r\n",
                r#"line 3: "b.png": No such file"#,
            ),
            ("path,label\n.,4\n", r#"line 2: "." is not a file"#),
            ("path,label\n\n\na.png,four\n", r#"line 4: the label "four""#),
            ("path,label\r\n\r\na.png,four\r\n", r#"line 3: the label "four""#),
            (
                "note,path,label\n\"two\nlines\",a.png,4\n,a.png,four\n",
                r#"line 4: the label "four""#,
            ),
        ] {
            fs::write(&table, text).unwrap();
            let error = labelled(folder.path()).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        assert_eq!(labelled(&table).unwrap_err().to_string(), "not a folder");
    }
}
