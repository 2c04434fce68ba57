//! FLUX.1 at its full size, on weights that are made up: what it takes in memory.
//!
//! ```text
//! cargo run --release -p tintype-flux --example full_size -- make work/flux Q4_0 Q8_0
//! cargo run --release -p tintype-flux --example full_size -- draw work/flux 12
//! cargo run --release -p tintype-flux --example full_size -- draw work/flux 24 int8
//! cargo run --release -p tintype-flux --example full_size -- make work/flux F8_E4M3 F8_E4M3 holes
//! ```
//!
//! The first line writes a model of 19 double-stream and 38 single-stream blocks, T5-XXL, CLIP-L and the
//! VAE, its transformer and T5 in the given encodings (`BF16`, `F8_E4M3`, `Q8_0`, `Q4_0`, `Q4_K`). The next
//! two hold a folder's model, of whatever kind, within so many gigabytes, as the program would, draw
//! 256 × 256 pixels in one step, and say what was planned and what the process took at most. Peaks are
//! Linux's `VmHWM`. The last one leaves transformer and T5 without values: the memory is the same, as
//! none of these encodings is kept in fewer bytes for its zeros, and no disk is filled or waited for.

use std::{
    error::Error,
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
    sync::{Arc, Mutex},
    time::Instant,
};

use rand::{RngCore, SeedableRng, rngs::SmallRng};
use serde_json::{Value, json};
use tintype_compute::{CpuDevice, CpuOptions, Device, Encoding, Tensor};
use tintype_flux::{
    clip::ClipTextEncoder,
    mmdit::Mmdit,
    pipeline::{LoadOptions, ModelFiles, Pipeline, Request, Work},
    size::Size,
    t5::T5Encoder,
    vae::Vae,
    weights::{self, Weights},
};

/// Bytes that are drawn and written together: whole blocks of every encoding.
const BLOCK_BYTES: usize = 144 * 34 * 1024;

/// Tokens of the prompt: fewer than the model's own 512, to be done sooner. They are a small part of the work.
const TEXT_TOKENS: usize = 64;

/// What the planner keeps free, as `serve` does.
const RESERVE_BYTES: u64 = 1 << 30;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// A tensor to be written.
struct Entry {
    name: String,
    shape: Vec<usize>,
    encoding: Encoding,
}

impl Entry {
    fn bytes(&self) -> usize {
        let values = self.shape.iter().product::<usize>();
        values / self.encoding.block_values() * self.encoding.block_bytes()
    }
}

fn main() -> Fallible<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["make", folder, transformer, t5] => make(
            Path::new(folder),
            encoding(transformer)?,
            encoding(t5)?,
            Fill::Random,
        ),
        ["make", folder, transformer, t5, "holes"] => make(
            Path::new(folder),
            encoding(transformer)?,
            encoding(t5)?,
            Fill::Holes,
        ),
        ["draw", folder, gigabytes] => draw(Path::new(folder), gigabytes.parse()?, "exact"),
        ["draw", folder, gigabytes, format] => draw(Path::new(folder), gigabytes.parse()?, format),
        _ => Err(
            "make FOLDER ENCODING ENCODING_OF_T5 [holes], or draw FOLDER GIGABYTES [WEIGHTS]"
                .into(),
        ),
    }
}

fn encoding(name: &str) -> Fallible<Encoding> {
    let known = Encoding::ALL.into_iter().find(|known| known.name() == name);
    Ok(known.ok_or_else(|| format!("there is no encoding {name}"))?)
}

