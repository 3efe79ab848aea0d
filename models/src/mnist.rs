//! MNIST as it is published: IDX files, plain or gzipped, into digits and labels.
//! Format: <http://yann.lecun.com/exdb/mnist/>, four big-endian integers of header, then bytes.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use crate::{CLASSES, Digit, PIXELS, SIDE, artefact};

const IMAGES_MAGIC: u32 = 0x0803;
const LABELS_MAGIC: u32 = 0x0801;
/// A hundred times MNIST's training images; no file that we read is larger.
const MAX_BYTES: u64 = 1 << 32;

/// Which half of MNIST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// 60,000 digits to train on.
    Train,
    /// 10,000 digits to test on.
    Test,
}

/// Digits with their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// The digits.
    pub digits: Vec<Digit>,
    /// The digit that each shows, 0 to 9; as many as `digits`.
    pub labels: Vec<u8>,
    /// SHA-256 of the uncompressed images file and labels file.
    pub sha256: [String; 2],
}

/// Why MNIST cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MnistError {
    /// Neither the plain nor the gzipped file is there.
    #[error("{0} is missing, plain or as .gz: run `make setup`, or name the folder of MNIST's IDX files with --data")]
    Missing(PathBuf),
    /// The file cannot be read or unpacked.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The file is not the IDX file that it should be.
    #[error("{path} is not a usable IDX file: {problem}")]
    Idx {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        problem: IdxProblem,
    },
    /// The two files do not belong together.
    #[error("{path} has {labels} labels for {digits} digits")]
    Count {
        /// The labels file.
        path: PathBuf,
        /// Labels found.
        labels: usize,
        /// Digits found.
        digits: usize,
    },
}

/// What is wrong in an IDX file.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum IdxProblem {
    /// Too short for its header.
    #[error("{0} bytes are too few for its header")]
    Header(usize),
    /// Another type or number of dimensions.
    #[error("it starts with {found:#06x}, expected {expected:#06x}")]
    Magic {
        /// In the file.
        found: u32,
        /// In the format.
        expected: u32,
    },
    /// Not 28x28.
    #[error("its images are {0}x{1}, expected {SIDE}x{SIDE}")]
    Size(u32, u32),
    /// The header promises another length.
    #[error("its header promises {expected} bytes of data, it has {found}")]
    Length {
        /// In the file.
        found: usize,
        /// In the header.
        expected: u64,
    },
    /// Nothing inside.
    #[error("it is empty")]
    Empty,
    /// A label over 9.
    #[error("label {value} at index {index} is no digit")]
    Label {
        /// Where.
        index: usize,
        /// The label.
        value: u8,
    },
}

impl Split {
    /// Reads one half of MNIST from a folder with its four files under their published names, plain or with `.gz`.
    ///
    /// # Errors
    /// When a file is missing, unreadable or malformed, or the labels do not match the digits.
    pub fn read(folder: &Path, part: Part) -> Result<Split, MnistError> {
        let prefix = match part {
            Part::Train => "train",
            Part::Test => "t10k",
        };
        let (images_path, images) = read_file(folder, &format!("{prefix}-images-idx3-ubyte"))?;
        let (labels_path, labels) = read_file(folder, &format!("{prefix}-labels-idx1-ubyte"))?;
        let digits = parse_images(&images).map_err(|problem| MnistError::Idx {
            path: images_path,
            problem,
        })?;
        let values = parse_labels(&labels)
            .map_err(|problem| MnistError::Idx {
                path: labels_path.clone(),
                problem,
            })?
            .to_vec();
        if values.len() != digits.len() {
            let (labels, digits) = (values.len(), digits.len());
            return Err(MnistError::Count {
                path: labels_path,
                labels,
                digits,
            });
        }
        Ok(Split {
            digits,
            labels: values,
            sha256: [artefact::sha256(&images), artefact::sha256(&labels)],
        })
    }

    /// Takes the last `n` digits away, as a split of their own; all where there are fewer.
    pub fn split_off(&mut self, n: usize) -> Split {
        let rest = self.digits.len().saturating_sub(n);
        Split {
            digits: self.digits.split_off(rest),
            labels: self.labels.split_off(rest),
            sha256: self.sha256.clone(),
        }
    }

    /// The first `n` digits; all where there are fewer.
    pub fn truncate(&mut self, n: usize) {
        self.digits.truncate(n);
        self.labels.truncate(n);
    }
}

