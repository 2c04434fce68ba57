//! What a file or folder is, for `tintype model inspect`: its parts, what it lacks, and the memory that it
//! would take. Nothing but headers is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tintype_compute::{CpuDevice, CpuOptions, Device, ReferenceDevice, WeightFormat};

use tintype_words::sentence;

use super::{Component, FoundFile, Source, Survey, describe, listing::Listing, recognise::Content};
use crate::pipeline::{Error, Kind, LoadOptions, ModelFiles, Pipeline, Residency};
use crate::weights::{self, Weights};

/// What was found.
#[derive(Debug)]
pub struct Inspection {
    /// What it is, in words.
    pub what: String,
    /// Its parts.
    pub parts: Vec<InspectedPart>,
    /// What a model would need besides; none if it is one.
    pub lacks: Vec<String>,
    /// What the model takes in memory, for each device and way of keeping weights. None if it lacks
    /// something.
    pub memory: Vec<MemoryUse>,
    /// Why it cannot be loaded although all parts are there.
    pub trouble: Option<String>,
}

/// One component.
#[derive(Debug)]
pub struct InspectedPart {
    /// Which one.
    pub component: Component,
    /// Its file or folder.
    pub path: PathBuf,
    /// How many numbers it consists of.
    pub parameters: u64,
    /// Their bytes in the file.
    pub size_bytes: u64,
    /// The same by the type that they are stored in, the largest first.
    pub formats: Vec<(String, u64)>,
}

/// What a model takes in memory.
#[derive(Debug)]
pub struct MemoryUse {
    /// The device.
    pub device: &'static str,
    /// How it keeps weights; `compute.weights` in the configuration.
    pub weights: &'static str,
    /// All weights together.
    pub weights_bytes: u64,
    /// A picture of the model's own size and steps, with all weights in memory.
    pub peak_bytes: u64,
    /// The same with one component in memory at a time.
    pub least_bytes: u64,
}

impl Inspection {
    /// Looks at a file or folder.
    ///
    /// # Errors
    /// It cannot be read, or is no part of a model.
    pub fn of(path: &Path) -> Result<Self, Error> {
        match single_part(path)? {
            Some(inspection) => Ok(inspection),
            None => Self::of_model(path),
        }
    }

    /// The same of a model inside the program.
    ///
    /// # Errors
    /// It is damaged.
    pub fn of_embedded(files: &ModelFiles) -> Result<Self, Error> {
        let parts = Component::ALL.map(|component| {
            let weights = files.weights(component.folder())?;
            let path = PathBuf::from(format!("inside the program, {}", component.folder()));
            Ok(counted(component, path, &weights, &[]))
        });
        let (kind, memory) = memory(files)?;
        Ok(Self {
            what: format!(
                "the model {} inside the program, which {}",
                files.name(),
                does(kind)
            ),
            parts: parts.into_iter().collect::<Result<_, Error>>()?,
            lacks: Vec::new(),
            memory,
            trouble: None,
        })
    }

    fn of_model(path: &Path) -> Result<Self, Error> {
        let survey = Survey::of(path)?;
        if survey.is_empty() {
            return Err(Error::NotAModel {
                place: path.display().to_string(),
            });
        }
        let mut parts = Vec::new();
        for (component, source) in &survey.sources {
            parts.push(part(*component, source).map_err(|error| unusable(source.path(), &error))?);
        }
        let lacks = survey.lacks();
        let variant = survey.variant();
        let mut inspection = Self {
            what: variant.map_or_else(|| "a model".to_owned(), |variant| variant.to_string()),
            parts,
            lacks,
            memory: Vec::new(),
            trouble: None,
        };
        if inspection.lacks.is_empty() {
            match ModelFiles::open(path).and_then(|files| memory(&files)) {
                Ok((kind, memory)) => {
                    inspection.memory = memory;
                    if variant.is_none() {
                        inspection.what = format!("a diffusers folder that {}", does(kind));
                    }
                }
                Err(error) => inspection.trouble = Some(sentence(&error)),
            }
        }
        Ok(inspection)
    }
}

