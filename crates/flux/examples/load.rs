//! What loading a transformer of FLUX.1's geometry costs, in time and in memory.
//!
//! ```text
//! cargo run --release -p tintype-flux --example load -- make work/flux-2-4 2 4
//! cargo run --release -p tintype-flux --example load -- work/flux-2-4 [threads [cache]]
//! ```
//!
//! The first line writes a model of two double-stream and four single-stream blocks of random bf16
//! weights; the second loads it and says how long that took and how much memory at most. With the folder
//! of a cache, the first run fills it and the next one takes the packed layers from there.

use std::{
    error::Error,
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
    sync::{Arc, Mutex},
    time::Instant,
};

use rand::{RngCore, SeedableRng, rngs::SmallRng};
use tintype_compute::{CpuDevice, Tensor};
use tintype_flux::{mmdit::Mmdit, weights::Weights};

/// The weights' file, as diffusers calls it.
const FILE: &str = "diffusion_pytorch_model.safetensors";

/// Bytes that are drawn and written together.
const BLOCK_BYTES: usize = 1 << 20;

type Fallible<T> = Result<T, Box<dyn Error>>;

fn main() -> Fallible<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["make", folder, double, single] => {
            make(Path::new(folder), double.parse()?, single.parse()?)
        }
        [folder] => load(Path::new(folder), 0, None),
        [folder, threads] => load(Path::new(folder), threads.parse()?, None),
        [folder, threads, cache] => load(Path::new(folder), threads.parse()?, Some(cache)),
        _ => Err("make FOLDER DOUBLE SINGLE, or FOLDER [THREADS [CACHE]]".into()),
    }
}

fn load(folder: &Path, threads: usize, cache: Option<&str>) -> Fallible<()> {
    let config = fs::read_to_string(folder.join("config.json"))?;
    let file_bytes = fs::metadata(folder.join(FILE))?.len();
    let device = Arc::new(CpuDevice::new(threads));
    let (before, _) = memory_bytes();
    let started = Instant::now();
    let mut weights = Weights::open(folder)?;
    if let Some(cache) = cache {
        weights = weights.with_packed_cache(Path::new(cache), &*device);
    }
    let mmdit = Mmdit::load(&config, weights, device.clone())?;
    let seconds = started.elapsed().as_secs_f64();
    let (resident, most) = memory_bytes();
    let megabytes = |bytes: u64| bytes / 1_000_000;
    println!(
        "{device:?}, {} blocks",
        mmdit.double_blocks().len() + mmdit.single_blocks().len()
    );
    println!(
        "file {} MB, loaded in {seconds:.2} s",
        megabytes(file_bytes)
    );
    println!(
        "memory: {} MB before, {} MB at most, {} MB after",
        megabytes(before),
        megabytes(most),
        megabytes(resident)
    );
    println!(
        "the peak is {} MB above what is kept",
        megabytes(most.saturating_sub(resident))
    );
    Ok(())
}

/// Resident now and at most so far; 0 where the system does not say.
fn memory_bytes() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes =
            line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1024
    };
    (value("VmRSS:"), value("VmHWM:"))
}

/// Writes `config.json` and the weights.
fn make(folder: &Path, double: usize, single: usize) -> Fallible<()> {
    fs::create_dir_all(folder)?;
    let config = serde_json::json!({
        "_class_name": "FluxTransformer2DModel", "guidance_embeds": true,
        "num_layers": double, "num_single_layers": single,
    });
    let config = config.to_string();
    fs::write(folder.join("config.json"), &config)?;
    let mut start = 0;
    let mut header = serde_json::Map::new();
    for (name, shape) in tensors(&config)? {
        let end = start + 2 * shape.iter().product::<usize>();
        let entry =
            serde_json::json!({"dtype": "BF16", "shape": shape, "data_offsets": [start, end]});
        header.insert(name, entry);
        start = end;
    }
    let header = serde_json::to_vec(&header)?;
    let mut file = BufWriter::new(File::create(folder.join(FILE))?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    write_random(&mut file, start)?;
    file.flush()?;
    println!("{} MB in {}", start / 1_000_000, folder.display());
    Ok(())
}

/// What such a model asks for: it is loaded once from zeros that are made up.
fn tensors(config: &str) -> Fallible<Vec<(String, Vec<usize>)>> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let asks = asked.clone();
    let weights = Weights::generated(move |name, shape| {
        let mut asks = asks.lock().expect("one thread asks");
        asks.push((name.to_owned(), shape.to_vec()));
        Tensor::zeros(shape)
    });
    drop(Mmdit::load(config, weights, Arc::new(CpuDevice::new(1)))?);
    let asked = std::mem::take(&mut *asked.lock().expect("one thread asked"));
    Ok(asked)
}

/// Random bf16 of either sign between 2⁻⁷ and 2⁻⁵.
fn write_random(file: &mut impl Write, bytes: usize) -> std::io::Result<()> {
    let mut rng = SmallRng::seed_from_u64(1);
    let mut block = vec![0; BLOCK_BYTES];
    for start in (0..bytes).step_by(BLOCK_BYTES) {
        let block = &mut block[..BLOCK_BYTES.min(bytes - start)];
        rng.fill_bytes(block);
        for value in block.as_chunks_mut::<2>().0 {
            value[1] = value[1] & 0x80 | 0x3c;
        }
        file.write_all(block)?;
    }
    Ok(())
}