fn draw(folder: &Path, gigabytes: f64, format: &str) -> Fallible<()> {
    let device = Arc::new(CpuDevice::with_options(CpuOptions {
        weights: format.parse()?,
        ..CpuOptions::default()
    })?);
    let limit = (gigabytes * f64::from(1 << 30)) as u64 - RESERVE_BYTES;
    let files = ModelFiles::open(folder)?;
    let pipeline = Pipeline::prepare(&LoadOptions::default(), &files, device.clone())?;
    let footprint = pipeline.footprint()?;
    let work = Work {
        size: Size::new(256, 256),
        steps: 1,
        text_tokens: TEXT_TOKENS,
        ..pipeline.usual_work()
    };
    println!("{device:?}\n{footprint}");
    let usual = pipeline.usual_work();
    for work in [work, usual] {
        let work_gib = gib(footprint.work_bytes(&work));
        println!("work of {}: {work_gib:.2} GiB", work.size);
    }
    let residency = footprint
        .residency_within(limit, &work)
        .ok_or("it does not fit, however it is held")?;
    let foretold = footprint.peak_bytes(residency, &work);
    println!(
        "within {gigabytes} GiB: {residency}; {:.2} GiB foretold",
        gib(foretold)
    );

    let pipeline = pipeline.held(residency);
    let started = Instant::now();
    pipeline.load()?;
    println!(
        "loaded ahead in {:.1} s, {}",
        started.elapsed().as_secs_f64(),
        peak()
    );
    let request = Request {
        steps: Some(1),
        max_sequence_length: Some(TEXT_TOKENS),
        ..Request::new("a red circle above a blue square", 42, work.size)
    };
    for round in ["first", "again, the prompt known"] {
        let started = Instant::now();
        let mut run = pipeline.start(&request)?;
        println!(
            "{round}: ready to denoise after {:.1} s, {}",
            started.elapsed().as_secs_f64(),
            peak()
        );
        while !run.is_done() {
            run.step()?;
        }
        let finished = run.finish()?;
        let pixels: u64 = finished.pictures[0]
            .as_raw()
            .iter()
            .map(|&v| u64::from(v))
            .sum();
        println!(
            "{round}: drawn after {:.1} s ({:?}), pixels sum to {pixels}, {} component loads, {}",
            started.elapsed().as_secs_f64(),
            finished.seconds,
            pipeline.loads(),
            peak(),
        );
    }
    let workspace = device.workspace().used_bytes_peak as u64;
    println!(
        "work measured: {:.2} GiB of {:.2} foretold",
        gib(workspace),
        gib(footprint.work_bytes(&work))
    );
    Ok(())
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

/// What this process takes now and took at most.
fn peak() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes =
            line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        gib(kilobytes.unwrap_or(0) * 1024)
    };
    format!(
        "memory {:.2} GiB now, {:.2} GiB at most",
        value("VmRSS:"),
        value("VmHWM:")
    )
}

/// What is written for the values.
#[derive(Clone, Copy)]
enum Fill {
    Random,
    /// Nothing: the file system gives zeros, and the files take no room.
    Holes,
}

fn make(folder: &Path, transformer: Encoding, t5: Encoding, fill: Fill) -> Fallible<()> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/dev/model");
    for part in ["tokenizer", "tokenizer_2", "scheduler"] {
        fs::create_dir_all(folder.join(part))?;
        for file in fs::read_dir(golden.join(part))? {
            let file = file?;
            fs::copy(file.path(), folder.join(part).join(file.file_name()))?;
        }
    }
    fs::copy(
        golden.join("model_index.json"),
        folder.join("model_index.json"),
    )?;
    let device: Arc<dyn Device> = Arc::new(CpuDevice::new(1));
    let vae = json!({
        "_class_name": "AutoencoderKL", "latent_channels": 16,
        "down_block_types": vec!["DownEncoderBlock2D"; 4], "up_block_types": vec!["UpDecoderBlock2D"; 4],
        "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "scaling_factor": 0.3611,
        "shift_factor": 0.1159, "use_quant_conv": false, "use_post_quant_conv": false,
    });
    let clip = json!({
        "model_type": "clip_text_model", "hidden_size": 768, "intermediate_size": 3072,
        "num_hidden_layers": 12, "num_attention_heads": 12, "eos_token_id": 2,
    });
    let t5_config = json!({
        "model_type": "t5", "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64,
        "feed_forward_proj": "gated-gelu",
    });
    let mmdit = json!({ "_class_name": "FluxTransformer2DModel", "guidance_embeds": true });
    let d = || device.clone();
    let small = (Encoding::Bf16, Fill::Random);
    component(&folder.join("vae"), &vae, small, |c, w| {
        Vae::load(c, w, d()).map(drop)
    })?;
    component(&folder.join("text_encoder"), &clip, small, |c, w| {
        ClipTextEncoder::load(c, w, d()).map(drop)
    })?;
    let place = folder.join("text_encoder_2");
    component(&place, &t5_config, (t5, fill), |c, w| {
        T5Encoder::load(c, w, d()).map(drop)
    })?;
    let place = folder.join("transformer");
    component(&place, &mmdit, (transformer, fill), |c, w| {
        Mmdit::load(c, w, d()).map(drop)
    })
}

/// Writes a component: the configuration, and values for every tensor that the model asks for.
fn component(
    folder: &Path,
    config: &Value,
    (encoding, fill): (Encoding, Fill),
    load: impl FnOnce(&str, Weights) -> Result<(), weights::Error>,
) -> Fallible<()> {
    fs::create_dir_all(folder)?;
    let config = config.to_string();
    fs::write(folder.join("config.json"), &config)?;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let asks = asked.clone();
    let meter = weights::Meter::new();
    let all = Weights::generated(move |name, shape| {
        let mut asks = asks.lock().expect("one thread asks");
        asks.push((name.to_owned(), shape.to_vec()));
        Tensor::zeros(shape)
    });
    load(&config, all.metered(&meter))?;
    let asked = std::mem::take(&mut *asked.lock().expect("one thread asked"));
    let entries: Vec<Entry> = asked
        .into_iter()
        .map(|(name, shape)| entry(name, shape, encoding))
        .collect();
    let blocks = encoding.block_values() > 1;
    let header = if blocks {
        gguf_header(&entries)
    } else {
        safetensors_header(&entries)?
    };
    let ending = if blocks { "gguf" } else { "safetensors" };
    let path = folder.join(format!("model.{ending}"));
    let mut file = BufWriter::new(File::create(&path)?);
    file.write_all(&header)?;
    let mut values = Values::new();
    let mut end = header.len();
    for entry in &entries {
        let bytes = match blocks {
            true => entry.bytes().next_multiple_of(32),
            false => entry.bytes(),
        };
        end += bytes;
        if let Fill::Random = fill {
            values.write(&mut file, entry)?;
            file.write_all(&vec![0; bytes - entry.bytes()])?;
        }
    }
    file.into_inner()?.set_len(end as u64)?;
    println!(
        "{} MB in {}",
        fs::metadata(&path)?.len() / 1_000_000,
        path.display()
    );
    Ok(())
}

