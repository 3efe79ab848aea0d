//! `infer eval`: how well a model reads MNIST's test digits, or the pictures in a folder.

mod folder;
mod misread;

use std::path::PathBuf;
use std::process::ExitCode;

use misread::Misread;
use models::CLASSES;
use models::mnist::{Part, Split};
use models::score::Score;
use serde_json::json;

use super::{EngineArgs, Format, finite, percent, png_path, print, progress};

/// Read MNIST's test digits, or labelled pictures, and say how many were read right
///
/// A picture takes up to 200 MB of memory, and as many are read at a time as there are --threads.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of MNIST's IDX files, plain or as .gz
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// Instead read the labelled pictures in this folder: those of a labels.csv with the columns path and label (digits, or
    /// none), or those in a sub-folder a digit, and one called none
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Evidence below which there is no digit, in a folder [default: as classify]; csv has each evidence, and refuses nothing
    #[arg(long, value_name = "EVIDENCE", requires = "folder", allow_negative_numbers = true, value_parser = finite)]
    reject: Option<f32>,
    /// Draw the misread test digits into this picture, above each its label and in red what it was read as
    #[arg(long, value_name = "FILE.png", conflicts_with = "folder", value_parser = png_path())]
    misread: Option<PathBuf>,
    /// How the result is printed; csv has a row for each digit, or picture of a folder
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Digits between two steps of the progress bar.
const BATCH: usize = 256;

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut classifier = args.engine.classifier()?;
    if let Some(folder) = &args.folder {
        let reject = args.reject.unwrap_or(classifier.reject());
        let report = folder::read(&mut classifier, &args.engine.threads.pool()?, folder, reject)?;
        print(match args.format {
            Format::Text => report.text(),
            Format::Json => format!("{}\n", report.json()),
            Format::Csv => report.csv()?,
        })?;
        return Ok(match report.unreadable {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        });
    }
    let split = Split::read(&args.data, Part::Test)?;
    let bar = progress(split.digits.len());
    let (mut score, mut misread) = (Score::default(), Vec::new());
    for (digits, labels) in split.digits.chunks(BATCH).zip(split.labels.chunks(BATCH)) {
        let predictions = classifier.classify_all(digits)?;
        for ((&digit, &label), prediction) in digits.iter().zip(labels).zip(predictions) {
            let answer = prediction.digit;
            score.add(label, answer, prediction.loss(label));
            if answer != label {
                misread.push(Misread { digit, label, answer });
            }
        }
        bar.inc(digits.len() as u64);
    }
    bar.finish_and_clear();
    if let Some(path) = &args.misread {
        misread::write(path, &misread)?;
    }
    let report = Report {
        score,
        model: args.engine.model.name(),
        engine: args.engine.engine.name(),
        threads: args.engine.threads.get(),
    };
    print(match args.format {
        Format::Text => report.text(),
        Format::Json => format!("{}\n", report.json()),
        Format::Csv => report.csv(),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A score, and what earned it.
struct Report {
    score: Score,
    model: String,
    engine: &'static str,
    threads: usize,
}

impl Report {
    fn text(&self) -> String {
        let score = &self.score;
        let (low, high) = score.interval();
        let mut text = format!(
            "{} on {}, threads {}: {} of {} digits read right\naccuracy {}, 95 % interval {} to {}\nloss     {:.4}\n\n",
            self.model,
            self.engine,
            self.threads,
            score.hits(),
            score.n(),
            percent(score.accuracy()),
            percent(low),
            percent(high),
            score.loss(),
        );
        text += &digits(score);
        text
    }

    fn json(&self) -> serde_json::Value {
        let (low, high) = self.score.interval();
        json!({
            "model": self.model,
            "engine": self.engine,
            "threads": self.threads,
            "n": self.score.n(),
            "hits": self.score.hits(),
            "accuracy": self.score.accuracy(),
            "interval": [low, high],
            "loss": self.score.loss(),
            "per_digit": self.score.per_digit(),
            "confusion": self.score.confusion,
        })
    }

    /// A row for each digit, with how often it was read as which.
    fn csv(&self) -> String {
        let mut csv = "digit,n,accuracy,as0,as1,as2,as3,as4,as5,as6,as7,as8,as9\n".to_owned();
        for (digit, row) in self.score.confusion.iter().enumerate() {
            let n: u32 = row.iter().sum();
            let counts: Vec<_> = row.iter().map(u32::to_string).collect();
            let accuracy = self.score.digit_accuracy(digit);
            csv += &format!("{digit},{n},{accuracy},{}\n", counts.join(","));
        }
        csv
    }
}

/// Accuracy of each digit, and how often it was read as which.
fn digits(score: &Score) -> String {
    let mut text = String::from("digit  accuracy   read as");
    for answer in 0..CLASSES {
        text += &format!("{answer:>5}");
    }
    for (digit, row) in score.confusion.iter().enumerate() {
        let accuracy = percent(score.digit_accuracy(digit));
        text += &format!("\n{digit:>5}  {accuracy:>8}          ");
        for count in row {
            text += &format!("{count:>5}");
        }
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each digit twice, and once a 4 that is read as a 9.
    fn sample() -> Report {
        let mut score = Score::default();
        for digit in 0..10 {
            score.add(digit, digit, 0.0);
            score.add(digit, digit, 0.1);
        }
        score.add(4, 9, 2.0);
        Report {
            score,
            model: "released model".into(),
            engine: "tract",
            threads: 2,
        }
    }

    #[test]
    fn prints_a_table() {
        insta::assert_snapshot!(sample().text());
    }

    #[test]
    fn prints_csv() {
        insta::assert_snapshot!(sample().csv());
    }

    #[test]
    fn prints_json() {
        insta::assert_snapshot!(format!("{:#}", sample().json()));
    }
}
