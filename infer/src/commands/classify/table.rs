//! Readings on standard output: an aligned table, JSON lines or CSV.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use infer::{Answer, Reading};
use serde_json::{Value, json};

use crate::commands::{Format, percent, print, shown};

/// The most columns that all names are padded to.
const MAX_WIDTH: usize = 60;

/// The table as it grows.
pub struct Table {
    format: Format,
    show: bool,
    /// Width of the column of names.
    width: usize,
    /// Whether the header of a text is still to come: there is none without rows.
    bare: bool,
}

impl Table {
    /// Prints the header of CSV.
    pub fn new(format: Format, show: bool, files: &[PathBuf]) -> anyhow::Result<Table> {
        let names = files.iter().map(|file| shown(file).chars().count());
        let width = names.chain(["file".len()]).max().unwrap_or(0).min(MAX_WIDTH);
        if format == Format::Csv {
            print("file,text,digit,confidence,evidence,left,top,width,height,p0,p1,p2,p3,p4,p5,p6,p7,p8,p9,reason\n")?;
        }
        Ok(Table {
            format,
            show,
            width,
            bare: true,
        })
    }

    /// Prints what was read in a file.
    pub fn row(&mut self, file: &Path, reading: &Reading) -> anyhow::Result<()> {
        match self.format {
            Format::Text => {
                let width = self.width;
                if std::mem::take(&mut self.bare) {
                    print(format!("{:width$}  digit  confidence  top three\n", "file"))?;
                }
                print(text_rows(&shown(file), width, reading))?;
            }
            Format::Json => {
                let mut row = reading.to_json();
                row.insert("file".into(), file.display().to_string().into());
                print(format!("{}\n", Value::Object(row)))?;
            }
            Format::Csv => print(csv_rows(&file.display().to_string(), reading)?)?,
        }
        if self.show {
            for answer in reading.lines.iter().flatten() {
                let pixels = format!("{:?}", answer.digit);
                match self.format {
                    Format::Text => print(pixels)?,
                    // Only data goes to stdout.
                    Format::Json | Format::Csv => io::stderr().write_all(pixels.as_bytes())?,
                }
            }
        }
        Ok(())
    }

    /// Prints the row of a file that could not be read. Text has none: people see the error on stderr.
    pub fn unreadable(&mut self, file: &Path, error: &str) -> anyhow::Result<()> {
        let file = file.display().to_string();
        match self.format {
            Format::Text => Ok(()),
            Format::Json => print(format!("{}\n", json!({ "file": file, "error": error }))),
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(Vec::new());
                writer.write_record(csv_without_digit(&file, error))?;
                print(writer.into_inner()?)
            }
        }
    }
}

/// A row for one digit; for several a row with all of them, and one for each that is not refused below it.
fn text_rows(file: &str, width: usize, reading: &Reading) -> String {
    if let Some(reason) = &reading.reason {
        return format!("{file:width$}  {:>5}  {reason}\n", "-");
    }
    let answers: Vec<&Answer> = reading.lines.iter().flatten().collect();
    if let [answer] = answers[..] {
        return format!("{file:width$}  {}\n", columns(answer));
    }
    let text = reading.text().replace('\n', "  ");
    let mut rows = format!("{file:width$}  {text}\n");
    for answer in reading.digits() {
        let bounds = answer.bounds;
        let (left, top) = (bounds.left, bounds.top);
        rows += &format!(
            "{:width$}  {}  {}x{} at {left},{top}\n",
            "",
            columns(answer),
            bounds.width,
            bounds.height
        );
    }
    rows
}

fn columns(answer: &Answer) -> String {
    let prediction = &answer.prediction;
    let per_cent = |probability: f32| percent(probability.into());
    let top = prediction.top(3).into_iter();
    let top: Vec<_> = top.map(|(digit, p)| format!("{digit} {:>8}", per_cent(p))).collect();
    let confidence = per_cent(prediction.confidence);
    format!("{:>5}  {confidence:>10}  {}", prediction.digit, top.join("  "))
}

/// A row for each digit; one with the reason where there is none.
fn csv_rows(file: &str, reading: &Reading) -> io::Result<Vec<u8>> {
    let text = reading.text().replace('\n', " ");
    let mut writer = csv::Writer::from_writer(Vec::new());
    if let Some(reason) = &reading.reason {
        writer.write_record(csv_without_digit(file, reason))?;
    }
    for answer in reading.digits() {
        let (prediction, bounds) = (&answer.prediction, answer.bounds);
        let place = [bounds.left, bounds.top, bounds.width, bounds.height].map(|value| value.to_string());
        let numbers = prediction.probabilities.map(|p| p.to_string());
        let first = [
            file.to_owned(),
            text.clone(),
            prediction.digit.to_string(),
            prediction.confidence.to_string(),
            prediction.evidence.to_string(),
        ];
        let last = [String::new()];
        writer.write_record(first.iter().chain(&place).chain(&numbers).chain(&last))?;
    }
    writer.into_inner().map_err(|error| error.into_error())
}

/// The cells of a file without a digit: its name, and the reason in the last column.
fn csv_without_digit<'a>(file: &'a str, reason: &'a str) -> impl Iterator<Item = &'a str> {
    [file].into_iter().chain([""; 18]).chain([reason])
}
