//! Files that we write: whole or not at all, and named by their SHA-256.

use std::io::{self, ErrorKind, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

/// How the temporary siblings begin; one that is left over was of a program that was killed.
pub const PREFIX: &str = ".threeblock-";

/// Writes `bytes` to a temporary sibling of `path` and renames it, so that no reader ever sees half a file.
///
/// # Errors
/// When the folder is missing or not writable, or the disk is full; `path` is then as it was.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    // The error of the temporary file names that, of which nobody knows.
    let mut file = builder.prefix(PREFIX).tempfile_in(folder).map_err(|error| {
        let problem = match error.kind() {
            ErrorKind::NotFound => "there is no folder".to_owned(),
            kind => format!("{kind} in the folder"),
        };
        io::Error::new(error.kind(), format!("{problem} {}", folder.display()))
    })?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

/// SHA-256 of `bytes`, in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_file_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn leaves_nothing_where_the_folder_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no");
        let error = write(&missing.join("a"), b"one").unwrap_err();
        assert_eq!(error.to_string(), format!("there is no folder {}", missing.display()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn hashes_as_the_standard_says() {
        assert!(sha256(b"abc").starts_with("ba7816bf8f01cfea"));
    }
}
