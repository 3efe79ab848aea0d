//! The pictures to read: files as they are named, and folders with all pictures in them, in order of their names.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Cursor, ErrorKind};
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use image::{GrayImage, ImageFormat};
use infer::folder;
use infer::glyph::{self, Page};

use super::is_same;

/// The pictures in the folder, but not those in a folder `debug_dir` within it. A file, and a folder without pictures, is given
/// back itself: reading it says what it is.
pub fn pictures(path: &Path, debug_dir: Option<&Path>) -> Vec<PathBuf> {
    let steps = |path: &Path| debug_dir.is_some_and(|debug_dir| is_same(path, debug_dir));
    let pictures = match path.is_dir() {
        true => folder::pictures(path, &steps),
        false => Vec::new(),
    };
    match pictures.is_empty() {
        true => vec![path.to_owned()],
        false => pictures,
    }
}

/// What stands on the picture in `bytes`; every intermediate picture is saved into `debug_dir`, in a folder at the file's
/// own path.
pub fn page(bytes: &[u8], file: &Path, debug_dir: Option<&Path>) -> anyhow::Result<Page> {
    let Some(debug_dir) = debug_dir else {
        return Ok(glyph::read_page(bytes)?);
    };
    let folder = steps_folder(debug_dir, file);
    let context = || folder.display().to_string();
    fs::create_dir_all(&folder).with_context(context)?;
    remove_steps(&folder).with_context(context)?;
    let (mut step, mut failed) = (0, None);
    let page = glyph::read_watched(bytes, &mut |name, picture| {
        step += 1;
        let path = folder.join(format!("{step:02}-{name}.png"));
        if let Err(error) = save(&picture(), &path) {
            failed = Some(error.context(path.display().to_string()));
        }
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(page?),
    }
}

/// Writes a PNG. `save` of the picture itself would not tell of a full disk.
fn save(picture: &GrayImage, path: &Path) -> anyhow::Result<()> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(fs::write(path, bytes.into_inner())?)
}

/// A folder for the whole path, for files in several folders may have the same name.
fn steps_folder(debug_dir: &Path, file: &Path) -> PathBuf {
    let names = file.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        Component::ParentDir => Some(OsStr::new("_up")),
        _ => None,
    });
    debug_dir.join(names.collect::<PathBuf>())
}

/// Removes what an earlier run saved, which may have taken more steps.
fn remove_steps(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !is_step(&entry.file_name()) {
            continue;
        }
        match fs::remove_file(entry.path()) {
            // The same file may be named twice, and be read side by side.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(())
}

/// Whether [`page`] gives such names: `06-digit.png`.
fn is_step(name: &OsStr) -> bool {
    let parts = name
        .to_str()
        .and_then(|name| name.strip_suffix(".png")?.split_once('-'));
    parts.is_some_and(|(step, name)| {
        step.len() >= 2
            && step.bytes().all(|byte| byte.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_a_folder_of_its_own() {
        let folder = |file: &str| steps_folder(Path::new("steps"), Path::new(file));
        assert_eq!(folder("./p/x.png"), Path::new("steps/p/x.png"));
        assert_eq!(folder("../p/x.png"), Path::new("steps/_up/p/x.png"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_step_that_finds_no_room_is_an_error() {
        let error = save(&GrayImage::new(28, 28), Path::new("/dev/full")).unwrap_err();
        assert!(error.to_string().contains("No space left"), "{error}");
    }

    #[test]
    fn only_steps_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "01-grey.png",
            "1-grey.png",
            "120-digit.png",
            "02-Grey.png",
            "ab-grey.png",
            "03-ink.txt",
        ];
        for name in names {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        remove_steps(folder.path()).unwrap();
        let left = names.map(|name| folder.path().join(name).exists());
        assert_eq!(left, [false, true, false, true, true, true]);
    }
}
