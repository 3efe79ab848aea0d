//! Files that we write: whole or not at all, and named by their SHA-256.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// How the temporary siblings begin; one that is left over was of a program that was killed.
pub const PREFIX: &str = ".threeblock-";

/// Writes `bytes` to a temporary sibling of `path` and renames it, so that no reader ever sees half a file. A link stays:
/// the file that it leads to is written.
///
/// # Errors
/// When `path` is a folder, a device or a pipe, the folder is missing or not writable, or the disk is full; `path` is then
/// as it was.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = &place(path)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    // The errors of the temporary file name that, of which nobody knows.
    let mut file = builder.prefix(PREFIX).tempfile_in(folder).map_err(|error| {
        let problem = match error.kind() {
            ErrorKind::NotFound => "there is no folder".to_owned(),
            kind => format!("{kind} in the folder"),
        };
        io::Error::new(error.kind(), format!("{problem} {}", folder.display()))
    })?;
    file.as_file_mut().write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

/// The file to write where `path` is meant: renaming onto a link or a device would put a file in its place.
fn place(path: &Path) -> io::Result<PathBuf> {
    let metadata = match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(path.to_owned()),
        metadata => metadata?,
    };
    if metadata.is_symlink() {
        return place(&path.canonicalize()?);
    }
    if !metadata.is_file() {
        let message = format!("{} is no regular file: name another", path.display());
        return Err(io::Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(path.to_owned())
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

    #[cfg(unix)]
    #[test]
    fn writes_where_a_link_leads_and_replaces_nothing_but_files() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link, socket] = ["file", "link", "socket"].map(|name| folder.path().join(name));
        std::fs::write(&file, b"one").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        write(&link, b"two").unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::read(&file).unwrap(), b"two");

        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [&socket, folder.path()] {
            let error = write(path, b"three").unwrap_err();
            assert!(error.to_string().contains("is no regular file"), "{error}");
        }
        assert!(!socket.metadata().unwrap().is_file());
    }

    #[test]
    fn hashes_as_the_standard_says() {
        assert!(sha256(b"abc").starts_with("ba7816bf8f01cfea"));
    }
}
