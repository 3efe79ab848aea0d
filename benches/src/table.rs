//! Measured numbers as Markdown, and the markers in a document between which they stand.

use std::path::Path;

use anyhow::Context;
use models::document;

use crate::results::Row;

/// The rows as Markdown. Within a batch size and number of threads, the ratio says how much faster than ONNX Runtime.
pub fn markdown(rows: &[Row], missing: &[(String, String)]) -> String {
    let mut table = String::from(
        "| engine | precision | batch | threads | n | median us | p99 us | digits/s | x ONNX Runtime | accuracy | worst digit | load ms |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for row in rows {
        let like = |other: &&Row| (other.batch, other.threads) == (row.batch, row.threads);
        let reference = rows
            .iter()
            .filter(like)
            .find(|other| other.engine == "ort" && other.precision == "f32");
        table += &format!(
            "| {} | {} | {} | {} | {} | {:.1} | {:.1} | {:.0} | {} | {} | {} | {:.1} |\n",
            row.engine,
            row.precision,
            row.batch,
            row.threads,
            row.n,
            row.median_us,
            row.p99_us,
            row.digits_per_s,
            reference.map_or("-".into(), |reference| format!(
                "{:.2}",
                reference.median_us / row.median_us
            )),
            row.accuracy.map_or("-".into(), |accuracy| format!("{accuracy:.4}")),
            row.per_digit.map_or("-".into(), worst_digit),
            row.load_ms,
        );
    }
    for (engine, why) in missing {
        table += &format!("\n`{engine}` is missing: {why}\n");
    }
    table
}

fn worst_digit(per_digit: [f64; models::CLASSES]) -> String {
    let digits = per_digit.iter().enumerate();
    let (digit, accuracy) = digits.min_by(|a, b| a.1.total_cmp(b.1)).expect("there are ten");
    format!("{digit}: {accuracy:.4}")
}

/// What stands between `<!-- name:start -->` and `<!-- name:end -->` of a document.
///
/// # Errors
/// When the document or its markers are missing.
pub fn section(document: &Path, name: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(document).with_context(|| document.display().to_string())?;
    let between = text
        .split_once(&format!("<!-- {name}:start -->\n"))
        .and_then(|(_, rest)| rest.split_once(&format!("\n<!-- {name}:end -->")));
    let (section, _) = between.with_context(|| format!("{} has no markers {name}", document.display()))?;
    Ok(section.to_owned())
}

/// Puts `text` between `<!-- name:start -->` and `<!-- name:end -->` of a document.
///
/// # Errors
/// When the document or its markers are missing, or it cannot be written.
pub fn insert(document: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    document::insert(document, name, text)
        .with_context(|| format!("cannot write the table {name} into {}", document.display()))
}