fn does(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "draws from text",
        Kind::Kontext => "draws from text and edits pictures",
    }
}

/// A file that holds no transformer.
fn single_part(path: &Path) -> Result<Option<Inspection>, Error> {
    if !path.is_file() {
        return Ok(None);
    }
    let file = FoundFile::open(path).map_err(|error| unusable(path, &error))?;
    if file.part(Component::Transformer).is_some() {
        return Ok(None);
    }
    let Content::Parts(found) = &file.content else {
        return Err(Error::Unusable {
            path: path.to_owned(),
            reason: format!("it is {}", describe(&file.content)),
        });
    };
    let sources = found.iter().map(|part| {
        let source = Source::File {
            path: path.to_owned(),
            part: part.clone(),
        };
        self::part(part.component, &source).map_err(|error| unusable(path, &error))
    });
    Ok(Some(Inspection {
        what: describe(&file.content),
        parts: sources.collect::<Result<_, _>>()?,
        lacks: vec!["a transformer and the rest of a model".to_owned()],
        memory: Vec::new(),
        trouble: None,
    }))
}

fn unusable(path: &Path, error: &weights::Error) -> Error {
    Error::Unusable {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

fn part(component: Component, source: &Source) -> Result<InspectedPart, weights::Error> {
    let weights = Weights::open(source.path())?;
    let stored = weights
        .stored()
        .map(|(name, tensor)| (name.to_owned(), tensor.shape.clone()))
        .collect();
    let listing = match source {
        Source::Folder(_) => None,
        Source::File { part, .. } => Some(Listing::of(part, &stored)),
    };
    let unused: Vec<&str> = listing.iter().flat_map(Listing::unused).collect();
    let path = source.path().to_owned();
    Ok(counted(component, path, &weights, &unused))
}

fn counted(
    component: Component,
    path: PathBuf,
    weights: &Weights,
    unused: &[&str],
) -> InspectedPart {
    let (mut parameters, mut size_bytes) = (0, 0);
    let mut formats: BTreeMap<String, u64> = BTreeMap::new();
    for (name, tensor) in weights.stored() {
        if unused.contains(&name) {
            continue;
        }
        let bytes = tensor.bytes.len() as u64;
        parameters += tensor.shape.iter().product::<usize>() as u64;
        size_bytes += bytes;
        *formats.entry(tensor.kind.name().to_owned()).or_default() += bytes;
    }
    let mut formats: Vec<_> = formats.into_iter().collect();
    formats.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    InspectedPart {
        component,
        path,
        parameters,
        size_bytes,
        formats,
    }
}

fn memory(files: &ModelFiles) -> Result<(Kind, Vec<MemoryUse>), Error> {
    let mut kind = Kind::Text;
    let mut uses = Vec::new();
    for (name, weights, device) in devices() {
        let pipeline = Pipeline::prepare(&LoadOptions::default(), files, device)?;
        let footprint = pipeline.footprint()?;
        let work = pipeline.usual_work();
        kind = pipeline.settings().kind;
        uses.push(MemoryUse {
            device: name,
            weights,
            weights_bytes: footprint.weights_bytes(Residency::Resident),
            peak_bytes: footprint.peak_bytes(Residency::Resident, &work),
            least_bytes: footprint.peak_bytes(Residency::OneByOne, &work),
        });
    }
    Ok((kind, uses))
}

type Named = (&'static str, &'static str, Arc<dyn Device>);

fn devices() -> Vec<Named> {
    let cpu = WeightFormat::ALL.into_iter().filter_map(|weights| {
        let options = CpuOptions {
            weights,
            ..CpuOptions::default()
        };
        let device = CpuDevice::with_options(options).ok()?;
        Some(("cpu", weights.name(), Arc::new(device) as Arc<dyn Device>))
    });
    let reference: Named = ("reference", "exact", Arc::new(ReferenceDevice));
    cpu.chain([reference]).collect()
}