/// Matrices in the encoding, the rest in bf16, as such files have it.
fn entry(name: String, shape: Vec<usize>, encoding: Encoding) -> Entry {
    let fits =
        shape.len() == 2 && shape[1].is_multiple_of(encoding.block_values()) && shape[0] > 64;
    Entry {
        name,
        shape,
        encoding: if fits { encoding } else { Encoding::Bf16 },
    }
}

fn safetensors_header(entries: &[Entry]) -> Fallible<Vec<u8>> {
    let mut start = 0;
    let mut header = serde_json::Map::new();
    for entry in entries {
        let end = start + entry.bytes();
        let said = json!({
            "dtype": entry.encoding.name(), "shape": entry.shape, "data_offsets": [start, end],
        });
        header.insert(entry.name.clone(), said);
        start = end;
    }
    let header = serde_json::to_vec(&header)?;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    Ok(bytes)
}

fn gguf_header(entries: &[Entry]) -> Vec<u8> {
    let mut file = b"GGUF".to_vec();
    file.extend(3_u32.to_le_bytes());
    file.extend((entries.len() as u64).to_le_bytes());
    file.extend(0_u64.to_le_bytes());
    let mut offset = 0_u64;
    for entry in entries {
        file.extend((entry.name.len() as u64).to_le_bytes());
        file.extend(entry.name.as_bytes());
        file.extend((entry.shape.len() as u32).to_le_bytes());
        for &size in entry.shape.iter().rev() {
            file.extend((size as u64).to_le_bytes());
        }
        let number: u32 = match entry.encoding {
            Encoding::Q4_0 => 2,
            Encoding::Q8_0 => 8,
            Encoding::Q4K => 12,
            Encoding::Bf16 => 30,
            other => panic!("{other} is not made here"),
        };
        file.extend(number.to_le_bytes());
        file.extend(offset.to_le_bytes());
        offset = (offset + entry.bytes() as u64).next_multiple_of(32);
    }
    file.resize(file.len().next_multiple_of(32), 0);
    file
}

/// Random bytes that are numbers of a model's size: about 0.02.
struct Values {
    rng: SmallRng,
    block: Vec<u8>,
}

impl Values {
    fn new() -> Self {
        Self {
            rng: SmallRng::seed_from_u64(1),
            block: vec![0; BLOCK_BYTES],
        }
    }

    fn write(&mut self, file: &mut impl Write, entry: &Entry) -> std::io::Result<()> {
        let bytes = entry.bytes();
        for start in (0..bytes).step_by(BLOCK_BYTES) {
            let block = &mut self.block[..BLOCK_BYTES.min(bytes - start)];
            self.rng.fill_bytes(block);
            tame(block, entry.encoding);
            file.write_all(block)?;
        }
        Ok(())
    }
}

/// Sets exponents and scales.
fn tame(block: &mut [u8], encoding: Encoding) {
    // f16: 2⁻⁸, 2⁻¹⁰, 2⁻¹² and 2⁻¹³.
    let [q4, minimum, q8, q4k] = [7_u16, 5, 3, 2].map(|exponent| (exponent << 10).to_le_bytes());
    match encoding {
        Encoding::Bf16 => {
            for value in block.as_chunks_mut::<2>().0 {
                value[1] = value[1] & 0x80 | 0x3c;
            }
        }
        Encoding::F8E4m3 => block
            .iter_mut()
            .for_each(|value| *value = *value & 0x87 | 0x08),
        Encoding::Q4_0 => block
            .chunks_exact_mut(18)
            .for_each(|block| block[..2].copy_from_slice(&q4)),
        Encoding::Q8_0 => block
            .chunks_exact_mut(34)
            .for_each(|block| block[..2].copy_from_slice(&q8)),
        Encoding::Q4K => {
            for block in block.chunks_exact_mut(144) {
                block[..2].copy_from_slice(&q4k);
                block[2..4].copy_from_slice(&minimum);
            }
        }
        other => panic!("{other} is not made here"),
    }
}
