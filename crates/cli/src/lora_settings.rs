//! Where LoRAs lie: the `[models]` part of the settings, and what the command line says of single ones.

use std::path::{Path, PathBuf};

use anyhow::bail;
use figment::Figment;
use figment::providers::Env;
use tintype_domain::{LoraChoice, LoraError, MAX_LORAS};
use tintype_engine::{LoraSource, LoraWish};

use crate::models_settings::ModelsSettings;
use crate::settings::data_folder;

/// The folder in the data folder where LoRAs are looked for, unless another one is set.
const FOLDER: &str = "loras";

impl ModelsSettings {
    /// The folder of LoRAs, be it there or not.
    pub fn lora_folder(&self, data: &Path) -> PathBuf {
        self.loras.clone().unwrap_or_else(|| data.join(FOLDER))
    }
}

/// The folder for commands that read no configuration file: by `TINTYPE_MODELS__LORAS` and
/// `TINTYPE_DATA`.
///
/// # Errors
/// A setting that does not exist.
pub fn folder_from_environment() -> anyhow::Result<PathBuf> {
    let figment = Figment::from(Env::prefixed("TINTYPE_MODELS__"));
    let settings: ModelsSettings = figment
        .extract()
        .map_err(|error| anyhow::anyhow!("TINTYPE_MODELS__…: {error}"))?;
    Ok(settings.lora_folder(&data_folder()))
}

/// LoRAs of a tool, each `NAME` or `NAME:WEIGHT`.
///
/// # Errors
/// The first that is no such thing.
pub fn wishes(texts: &[String]) -> anyhow::Result<Vec<LoraWish>> {
    let choices: Result<Vec<LoraChoice>, _> = texts.iter().map(|text| text.parse()).collect();
    let choices = choices?;
    LoraChoice::check(&choices)?;
    let wish = |choice: LoraChoice| LoraWish::named(choice.name.as_str(), choice.weight);
    Ok(choices.into_iter().map(wish).collect())
}

/// What the command line says: a name of the folder, or a file, which has a separator or the ending;
/// then a colon and a weight, unless it is 1.
///
/// # Errors
/// What is wrong, for clap.
pub fn parse_argument(text: &str) -> Result<LoraWish, String> {
    let (place, weight) = match text.rsplit_once(':') {
        Some((place, weight)) if !weight.contains(['/', '\\']) => (place, weight),
        _ => (text, "1"),
    };
    let is_file = place.contains(['/', '\\']) || place.ends_with(".safetensors");
    let choice = |name: &str| format!("{name}:{weight}").parse::<LoraChoice>();
    if is_file {
        // The weight is read as beside any name.
        let weight = choice("file").map_err(|error| error.to_string())?.weight;
        let source = LoraSource::File(place.into());
        return Ok(LoraWish { source, weight });
    }
    let LoraChoice { name, weight } = choice(place).map_err(|error| error.to_string())?;
    Ok(LoraWish::named(name.as_str(), weight))
}

/// Whether these can be applied together: what holds for requests holds on the command line.
///
/// # Errors
/// There are too many, or one is named twice.
pub fn check(wishes: &[LoraWish]) -> anyhow::Result<()> {
    if wishes.len() > MAX_LORAS {
        return Err(LoraError::TooMany(wishes.len()).into());
    }
    for (index, wish) in wishes.iter().enumerate() {
        if wishes[..index]
            .iter()
            .any(|earlier| earlier.source == wish.source)
        {
            let name = match &wish.source {
                LoraSource::Named(name) => name.clone(),
                LoraSource::File(path) => path.display().to_string(),
            };
            bail!("the LoRA {name} is named twice");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_a_name_or_a_file_and_a_weight() {
        let file = |path: &str, weight| LoraWish {
            source: LoraSource::File(path.into()),
            weight,
        };
        for (text, expected) in [
            ("style", LoraWish::named("style", 1.0)),
            ("style:0.8", LoraWish::named("style", 0.8)),
            ("style:-1", LoraWish::named("style", -1.0)),
            ("./style.safetensors:0.5", file("./style.safetensors", 0.5)),
            ("style.safetensors", file("style.safetensors", 1.0)),
            ("a:b/style", file("a:b/style", 1.0)),
        ] {
            assert_eq!(parse_argument(text), Ok(expected), "{text}");
        }
        for bad in ["", ":1", "style:much", "style:99", "a,b", "./x:nan"] {
            parse_argument(bad).expect_err(bad);
        }
    }

    #[test]
    fn a_tools_loras_are_names_alone() {
        let texts =
            |texts: &[&str]| wishes(&texts.iter().map(|&t| t.to_owned()).collect::<Vec<_>>());
        let found = texts(&["style:0.8", "detail"]).expect("names");
        let expected = [
            LoraWish::named("style", 0.8),
            LoraWish::named("detail", 1.0),
        ];
        assert_eq!(found, expected);
        for bad in [&["../x"][..], &["a", "a:2"], &["a:b"]] {
            texts(bad).expect_err("no names");
        }
    }
}
