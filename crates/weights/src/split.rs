//! GGUF files in several parts, as llama.cpp's `gguf-split` cuts and names them:
//! `NAME-00001-of-00003.gguf`. The parts lie in one folder, and any of them stands for all.

use std::path::{Path, PathBuf};

use super::{Error, File, Metadata};

/// Digits of both numbers.
const DIGITS: usize = 5;

/// What the first file says of all: how many parts there are, and how many tensors in all of them.
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// What each says of itself: its number, from 0.
const NUMBER: &str = "split.no";

/// A part, by its name.
#[derive(Debug)]
struct Place<'a> {
    folder: &'a Path,
    /// What all parts' names begin with.
    stem: &'a str,
    count: usize,
}

impl<'a> Place<'a> {
    /// `None` for a file that is whole.
    fn of(path: &'a Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_suffix(".gguf")?;
        let (rest, count) = name.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let numeral = |text: &str| {
            let digits = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten()
        };
        let (number, count): (usize, usize) = (numeral(number)?, numeral(count)?);
        let folder = path.parent().unwrap_or(Path::new(""));
        (1..=count).contains(&number).then_some(Self {
            folder,
            stem,
            count,
        })
    }

    fn part(&self, number: usize) -> PathBuf {
        let (stem, count) = (self.stem, self.count);
        self.folder
            .join(format!("{stem}-{number:0DIGITS$}-of-{count:0DIGITS$}.gguf"))
    }
}

/// The first part of the file that `path` is a part of; `path` itself if it is a whole one.
pub fn first_part(path: &Path) -> PathBuf {
    Place::of(path).map_or_else(|| path.to_owned(), |place| place.part(1))
}

/// A file's name without its ending and without the number of a part.
pub fn stem(path: &Path) -> Option<String> {
    let of_part = Place::of(path).map(|place| place.stem.to_owned());
    of_part.or_else(|| Some(path.file_stem()?.to_string_lossy().into_owned()))
}

/// All parts of the file that `path` is a part of, in their order; `None` for a whole one.
///
/// # Errors
/// [`Error::MissingPart`] for the first that is not there.
pub(crate) fn parts(path: &Path) -> Result<Option<Vec<PathBuf>>, Error> {
    let Some(place) = Place::of(path) else {
        return Ok(None);
    };
    let parts: Vec<PathBuf> = (1..=place.count).map(|number| place.part(number)).collect();
    match parts.iter().find(|part| !part.is_file()) {
        Some(missing) => Err(Error::MissingPart {
            part: missing.clone(),
            count: place.count,
        }),
        None => Ok(Some(parts)),
    }
}

/// Whether what was opened is all that the files speak of: one that was renamed, or parts of two
/// downloads, would else lack tensors here and there.
///
/// # Errors
/// [`Error::Format`] names the file that does not belong to the others.
pub(crate) fn check(files: &[File], tensors: usize) -> Result<(), Error> {
    for (index, file) in files.iter().enumerate() {
        let metadata = Metadata {
            bytes: file.bytes.get(),
            entries: &file.header.entries,
        };
        let Some(count) = metadata.unsigned(COUNT).filter(|&count| count > 1) else {
            continue;
        };
        let number = metadata.unsigned(NUMBER).unwrap_or_default();
        let total = metadata.unsigned(TENSORS);
        let (found, opened) = (tensors as u64, files.len() as u64);
        let reason = if count != opened {
            format!(
                "it is one of {count} parts of a file, and {opened} were found: all of them must lie in one folder \
                 under the names that they were published with, such as NAME-00001-of-{count:0DIGITS$}.gguf"
            )
        } else if number != index as u64 {
            format!(
                "its name says that it is part {}, and itself that it is part {}",
                index + 1,
                number.saturating_add(1)
            )
        } else if total.is_some_and(|total| total != found) {
            format!(
                "all parts together should have {} tensors, and have {found}: they are not of one file",
                total.unwrap_or_default()
            )
        } else {
            continue;
        };
        let file = file.name.clone();
        return Err(Error::Format { file, reason });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_known_by_its_name() {
        let first = |path: &str| first_part(Path::new(path)).display().to_string();
        assert_eq!(
            first("/m/flux-00002-of-00003.gguf"),
            "/m/flux-00001-of-00003.gguf"
        );
        for whole in [
            "flux.gguf",
            "flux-00004-of-00003.gguf",
            "flux-00000-of-00003.gguf",
            "flux-1-of-3.gguf",
            "flux-00001-of-00003.safetensors",
            "00001-of-00003.gguf",
            "flux-+0001-of-00003.gguf",
        ] {
            assert_eq!(first(whole), whole);
        }
        let stem = |path: &str| stem(Path::new(path));
        assert_eq!(
            stem("a/flux-Q4-00001-of-00002.gguf").as_deref(),
            Some("flux-Q4")
        );
        assert_eq!(stem("a/flux-Q4.gguf").as_deref(), Some("flux-Q4"));
    }
}
