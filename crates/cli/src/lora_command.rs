//! `tintype lora`: what lies in the folder of LoRAs, and what a file is.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tintype_engine::native::{LoraSummary, lora_names};

use crate::settings::{ConfigFile, Overrides, Settings};
use crate::table;

/// The command line of `lora`.
#[derive(Debug, Subcommand)]
pub enum LoraCommand {
    /// List the LoRAs that can be named.
    List(ListArguments),
    /// Say what a file is: its ranks, which layers it changes, which words bring it out.
    Inspect(InspectArguments),
}

/// The command line of `lora list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    #[command(flatten)]
    place: Place,
    /// Print JSON, one LoRA a line.
    #[arg(long)]
    json: bool,
}

/// The command line of `lora inspect`.
#[derive(Debug, Args)]
pub struct InspectArguments {
    /// A LoRA's name, or a file.
    lora: String,
    #[command(flatten)]
    place: Place,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Which folder.
#[derive(Debug, Args)]
struct Place {
    /// The service's data folder [default: ~/.local/share/tintype].
    #[arg(long, value_name = "DIR", env = "TINTYPE_DATA", hide_env_values = true)]
    data: Option<PathBuf>,
    #[command(flatten)]
    file: ConfigFile,
}

impl Place {
    fn folder(&self) -> anyhow::Result<PathBuf> {
        let overrides = Overrides {
            data: self.data.clone(),
            ..Overrides::default()
        };
        let settings = Settings::load(self.file.config.as_deref(), overrides)?;
        Ok(settings.models.lora_folder(&settings.data))
    }
}

impl LoraCommand {
    /// Looks and prints.
    ///
    /// # Errors
    /// A configuration that cannot be used, a file that is none.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(arguments) => arguments.run(),
            Self::Inspect(arguments) => arguments.run(),
        }
    }
}

impl ListArguments {
    fn run(self) -> anyhow::Result<()> {
        let folder = self.place.folder()?;
        let names = lora_names(&folder);
        let lines = names.iter().map(|name| Line::of(name, &folder));
        if self.json {
            lines.for_each(|line| println!("{}", line.json()));
        } else if names.is_empty() {
            println!("There are no LoRAs in {}.", folder.display());
        } else {
            let rows: Vec<[String; 4]> = lines.map(|line| line.row()).collect();
            print!(
                "{}",
                table::columns(["NAME", "RANK", "LAYERS", "WORDS"], &rows)
            );
        }
        Ok(())
    }
}

impl InspectArguments {
    fn run(self) -> anyhow::Result<()> {
        let given = Path::new(&self.lora);
        let path = match given.is_file() {
            true => given.to_owned(),
            false => {
                let folder = self.place.folder()?;
                if !lora_names(&folder).contains(&self.lora) {
                    bail!(
                        "there is no file {}, and no LoRA of this name in {}",
                        self.lora,
                        folder.display()
                    );
                }
                folder.join(format!("{}.safetensors", self.lora))
            }
        };
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let summary = LoraSummary::of_file(&path).context("it cannot be read")?;
        let line = Line {
            name: name.into_owned(),
            found: Ok(summary),
        };
        match self.json {
            true => println!("{}", line.json()),
            false => print!("{}", line.account()),
        }
        Ok(())
    }
}

/// A LoRA of the list.
struct Line {
    name: String,
    found: Result<LoraSummary, String>,
}

impl Line {
    fn of(name: &str, folder: &Path) -> Self {
        let path = folder.join(format!("{name}.safetensors"));
        Self {
            name: name.to_owned(),
            found: LoraSummary::of_file(&path).map_err(|error| error.to_string()),
        }
    }

    fn row(&self) -> [String; 4] {
        let (rank, layers, words) = match &self.found {
            Ok(found) => (
                ranks(found),
                layers(found),
                match &found.problem {
                    Some(problem) => format!("cannot be applied: {problem}"),
                    None => found.words.join(", "),
                },
            ),
            Err(error) => (String::new(), String::new(), error.clone()),
        };
        [self.name.clone(), rank, layers, words]
    }

    fn json(&self) -> Value {
        match &self.found {
            Ok(found) => json!({
                "name": self.name,
                "title": found.title,
                "ranks": found.ranks.keys().collect::<Vec<_>>(),
                "transformer_layers": found.transformer_layers,
                "clip_layers": found.clip_layers,
                "words": found.words,
                "problem": found.problem,
            }),
            Err(error) => json!({ "name": self.name, "problem": error }),
        }
    }

    fn account(&self) -> String {
        let [name, rank, layers, words] = self.row();
        let title = self
            .found
            .as_ref()
            .ok()
            .and_then(|found| found.title.clone());
        let mut account = format!("{name}\n");
        for (what, said) in [
            ("title", title.unwrap_or_default()),
            ("rank", rank),
            ("layers", layers),
            ("words", words),
        ] {
            if !said.is_empty() {
                account += &format!("  {what:<7} {said}\n");
            }
        }
        account
    }
}

/// `16`, or `4 to 16`.
fn ranks(found: &LoraSummary) -> String {
    let ends = found.ranks.keys().next().zip(found.ranks.keys().last());
    match ends {
        None => String::new(),
        Some((least, most)) if least == most => least.to_string(),
        Some((least, most)) => format!("{least} to {most}"),
    }
}

fn layers(found: &LoraSummary) -> String {
    match found.clip_layers {
        0 => found.transformer_layers.to_string(),
        clip => format!("{} + {clip} of CLIP", found.transformer_layers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../flux/tests/golden/lora/schnell")
    }

    #[test]
    fn a_lora_is_shown_with_what_it_says_of_itself() {
        let line = Line::of("kohya", &golden());
        assert_eq!(
            line.row(),
            ["kohya", "3 to 5", "23 + 12 of CLIP", "tintype, portrait"].map(str::to_owned)
        );
        let expected = "kohya\n  title   golden kohya\n  rank    3 to 5\n  layers  23 + 12 of CLIP\n  \
                        words   tintype, portrait\n";
        assert_eq!(line.account(), expected);
        assert_eq!(line.json()["clip_layers"], 12);
    }

    #[test]
    fn what_is_no_lora_is_shown_with_the_reason() {
        let [.., words] = Line::of("run_kohya", &golden()).row();
        assert!(
            words.starts_with("cannot be applied: `latents.0`"),
            "{words}"
        );
        let [.., words] = Line::of("absent", &golden()).row();
        assert!(words.contains("cannot read"), "{words}");
    }
}
