//! The LoRAs of one device: found by name in a folder, opened when they are first asked for, and kept,
//! within bounds, for the jobs after. Models of one geometry share them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tintype_flux::lora::{Applied, Lora};
use tintype_flux::pipeline::Pipeline;
use tintype_words::{near, sentence};

use crate::{Error, LoraSource, LoraWish};

/// Bytes of all LoRAs that are kept: three of rank 16 over all layers of FLUX.1 in f32.
pub const KEPT_BYTES: u64 = 1 << 30;

/// What LoRA files end with.
const ENDING: &str = "safetensors";

/// A folder of LoRAs, and those that are open.
#[derive(Debug)]
pub(super) struct LoraShelf {
    folder: Option<PathBuf>,
    limit_bytes: u64,
    /// The one that was asked for last stands last.
    open: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    lora: Arc<Lora>,
}

/// A file as it was found.
#[derive(Debug, PartialEq)]
struct Place {
    path: PathBuf,
    stamp: Stamp,
}

/// The LoRAs of a job, before they are opened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MeasuredLoras {
    /// What all of them take.
    pub bytes: u64,
    /// Those that are open already: the last ones of the shelf.
    pub open: usize,
}

fn bytes(open: &[Entry]) -> u64 {
    open.iter().map(|entry| entry.lora.bytes() as u64).sum()
}

fn unfit(pipeline: &Pipeline, path: &Path, error: &tintype_flux::lora::Error) -> String {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let (model, reason) = (&pipeline.settings().name, sentence(error));
    let reason = without_folder(&reason, path);
    format!("the LoRA {name} cannot be applied to {model}: {reason}")
}

/// What tells a file from one that took its place.
#[derive(Debug, PartialEq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
}

impl LoraShelf {
    /// Nothing is open yet. Without a folder there are no names.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            limit_bytes: KEPT_BYTES,
            open: Vec::new(),
        }
    }

    /// What a job asks for, as far as it is open, and what all of it will take. What is open counts as
    /// asked for just now.
    ///
    /// # Errors
    /// As [`LoraShelf::take`], as far as the headers of files show it.
    pub fn measure(
        &mut self,
        pipeline: &Pipeline,
        wishes: &[LoraWish],
    ) -> Result<MeasuredLoras, Error> {
        let mut measured = MeasuredLoras::default();
        let mut seen = Vec::new();
        for LoraWish { source, .. } in wishes {
            let place = self.place(source).map_err(Error::Rejected)?;
            if seen.contains(&place.path) {
                continue;
            }
            match self.position(pipeline, &place) {
                Some(index) => {
                    measured.bytes += self.open[index].lora.bytes() as u64;
                    measured.open += 1;
                    self.open[index..].rotate_left(1);
                }
                None => {
                    let bytes = pipeline.measure_lora(&place.path);
                    let bytes = bytes.map_err(|error| unfit(pipeline, &place.path, &error));
                    measured.bytes += bytes.map_err(Error::Rejected)? as u64;
                }
            }
            seen.push(place.path);
        }
        Ok(measured)
    }

    /// What a job asks for, ready for this model.
    ///
    /// # Errors
    /// [`Error::Rejected`]: a name that is not there, or a file that cannot be applied to the model.
    pub fn take(
        &mut self,
        pipeline: &Pipeline,
        wishes: &[LoraWish],
    ) -> Result<Vec<Applied>, Error> {
        let mut applied = Vec::with_capacity(wishes.len());
        for LoraWish { source, weight } in wishes {
            let lora = self.get(pipeline, source).map_err(Error::Rejected)?;
            let weight = *weight;
            applied.push(Applied { lora, weight });
        }
        self.shrink();
        Ok(applied)
    }

    /// Bytes of all that are open.
    pub fn bytes(&self) -> u64 {
        bytes(&self.open)
    }

    /// Bytes of those that are open without being among the last `wanted`.
    pub fn bytes_beside(&self, wanted: usize) -> u64 {
        bytes(&self.open[..self.open.len().saturating_sub(wanted)])
    }

    /// Closes the one that was not asked for longest, but none of the last `wanted`; whether there was one.
    pub fn close_one_beside(&mut self, wanted: usize) -> bool {
        let there = self.open.len() > wanted;
        if there {
            self.open.remove(0);
        }
        there
    }

    fn place(&self, source: &LoraSource) -> Result<Place, String> {
        let path = self.path_of(source)?;
        let found = fs::metadata(&path)
            .map_err(|error| format!("the LoRA {} cannot be read: {error}", path.display()))?;
        let stamp = Stamp {
            bytes: found.len(),
            modified: found.modified().ok(),
        };
        Ok(Place { path, stamp })
    }

    fn position(&self, pipeline: &Pipeline, place: &Place) -> Option<usize> {
        self.open
            .iter()
            .position(|entry| entry.place == *place && pipeline.takes_lora(&entry.lora))
    }

    fn get(&mut self, pipeline: &Pipeline, source: &LoraSource) -> Result<Arc<Lora>, String> {
        let place = self.place(source)?;
        if let Some(index) = self.position(pipeline, &place) {
            self.open[index..].rotate_left(1);
            return Ok(self.open[self.open.len() - 1].lora.clone());
        }
        // One whose file was replaced.
        self.open
            .retain(|entry| entry.place.path != place.path || !pipeline.takes_lora(&entry.lora));
        let lora = pipeline.open_lora(&place.path);
        let lora = lora.map_err(|error| unfit(pipeline, &place.path, &error))?;
        tracing::info!(
            lora.name = lora.name(),
            lora.bytes = lora.bytes(),
            "LoRA opened"
        );
        let lora = Arc::new(lora);
        self.open.push(Entry {
            place,
            lora: lora.clone(),
        });
        Ok(lora)
    }

    fn path_of(&self, source: &LoraSource) -> Result<PathBuf, String> {
        let name = match source {
            LoraSource::File(path) => return Ok(path.clone()),
            LoraSource::Named(name) => name,
        };
        let folder = self.folder.as_deref();
        let folder =
            folder.ok_or_else(|| format!("there is no LoRA {name}: no folder of LoRAs is set"))?;
        // Looked up among the names that there are: whatever the name says, it leads nowhere else.
        let names = names_in(folder);
        match names.contains(name) {
            true => Ok(folder.join(format!("{name}.{ENDING}"))),
            false => Err(unknown(name, &names)),
        }
    }

    /// Closes what was not asked for longest until the rest is within the bound. What a run still uses
    /// stays in memory until it ends.
    fn shrink(&mut self) {
        while bytes(&self.open) > self.limit_bytes {
            self.open.remove(0);
        }
    }
}

