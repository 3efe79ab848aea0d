//! The pictures to read: files as they are named, and folders with all pictures in them, in order of their names.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};
use infer::glyph::{self, Page};

use crate::commands::read_up_to;

/// Names of the pictures that are looked for in a folder.
const EXTENSIONS: [&str; 12] = [
    "png", "jpg", "jpeg", "gif", "bmp", "webp", "tif", "tiff", "pbm", "pgm", "ppm", "pnm",
];

/// The file itself, or the pictures in the folder.
pub fn pictures(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut pictures = Vec::new();
    walk(path, &mut pictures)?;
    if pictures.is_empty() {
        bail!("no pictures in this folder");
    }
    Ok(pictures)
}

/// Adds the pictures in a folder and the folders in it, by name. Links to folders are not followed: they may lead back.
fn walk(folder: &Path, pictures: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            walk(&path, pictures)?;
        } else if is_picture(&path) && path.is_file() {
            pictures.push(path);
        }
    }
    Ok(())
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str()))
}

/// The bytes of a picture, or of standard input.
pub fn bytes(file: &Path) -> io::Result<Vec<u8>> {
    let max = glyph::MAX_FILE_BYTES as u64;
    match file == Path::new("-") {
        true => read_up_to(io::stdin(), max),
        false => read_up_to(File::open(file)?, max),
    }
}

/// What stands on a picture; every intermediate picture is saved into `debug_dir`, in a folder at the file's own path.
pub fn page(file: &Path, debug_dir: Option<&Path>) -> anyhow::Result<Page> {
    let bytes = bytes(file)?;
    let Some(debug_dir) = debug_dir else {
        return Ok(glyph::read_page(&bytes)?);
    };
    // The whole path, for files in several folders may have the same name.
    let names = file.components().filter(|part| matches!(part, Component::Normal(_)));
    let folder = debug_dir.join(names.collect::<PathBuf>());
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let (mut step, mut failed) = (0, None);
    let page = glyph::read_watched(&bytes, &mut |name, picture| {
        step += 1;
        let path = folder.join(format!("{step:02}-{name}.png"));
        if let Err(error) = picture().save(&path) {
            failed = Some(anyhow::Error::new(error).context(path.display().to_string()));
        }
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(page?),
    }
}
