//! Which files of a folder are the weights.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::{Error, io_error, split};

/// The names that diffusers and transformers give an unsharded file, looked for first: a folder may
/// also hold variants such as `model.fp16.safetensors`.
const SINGLE_FILES: [&str; 2] = ["diffusion_pytorch_model.safetensors", "model.safetensors"];

/// The weight files of a path: a file itself, or those of a component folder.
pub fn files_of(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let kind = match fs::metadata(path) {
        Ok(kind) => kind,
        Err(source) => {
            // The first part stands for all, also when it is the one that is missing.
            split::parts(path)?;
            return Err(io_error(path, source));
        }
    };
    match kind.is_dir() {
        true => files_in(path),
        false => whole(path),
    }
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|source| io_error(folder, source))? {
        let entry = entry.map_err(|source| io_error(folder, source))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let standard = SINGLE_FILES
        .iter()
        .find(|&&name| names.iter().any(|n| n == name));
    if let Some(name) = standard {
        return Ok(vec![folder.join(name)]);
    }
    let indices: Vec<&String> = with_ending(&names, ".safetensors.index.json");
    if let [index] = indices[..] {
        return shards(folder, index);
    }
    let found = match with_ending(&names, ".safetensors") {
        found if found.is_empty() => with_ending(&names, ".gguf"),
        found => found,
    };
    let mut files: Vec<PathBuf> = found
        .iter()
        .map(|name| split::first_part(&folder.join(name)))
        .collect();
    files.dedup();
    match &files[..] {
        [file] => whole(file),
        _ => Err(Error::Files {
            folder: folder.to_owned(),
            found: found.len(),
        }),
    }
}

/// A file, or all parts of it.
fn whole(path: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(split::parts(path)?.unwrap_or_else(|| vec![path.to_owned()]))
}

fn with_ending<'a>(names: &'a [String], ending: &str) -> Vec<&'a String> {
    names.iter().filter(|name| name.ends_with(ending)).collect()
}

/// The shards that an index names.
fn shards(folder: &Path, index: &str) -> Result<Vec<PathBuf>, Error> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let path = folder.join(index);
    let format = |reason: String| Error::Format {
        file: path.display().to_string(),
        reason,
    };
    let text = fs::read_to_string(&path).map_err(|source| io_error(&path, source))?;
    let index: Index = serde_json::from_str(&text).map_err(|error| format(error.to_string()))?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    // A shard lies beside its index: an index may not lead out of the model's folder.
    if let Some(name) = names.iter().find(|name| name.contains(['/', '\\'])) {
        return Err(format(format!("`{name}` is not a plain file name")));
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}
