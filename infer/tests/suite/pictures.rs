//! Real and hostile pictures, from the folder that the environment variable REALDIGITS names.

use std::path::{Path, PathBuf};

use infer::folder::{Labelled, labelled};
use infer::glyph::{self, GlyphError};
use infer::{Classifier, REJECT, Reading};

use crate::skipped;

/// The folder of real pictures; says so where there is none.
fn real_digits() -> Option<PathBuf> {
    let folder = std::env::var_os("REALDIGITS").map(PathBuf::from);
    if folder.is_none() {
        skipped("REALDIGITS names no folder of real pictures");
    }
    folder
}

fn read(classifier: &mut Classifier, path: &Path) -> Result<Reading, GlyphError> {
    let page = glyph::read_page(&std::fs::read(path).unwrap())?;
    Ok(classifier.read_all([&page], REJECT).unwrap().remove(0))
}

/// How many of a set's pictures are read exactly, and how many there are.
fn right(folder: &Path, set: &str) -> (usize, usize) {
    let mut classifier = Classifier::released().unwrap();
    let pictures = labelled(&folder.join(set)).unwrap();
    let is_right = |picture: &&Labelled| {
        let text = read(&mut classifier, &picture.path).map_or(String::new(), |reading| reading.text());
        Some(text) == picture.label
    };
    (pictures.iter().filter(is_right).count(), pictures.len())
}

/// The floor is below what was measured, so that other weights do not fail it by a picture or two.
#[test]
fn real_pictures_are_read() {
    let Some(folder) = real_digits() else { return };
    for (set, least) in [("photos", 0.9), ("drawings", 0.93), ("hard", 0.8), ("printed", 0.8)] {
        let (right, n) = right(&folder, set);
        assert!(right as f64 >= least * n as f64, "{set}: {right} of {n}");
    }
}

#[test]
fn hostile_files_do_as_expected() {
    let Some(folder) = real_digits() else { return };
    let folder = folder.join("hostile");
    let mut classifier = Classifier::released().unwrap();
    let mut reader = csv::Reader::from_path(folder.join("expect.csv")).unwrap();
    for row in reader.records().map(Result::unwrap) {
        let (path, expected) = (&row[0], &row[1]);
        let found = match read(&mut classifier, &folder.join(path)) {
            Ok(reading) => reading.text(),
            Err(error) if error.is_no_digit() => "no digit".to_owned(),
            Err(_) => "error".to_owned(),
        };
        let fits = match expected {
            _ if expected.starts_with("decodes") => found != "error",
            _ if expected.starts_with("error") => found == "error",
            "no digit" | "clean error or no digit" => found == "no digit" || found == "error",
            "7" => found == "7",
            _ => found == "7" || found == "error",
        };
        assert!(fits, "{path}: {found:?} instead of {expected:?}");
    }
}
