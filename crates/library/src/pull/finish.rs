//! The end of a pull: what is whole becomes visible.

use std::fs;
use std::path::Path;

use super::Pulling;
use super::fetch::share;
use super::plan::Plan;
use crate::digest::FileDigest;
use crate::error::Error;
use crate::installed::{Record, RecordedFile, write_file};
use crate::library::{clear, create};
use crate::manifest::Manifest;
use crate::names::RelativePath;

/// What the readers of models read besides a model's own files.
const SETTINGS: &str = "tintype.json";

impl Pulling {
    /// Takes over what the installed model has.
    pub(super) fn keep(&self, plan: &Plan) -> Result<Vec<RecordedFile>, Error> {
        let fetched = plan.kept.iter().filter(|file| file.origin.is_some());
        let mut files = Vec::new();
        for file in fetched {
            let place = file.path.under(&self.staging.files);
            if let Some(parent) = place.parent() {
                create(parent)?;
            }
            share(&file.path.under(&plan.folder), &place)?;
            files.push(file.clone());
        }
        Ok(files)
    }

    /// Puts the folder into its place.
    pub(super) fn finish(
        &self,
        manifest: &Manifest,
        mut files: Vec<RecordedFile>,
    ) -> Result<Record, Error> {
        let staged = &self.staging.files;
        if let Some(settings) = &manifest.settings {
            files.push(write_settings(staged, settings)?);
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let record = Record {
            name: manifest.name.clone(),
            title: manifest.title.clone(),
            kind: manifest.kind,
            machine_gb: manifest.machine_gb,
            licence: manifest.licence.clone(),
            hub: self.hub.host(),
            settings: manifest.settings.clone(),
            files,
        };
        record.write(staged)?;
        let folder = self.library.folder(&manifest.name);
        let old = self.staging.whole.join("old");
        clear(&old)?;
        let renamed = || {
            if folder.is_dir() {
                fs::rename(&folder, &old)?;
            }
            fs::rename(staged, &folder)?;
            fs::File::open(self.library.root())?.sync_all()
        };
        renamed().map_err(|source| Error::io(&folder, source))?;
        clear(&self.staging.whole)?;
        Ok(record)
    }
}

fn write_settings(folder: &Path, settings: &serde_json::Value) -> Result<RecordedFile, Error> {
    let text = serde_json::to_vec_pretty(settings).expect("it is JSON; this is a bug");
    let path: RelativePath = SETTINGS.parse().expect("a plain name; this is a bug");
    write_file(&path.under(folder), &text)?;
    Ok(RecordedFile {
        path,
        size: text.len() as u64,
        sha256: FileDigest::of(&text),
        origin: None,
    })
}
