//! Documents into which programs write what they measured, between `<!-- name:start -->` and `<!-- name:end -->`.

use std::io;
use std::path::Path;

use crate::artefact;

/// Puts `text` between the markers `name` of a document.
///
/// # Errors
/// When the document or its markers are missing, or it cannot be written.
pub fn insert(document: &Path, name: &str, text: &str) -> io::Result<()> {
    let old = std::fs::read_to_string(document)?;
    artefact::write(document, replaced(&old, name, text)?.as_bytes())
}

fn replaced(document: &str, name: &str, text: &str) -> io::Result<String> {
    let (start, end) = (format!("<!-- {name}:start -->"), format!("<!-- {name}:end -->"));
    let missing = |marker: &str| io::Error::other(format!("the marker {marker} is missing"));
    let (head, rest) = document.split_once(&start).ok_or_else(|| missing(&start))?;
    let (_, tail) = rest.split_once(&end).ok_or_else(|| missing(&end))?;
    if text.contains("-->") {
        return Err(io::Error::other("a table holds no markers"));
    }
    Ok(format!("{head}{start}\n{}\n{end}{tail}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_what_stands_between_the_markers() {
        let document = "a\n<!-- t:start -->\nold\n<!-- t:end -->\nb\n";
        let new = replaced(document, "t", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- t:start -->\nnew\n<!-- t:end -->\nb\n");
        assert_eq!(replaced(&new, "t", "new\n").unwrap(), new);
        assert!(replaced(document, "u", "new").is_err());
        assert!(replaced(document, "t", "-->").is_err());
    }
}
