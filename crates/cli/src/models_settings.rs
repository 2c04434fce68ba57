//! `[models]`: the library of models, and the hub that they are fetched from. What is said of LoRAs is
//! read in `lora_settings`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tintype_library::Library;
use tintype_library::hub::{DEFAULT_HUB, Hub, HubOptions, Pace};
use tintype_library::pull::{CONNECTIONS, PullOptions};

/// The variable that holds the token for repositories that want to know who asks.
pub const TOKEN_VARIABLE: &str = "HF_TOKEN";

/// The variable in which other programs look for another hub.
const HUB_VARIABLE: &str = "HF_ENDPOINT";

/// The variable that keeps other programs from asking a hub.
const OFFLINE_VARIABLE: &str = "HF_HUB_OFFLINE";

/// The folder of the models in the data folder.
const FOLDER: &str = "models";

/// How models are fetched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelsSettings {
    /// Where models are fetched from.
    pub hub: Option<String>,
    /// Fetch nothing.
    pub offline: bool,
    /// Files at a time.
    pub connections: usize,
    /// The folder of LoRAs: a file's name without `.safetensors` is the LoRA's; `loras` in the data
    /// folder when not given.
    pub loras: Option<PathBuf>,
}

impl Default for ModelsSettings {
    fn default() -> Self {
        Self {
            hub: None,
            offline: false,
            connections: CONNECTIONS,
            loras: None,
        }
    }
}

impl ModelsSettings {
    /// Whether it can be used.
    ///
    /// # Errors
    /// The setting that does not fit.
    pub fn check(&self) -> anyhow::Result<()> {
        if !(1..=64).contains(&self.connections) {
            anyhow::bail!("[models]: connections must be 1 to 64");
        }
        // The token is left out: without it nothing is refused for its sake.
        self.hub_with(None).map(drop).context("[models]: hub")
    }

    /// The hub, with the token of the environment if there is one.
    ///
    /// # Errors
    /// An address or a token that cannot be used.
    pub fn hub(&self) -> anyhow::Result<Hub> {
        self.hub_with(token())
    }

    fn hub_with(&self, token: Option<SecretString>) -> anyhow::Result<Hub> {
        Ok(Hub::new(HubOptions {
            url: self.address(),
            token,
            pace: Pace::default(),
        })?)
    }

    /// Where models are fetched from: the setting, or the variable that other programs know, or the
    /// public hub.
    pub fn address(&self) -> String {
        let hub = self.hub.clone().or_else(|| variable(HUB_VARIABLE));
        hub.unwrap_or_else(|| DEFAULT_HUB.to_owned())
    }

    /// How to pull.
    pub fn pull_options(&self) -> PullOptions {
        PullOptions {
            connections: self.connections,
            offline: self.offline(),
        }
    }

    /// Whether nothing may be fetched.
    pub fn offline(&self) -> bool {
        let set = variable(OFFLINE_VARIABLE).map(|text| text.to_lowercase());
        self.offline || set.is_some_and(|text| ["1", "true", "yes", "on"].contains(&text.as_str()))
    }
}

/// Whether there is a token.
pub fn token() -> Option<SecretString> {
    variable(TOKEN_VARIABLE).map(SecretString::from)
}

fn variable(name: &str) -> Option<String> {
    let text = std::env::var(name).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The library of a data folder, be it there or not.
pub fn library(data: &Path) -> Library {
    Library::at(data.join(FOLDER))
}
