//! Where models lie that are called by a name.

use std::path::{Path, PathBuf};

use tintype_engine::native::ModelSource;

use crate::models::BUNDLED;
use crate::models_settings::library;

/// What a model's name means: the bundled one's stays as it is, an installed one's is its folder, and a
/// path is itself. The one place that knows, for settings and flags alike.
///
/// # Errors
/// When there is no such model, with near names and the command that fetches one.
pub fn locate(name: &str, data: &Path) -> anyhow::Result<PathBuf> {
    if name == BUNDLED {
        return Ok(PathBuf::from(BUNDLED));
    }
    Ok(library(data).locate(name)?)
}

/// The same, as the engine wants it.
///
/// # Errors
/// Those of [`locate`].
pub fn source(name: &str, data: &Path) -> anyhow::Result<ModelSource> {
    Ok(match locate(name, data)? {
        bundled if bundled == Path::new(BUNDLED) => ModelSource::Nano,
        folder => ModelSource::Directory(folder),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_bundled_model_an_installed_one_or_a_path() {
        let data = tempfile::tempdir().expect("a folder");
        let installed = data.path().join("models/flux-dev-q4");
        std::fs::create_dir_all(&installed).expect("a folder");
        let found = |name: &str| locate(name, data.path());
        assert_eq!(found("nano").expect("bundled"), Path::new("nano"));
        assert_eq!(found("flux-dev-q4").expect("installed"), installed);
        let path = data.path().display().to_string();
        assert_eq!(found(&path).expect("a path"), data.path());
        let missing = found("flux-dev-q8").expect_err("not installed").to_string();
        assert!(
            missing.contains("tintype model pull flux-dev-q8"),
            "{missing}"
        );
    }
}
