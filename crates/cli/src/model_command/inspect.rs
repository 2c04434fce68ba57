//! `tintype model inspect`.

use clap::Args;
use serde_json::json;
use tintype_flux::sources::{InspectedPart, Inspection, MemoryUse};
use tintype_words::Bytes;

use super::{Place, amount};
use crate::{library, table};

/// The command line of `model inspect`.
#[derive(Debug, Args)]
pub struct InspectArguments {
    /// A file, a folder, an installed model's name, or nano.
    path: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl InspectArguments {
    /// Prints what it is.
    ///
    /// # Errors
    /// When it cannot be read, or is no part of a model.
    pub fn inspect(&self) -> anyhow::Result<()> {
        let data = self.place.settings()?.data;
        let found = library::source(&self.path, &data)?.inspect()?;
        match self.json {
            true => println!("{}", serde_json::to_string_pretty(&as_json(&found))?),
            false => print!("{}", text(&found)),
        }
        Ok(())
    }
}

fn text(found: &Inspection) -> String {
    let parts: Vec<[String; 4]> = found.parts.iter().map(part_cells).collect();
    let mut text = format!("It is {}.\n\n", found.what);
    text += &table::columns(["PART", "PARAMETERS", "STORED", "WHERE"], &parts);
    if !found.memory.is_empty() {
        let memory: Vec<[String; 5]> = found.memory.iter().map(memory_cells).collect();
        text += "\nIn memory, with a picture of the model's own size:\n\n";
        let titles = [
            "DEVICE",
            "WEIGHTS",
            "WEIGHTS ALONE",
            "AT MOST",
            "ONE PART AT A TIME",
        ];
        text += &table::columns(titles, &memory);
    }
    if let Some(trouble) = &found.trouble {
        text += &format!("\nIt cannot be loaded: {trouble}.\n");
    }
    if !found.lacks.is_empty() {
        text += "\nIt lacks:\n";
        for lack in &found.lacks {
            text += &format!("- {lack}\n");
        }
        text += "\nPut that into the folder, say in its tintype.json where it lies (docs/models.md), or fetch a \
                 whole model: `tintype model list` shows which, `tintype model pull NAME` fetches one.\n";
    }
    text
}

fn part_cells(part: &InspectedPart) -> [String; 4] {
    let formats = part
        .formats
        .iter()
        .map(|(name, bytes)| format!("{name} {}", amount(*bytes)));
    [
        part.component.description().to_owned(),
        format!("{:.1} M", part.parameters as f64 / 1e6),
        formats.collect::<Vec<_>>().join(", "),
        part.path.display().to_string(),
    ]
}

fn memory_cells(used: &MemoryUse) -> [String; 5] {
    [
        used.device.to_owned(),
        used.weights.to_owned(),
        Bytes(used.weights_bytes).to_string(),
        Bytes(used.peak_bytes).to_string(),
        Bytes(used.least_bytes).to_string(),
    ]
}

fn as_json(found: &Inspection) -> serde_json::Value {
    let parts = found.parts.iter().map(|part| {
        let formats = part
            .formats
            .iter()
            .map(|(name, bytes)| json!({"type": name, "bytes": bytes}));
        json!({
            "part": part.component.folder(),
            "path": part.path.to_string_lossy(),
            "parameters": part.parameters,
            "bytes": part.size_bytes,
            "formats": formats.collect::<Vec<_>>(),
        })
    });
    let memory = found.memory.iter().map(|used| {
        json!({
            "device": used.device,
            "weights": used.weights,
            "weights_bytes": used.weights_bytes,
            "peak_bytes": used.peak_bytes,
            "least_bytes": used.least_bytes,
        })
    });
    json!({
        "what": found.what,
        "parts": parts.collect::<Vec<_>>(),
        "lacks": found.lacks,
        "memory": memory.collect::<Vec<_>>(),
        "trouble": found.trouble,
    })
}