/// The names of all LoRAs in a folder, sorted; none if it cannot be read.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == ENDING) && path.is_file())
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

fn unknown(name: &str, names: &[String]) -> String {
    if names.is_empty() {
        return format!("there is no LoRA {name}: the folder of LoRAs is empty");
    }
    match near(name, names.iter().map(String::as_str))[..] {
        [] => format!(
            "there is no LoRA {name}, nor one of a similar name; `tintype lora list` shows all to whoever runs \
             this service"
        ),
        ref near => format!("there is no LoRA {name}; near it are {}", near.join(", ")),
    }
}

/// Where the service's files lie is nobody's business who only asks for a picture.
fn without_folder(message: &str, path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    message.replace(&path.display().to_string(), &name)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{LoraShelf, LoraSource, names_in};

    #[test]
    fn names_are_those_of_the_folder_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        for file in [
            "style.safetensors",
            "Détail v2.safetensors",
            ".x.safetensors",
            "a.ckpt",
            "b.txt",
        ] {
            fs::write(folder.path().join(file), "x").expect("a file");
        }
        fs::create_dir(folder.path().join("sub.safetensors")).expect("a folder");
        assert_eq!(names_in(folder.path()), ["Détail v2", "style"]);
        assert!(names_in(&folder.path().join("absent")).is_empty());
        let shelf = LoraShelf::new(Some(folder.path().to_owned()));
        let path = |name: &str| shelf.path_of(&LoraSource::Named(name.to_owned()));
        assert!(
            path("style")
                .expect("is there")
                .ends_with("style.safetensors")
        );
        for odd in [
            "sub",
            "../style",
            "",
            ".",
            "a.ckpt",
            "style.safetensors",
            ".x",
        ] {
            path(odd).expect_err(odd);
        }
    }

    #[test]
    fn an_unknown_name_is_told_the_near_ones() {
        let folder = tempfile::tempdir().expect("a folder");
        let shelf = LoraShelf::new(Some(folder.path().to_owned()));
        let complaint = |shelf: &LoraShelf| {
            let wanted = LoraSource::Named("Stile".to_owned());
            shelf.path_of(&wanted).expect_err("unknown")
        };
        assert!(complaint(&shelf).ends_with("the folder of LoRAs is empty"));
        for name in ["style", "zebra", "a", "b", "c", "d", "e"] {
            fs::write(folder.path().join(format!("{name}.safetensors")), "x").expect("a file");
        }
        let message = complaint(&shelf);
        assert_eq!(message, "there is no LoRA Stile; near it are style");
        let wanted = LoraSource::Named("portrait".to_owned());
        let message = shelf.path_of(&wanted).expect_err("unknown");
        assert!(message.contains("tintype lora list"), "{message}");
        let none = LoraShelf::new(None);
        assert!(complaint(&none).contains("no folder of LoRAs is set"));
    }
}