fn read_file(folder: &Path, name: &str) -> Result<(PathBuf, Vec<u8>), MnistError> {
    let plain = folder.join(name);
    let zipped = folder.join(format!("{name}.gz"));
    let path = if plain.exists() || !zipped.exists() {
        plain
    } else {
        zipped
    };
    let mut bytes = Vec::new();
    let read = File::open(&path).and_then(|file| {
        if path.extension().is_some_and(|extension| extension == "gz") {
            GzDecoder::new(file).take(MAX_BYTES).read_to_end(&mut bytes)
        } else {
            file.take(MAX_BYTES).read_to_end(&mut bytes)
        }
    });
    match read {
        Ok(_) => Ok((path, bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(MnistError::Missing(path)),
        Err(source) => Err(MnistError::Io { path, source }),
    }
}

fn parse_images(bytes: &[u8]) -> Result<Vec<Digit>, IdxProblem> {
    let ([n, rows, columns], data) = parse_header::<3>(bytes, IMAGES_MAGIC)?;
    if (rows, columns) != (SIDE as u32, SIDE as u32) {
        return Err(IdxProblem::Size(rows, columns));
    }
    check_length(data, u64::from(n) * PIXELS as u64)?;
    let (digits, _) = data.as_chunks::<PIXELS>();
    Ok(digits.iter().copied().map(Digit).collect())
}

fn parse_labels(bytes: &[u8]) -> Result<&[u8], IdxProblem> {
    let ([n], data) = parse_header::<1>(bytes, LABELS_MAGIC)?;
    check_length(data, u64::from(n))?;
    match data.iter().position(|&label| usize::from(label) >= CLASSES) {
        Some(index) => Err(IdxProblem::Label {
            index,
            value: data[index],
        }),
        None => Ok(data),
    }
}

/// Splits an IDX file into its `N` dimensions and its data.
fn parse_header<const N: usize>(bytes: &[u8], magic: u32) -> Result<([u32; N], &[u8]), IdxProblem> {
    let (words, _) = bytes.as_chunks::<4>();
    let Some((head, dimensions)) = words.get(..=N).and_then(|words| words.split_first()) else {
        return Err(IdxProblem::Header(bytes.len()));
    };
    let found = u32::from_be_bytes(*head);
    if found != magic {
        return Err(IdxProblem::Magic { found, expected: magic });
    }
    let dimensions = std::array::from_fn(|i| u32::from_be_bytes(dimensions[i]));
    Ok((dimensions, &bytes[4 * (N + 1)..]))
}

fn check_length(data: &[u8], expected: u64) -> Result<(), IdxProblem> {
    match data.len() {
        found if found as u64 != expected => Err(IdxProblem::Length { found, expected }),
        0 => Err(IdxProblem::Empty),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn splits_off_the_last_digits() {
        let mut split = Split {
            digits: (0..5).map(|i| Digit([i; PIXELS])).collect(),
            labels: (0..5).collect(),
            sha256: ["a".into(), "b".into()],
        };
        let rest = split.split_off(2);
        assert_eq!((split.labels, rest.labels), (vec![0, 1, 2], vec![3, 4]));
        assert_eq!((split.digits.len(), rest.digits[0]), (3, Digit([3; PIXELS])));
    }

    fn idx(words: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.extend(data);
        bytes
    }

    fn folder(images: &[u8], labels: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t10k-images-idx3-ubyte"), images).unwrap();
        std::fs::write(folder.path().join("t10k-labels-idx1-ubyte"), labels).unwrap();
        folder
    }

    fn two_images() -> Vec<u8> {
        idx(&[IMAGES_MAGIC, 2, 28, 28], &[9; 2 * PIXELS])
    }

    #[test]
    fn reads_plain_and_gzipped_alike() {
        let labels = idx(&[LABELS_MAGIC, 2], &[1, 2]);
        let plain = folder(&two_images(), &labels);
        let split = Split::read(plain.path(), Part::Test).unwrap();
        assert_eq!((split.digits.len(), &split.labels[..]), (2, &[1, 2][..]));

        let zipped = tempfile::tempdir().unwrap();
        for (name, bytes) in [("images-idx3", &two_images()), ("labels-idx1", &labels)] {
            let file = File::create(zipped.path().join(format!("t10k-{name}-ubyte.gz"))).unwrap();
            let mut encoder = GzEncoder::new(file, Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap();
        }
        assert_eq!(Split::read(zipped.path(), Part::Test).unwrap(), split);
    }

    #[track_caller]
    fn check_images(bytes: &[u8], expected: IdxProblem) {
        assert_eq!(parse_images(bytes), Err(expected));
    }

    #[test]
    fn refuses_malformed_images() {
        let header = |n, rows, columns| idx(&[IMAGES_MAGIC, n, rows, columns], &[0; PIXELS]);
        check_images(b"", IdxProblem::Header(0));
        check_images(&two_images()[..15], IdxProblem::Header(15));
        let magic = IdxProblem::Magic {
            found: LABELS_MAGIC,
            expected: IMAGES_MAGIC,
        };
        check_images(&idx(&[LABELS_MAGIC, 1, 28, 28], &[]), magic);
        check_images(&header(1, 28, 27), IdxProblem::Size(28, 27));
        let expected = u64::from(u32::MAX) * PIXELS as u64;
        check_images(
            &header(u32::MAX, 28, 28),
            IdxProblem::Length {
                found: PIXELS,
                expected,
            },
        );
        check_images(&idx(&[IMAGES_MAGIC, 0, 28, 28], &[]), IdxProblem::Empty);
    }

    #[test]
    fn refuses_malformed_labels() {
        let label = IdxProblem::Label { index: 1, value: 10 };
        assert_eq!(parse_labels(&idx(&[LABELS_MAGIC, 2], &[9, 10])), Err(label));
        let length = IdxProblem::Length { found: 1, expected: 2 };
        assert_eq!(parse_labels(&idx(&[LABELS_MAGIC, 2], &[9])), Err(length));
    }

    #[test]
    fn says_what_to_do_about_missing_and_unequal_files() {
        let empty = tempfile::tempdir().unwrap();
        let missing = Split::read(empty.path(), Part::Train).unwrap_err().to_string();
        assert!(missing.contains("run `make setup`"), "{missing}");
        let unequal = folder(&two_images(), &idx(&[LABELS_MAGIC, 1], &[1]));
        assert!(matches!(
            Split::read(unequal.path(), Part::Test),
            Err(MnistError::Count {
                labels: 1,
                digits: 2,
                ..
            })
        ));
    }

    #[test]
    fn refuses_a_broken_gzip() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t10k-images-idx3-ubyte.gz"), b"not gzip").unwrap();
        assert!(matches!(
            Split::read(folder.path(), Part::Test),
            Err(MnistError::Io { .. })
        ));
    }
}
