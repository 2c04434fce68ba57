//! The tensors of one component of a file under the names that models ask for, before anything is read.

use std::collections::{BTreeMap, BTreeSet};

use super::{Component, Naming, Part, names};
use crate::weights::{
    self,
    rules::{Placed, Rules},
};

/// The shapes of a file's tensors by the file's own names.
pub type Stored = BTreeMap<String, Vec<usize>>;

/// Beside an eight-bit weight: what its values are multiplied by.
const SCALES: [&str; 2] = ["weight_scale", "scale_weight"];

/// What writers of eight-bit files leave beside the weights and arithmetic in f32 has no use for: the
/// scales of inputs, and marks that say how a layer is stored.
const MARKS: [&str; 4] = ["input_scale", "scale_input", "comfy_quant", "scaled_fp8"];

/// One component as models ask for it.
#[derive(Debug, Default)]
pub struct Listing {
    /// By wanted name.
    tensors: BTreeMap<String, Tensor>,
    /// Stored tensors that nobody asks for and that may be there.
    unused: BTreeSet<String>,
    rules: Option<Rules>,
    prefix: &'static str,
}

#[derive(Debug)]
struct Tensor {
    shape: Vec<usize>,
    parts: Vec<weights::Part>,
}

impl Listing {
    /// Of `part` of a file that holds the tensors `stored`.
    pub fn of(part: &Part, stored: &Stored) -> Self {
        let rules = rules(part, stored);
        let mut listing = Self {
            rules: Some(rules),
            prefix: part.prefix,
            ..Self::default()
        };
        for (name, shape) in stored {
            let Some(own) = name.strip_prefix(part.prefix) else {
                // Of another component.
                listing.unused.insert(name.clone());
                continue;
            };
            let leaf = own.rsplit('.').next().unwrap_or(own);
            if MARKS.contains(&leaf) || is_alias(own, part, stored) {
                listing.unused.insert(name.clone());
                continue;
            }
            if SCALES.contains(&leaf) && stored.contains_key(&sibling(name, "weight")) {
                // Read with its weight.
                continue;
            }
            match rules.place(own, shape) {
                Some(placed) if placed.is_empty() => {
                    listing.unused.insert(name.clone());
                }
                Some(placed) => listing.add(name, placed, stored),
                None if part.naming == Naming::Diffusers => {
                    let whole = Placed {
                        name: own.to_owned(),
                        shape: shape.clone(),
                        rows: Vec::new(),
                    };
                    listing.add(name, vec![whole], stored);
                }
                // Whoever loads it finds it left over, under the file's own name.
                None => {}
            }
        }
        listing
    }

    fn add(&mut self, stored_name: &str, placed: Vec<Placed>, stored: &Stored) {
        let scale = SCALES
            .iter()
            .map(|leaf| sibling(stored_name, leaf))
            .find(|scale| stored_name.ends_with(".weight") && stored.contains_key(scale));
        let scaled = |part: weights::Part| match &scale {
            Some(scale) => part.scaled_by(scale),
            None => part,
        };
        for tensor in placed {
            let whole = || weights::Part::whole(stored_name);
            let parts = match &tensor.rows[..] {
                [] => vec![scaled(whole())],
                rows => rows
                    .iter()
                    .map(|rows| scaled(weights::Part::of_rows(stored_name, rows.clone())))
                    .collect(),
            };
            let shape = tensor.shape;
            self.tensors.insert(tensor.name, Tensor { shape, parts });
        }
    }

    /// The shape of a tensor by its wanted name.
    pub fn shape(&self, wanted: &str) -> Option<&[usize]> {
        self.tensors.get(wanted).map(|tensor| &tensor.shape[..])
    }

    /// All wanted names with their shapes.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors
            .iter()
            .map(|(name, tensor)| (&name[..], &tensor.shape[..]))
    }

    /// What the file calls, or should call, the tensor that a model asks for.
    pub fn stored_name(&self, wanted: &str) -> String {
        let own = self.rules.and_then(|rules| rules.stored_name(wanted));
        format!("{}{}", self.prefix, own.as_deref().unwrap_or(wanted))
    }

    /// Stored tensors that may be there and that nobody asks for.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        self.unused.iter().map(String::as_str)
    }

    /// Where the tensor that a model asks for lies. One that is not there is said to lie where it should.
    pub fn parts(&self, wanted: &str) -> Vec<weights::Part> {
        match self.tensors.get(wanted) {
            Some(tensor) => tensor.parts.clone(),
            None => vec![weights::Part::whole(self.stored_name(wanted))],
        }
    }
}

/// Whether a tensor is T5's embedding under its second name, beside the first.
fn is_alias(own: &str, part: &Part, stored: &Stored) -> bool {
    part.component == Component::T5
        && own.starts_with("encoder.embed_tokens.")
        && stored.contains_key(&format!("{}shared.weight", part.prefix))
}

fn sibling(name: &str, leaf: &str) -> String {
    match name.rsplit_once('.') {
        Some((module, _)) => format!("{module}.{leaf}"),
        None => leaf.to_owned(),
    }
}

fn rules(part: &Part, stored: &Stored) -> Rules {
    let table = match (part.component, part.naming) {
        (Component::Transformer, Naming::Original) => names::TRANSFORMER,
        (Component::Vae, Naming::Original) => names::VAE,
        (Component::T5, Naming::LlamaCpp) => names::T5_LLAMA_CPP,
        (Component::T5, _) => names::T5,
        (Component::Clip, _) => names::CLIP,
        _ => &[],
    };
    Rules {
        table,
        levels: levels(part.prefix, stored),
    }
}

/// How many levels the decoder of an autoencoder in original names has.
fn levels(prefix: &str, stored: &Stored) -> usize {
    let prefix = format!("{prefix}decoder.up.");
    let numbers = stored.keys().filter_map(|name| {
        let rest = name.strip_prefix(&prefix)?;
        rest.split_once('.')?.0.parse::<usize>().ok()
    });
    numbers.max().map_or(0, |last| last.saturating_add(1))
}
