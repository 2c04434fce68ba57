//! T5-XXL and CLIP-L at their true sizes against transformers. `tools/text_encoders` makes the files, with
//! random weights, and runs this:
//!
//! ```text
//! cargo run --release -p tintype-flux --example text_encoders -- work/text-encoders
//! ```
//!
//! The files hold what transformers computes in f32 and in f64, from the same bf16 weights. This program
//! computes in f32 in another order, so it cannot be closer to transformers' f32 than both are to the truth,
//! for which f64 stands. **The bound is therefore not a number that was chosen: this program's distance from
//! f64 may be [`TIMES_TORCH`] times that of transformers' own f32.** Distances are root mean squares, relative
//! to that of the f64 values. The tokens must be the same to the last one.

use std::{error::Error, fs, path::Path, sync::Arc};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tintype_compute::CpuDevice;
use tintype_flux::{
    clip::ClipTextEncoder,
    t5::T5Encoder,
    tokenizer::{Files, Tokenizer},
    weights::Weights,
};

/// One order of summation is better than another one by less than this; a wrong bucket, activation or scale
/// is off by thousands.
const TIMES_TORCH: f64 = 3.0;

type Fallible<T> = Result<T, Box<dyn Error>>;

fn main() -> Fallible<()> {
    let folder = std::env::args().nth(1).ok_or("give the folder")?;
    let folder = Path::new(&folder);
    let bytes = fs::read(folder.join("expected.safetensors"))?;
    let expected = Expected(SafeTensors::deserialize(&bytes)?);
    let device = Arc::new(CpuDevice::new(0));
    println!("{device:?}");

    let clip_ids = expected.ids("clip.ids")?;
    let tokenizer = read_tokenizer(&folder.join("tokenizer"), Tokenizer::clip)?;
    same_tokens(folder, &tokenizer, &clip_ids)?;
    let (config, weights) = component(&folder.join("text_encoder"))?;
    let clip = ClipTextEncoder::load(&config, weights, device.clone())?;
    let ids = clip_ids.concat();
    let hidden = clip.forward(&ids, clip_ids.len());
    expected.compare("clip.hidden", hidden.data())?;
    let pooled = clip.forward_pooled(&ids, clip_ids.len());
    expected.compare("clip.pooled", pooled.data())?;
    drop(clip);

    let t5_ids = expected.ids("t5.ids")?;
    let tokenizer = read_tokenizer(&folder.join("tokenizer_2"), Tokenizer::t5)?;
    same_tokens(folder, &tokenizer, &t5_ids)?;
    let (config, weights) = component(&folder.join("text_encoder_2"))?;
    let t5 = T5Encoder::load(&config, weights, device)?;
    let blocks = t5.blocks().len();
    let hidden = t5.forward(&t5_ids.concat(), t5_ids.len());
    expected.compare("t5.hidden", hidden.data())?;
    println!("T5 of {blocks} blocks and CLIP give what transformers gives");
    Ok(())
}

fn component(folder: &Path) -> Fallible<(String, Weights)> {
    let config = fs::read_to_string(folder.join("config.json"))?;
    Ok((config, Weights::open(folder)?))
}

fn read_tokenizer(
    folder: &Path,
    open: impl Fn(Files<'_>) -> Result<Tokenizer, tintype_flux::tokenizer::Error>,
) -> Fallible<Tokenizer> {
    let read = |name: &str| fs::read(folder.join(name)).ok();
    Ok(open(Files {
        tokenizer_json: read("tokenizer.json").as_deref(),
        vocab_json: read("vocab.json").as_deref(),
        merges_txt: read("merges.txt").as_deref(),
        tokenizer_config_json: read("tokenizer_config.json").as_deref(),
    })?)
}

/// The first sequences are the prompts', the last one is drawn.
fn same_tokens(folder: &Path, tokenizer: &Tokenizer, sequences: &[Vec<u32>]) -> Fallible<()> {
    let prompts: Vec<String> = serde_json::from_slice(&fs::read(folder.join("prompts.json"))?)?;
    for (prompt, expected) in prompts.iter().zip(sequences) {
        let found = tokenizer.encode(prompt, expected.len())?;
        if found != *expected {
            return Err(format!("{prompt:?} has the tokens {found:?}, not {expected:?}").into());
        }
    }
    Ok(())
}

/// What transformers gives.
struct Expected<'a>(SafeTensors<'a>);

impl Expected<'_> {
    fn ids(&self, name: &str) -> Fallible<Vec<Vec<u32>>> {
        let tensor = self.0.tensor(name)?;
        let ids: Vec<u32> = tensor
            .data()
            .as_chunks::<8>()
            .0
            .iter()
            .map(|id| i64::from_le_bytes(*id) as u32)
            .collect();
        Ok(ids.chunks(tensor.shape()[1]).map(<[u32]>::to_vec).collect())
    }

    /// Prints both distances and fails if ours is too large.
    fn compare(&self, name: &str, ours: &[f32]) -> Fallible<()> {
        let truth = values(&self.0.tensor(&format!("{name}.f64"))?);
        let torch = values(&self.0.tensor(&format!("{name}.f32"))?);
        let ours: Vec<f64> = ours.iter().map(|value| f64::from(*value)).collect();
        if ours.len() != truth.len() {
            return Err(format!("{name}: {} values, not {}", ours.len(), truth.len()).into());
        }
        let (ours, torch) = (distance(&ours, &truth), distance(&torch, &truth));
        println!("{name}: {ours:.2e} from f64; transformers' f32 is {torch:.2e} from it");
        // Not `>`: a NaN is too large as well.
        match ours <= TIMES_TORCH * torch {
            true => Ok(()),
            false => {
                Err(format!("{name} is more than {TIMES_TORCH} times as far as f32 need be").into())
            }
        }
    }
}

fn values(tensor: &TensorView<'_>) -> Vec<f64> {
    let bytes = tensor.data();
    match tensor.dtype() {
        Dtype::F64 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|v| f64::from_le_bytes(*v))
            .collect(),
        _ => {
            let values = bytes.as_chunks().0.iter();
            values.map(|v| f64::from(f32::from_le_bytes(*v))).collect()
        }
    }
}

/// Root mean square of the differences, relative to that of the truth.
fn distance(found: &[f64], truth: &[f64]) -> f64 {
    let squares =
        |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let difference = squares(&mut found.iter().zip(truth).map(|(found, truth)| found - truth));
    (difference / squares(&mut truth.iter().copied())).sqrt()
}
