//! How fast a linear layer is at given sizes, in every way to keep its weights.
//!
//! `cargo run --release -p tintype-compute --example linear -- ROWSxDEPTHxCOLUMNS … [isa=NAME] [threads=N] [stored=all]`
//!
//! Prints the median processor time of a few runs (with several threads, the median time), and how much
//! memory the packed weight takes. `stored=all` goes through the encodings of files instead, or `stored=Q4_K`
//! through one, which are kept as they are; each beside bf16, measured in turn.

use std::{fs, time::Instant};

use tintype_compute::{
    CpuDevice, CpuOptions, Device, Encoding, Epilogue, Linear, StoredMatrix, StoredValues, Tensor,
    WeightFormat,
};

fn main() {
    let mut options = CpuOptions {
        threads: 1,
        ..CpuOptions::default()
    };
    let mut sizes = Vec::new();
    let mut stored = None;
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("isa", name)) => options.isa = Some(name.parse().expect("an instruction set")),
            Some(("threads", count)) => options.threads = count.parse().expect("a number"),
            Some(("stored", name)) => stored = Some(name.to_owned()),
            Some((name, _)) => {
                panic!("there is no option {name}; there are isa, threads and stored")
            }
            None => sizes.push(size(&argument)),
        }
    }
    if let Some(name) = stored {
        let all = Encoding::ALL.into_iter();
        for size in sizes {
            let chosen = |encoding: &Encoding| name == "all" || encoding.name() == name;
            all.clone()
                .filter(chosen)
                .for_each(|encoding| compare(options, size, encoding));
        }
        return;
    }
    for [rows, depth, columns] in sizes {
        let x = filled(&[1, rows, depth], 0);
        for weights in WeightFormat::ALL {
            let device = CpuDevice::with_options(CpuOptions { weights, ..options });
            let device = device.unwrap_or_else(|error| panic!("{error}"));
            // Values that bf16 does not hold, so that exact ones are kept as f32.
            let layer = device.pack_linear(&filled(&[columns, depth], 1), None);
            let seconds = median(options.threads == 1, || {
                device.linear(&layer, &x, Epilogue::None);
            });
            let (ms, rate) = (
                seconds * 1e3,
                2.0 * (rows * depth * columns) as f64 / seconds / 1e9,
            );
            let isa = device.isa();
            println!(
                "{rows} x {depth} -> {columns} {isa} {weights:6} {ms:9.3} ms {rate:7.1} GFLOP/s"
            );
        }
    }
}

/// One encoding beside bf16.
fn compare(options: CpuOptions, [rows, depth, columns]: [usize; 3], encoding: Encoding) {
    let device = CpuDevice::with_options(options).unwrap_or_else(|error| panic!("{error}"));
    let x = filled(&[1, rows, depth], 0);
    let pack = |encoding: Encoding| {
        let bytes = bytes_of(encoding, columns * depth);
        let values = StoredValues::encoded(encoding, &bytes);
        device.pack_stored_linear(&StoredMatrix::new(depth, [values]), None)
    };
    let layers = [pack(Encoding::Bf16), pack(encoding)];
    let run = |layer: &Linear| drop(device.linear(layer, &x, Epilogue::None));
    let one_thread = options.threads == 1;
    let mut times = [const { Vec::new() }; 2];
    for _ in 0..5 {
        for (times, layer) in times.iter_mut().zip(&layers) {
            times.push(median(one_thread, || run(layer)));
        }
    }
    let [bf16, seconds] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    let rate = 2.0 * (rows * depth * columns) as f64 / seconds / 1e9;
    let bits = device.linear_image(&layers[1]).map_or(0.0, |image| {
        8.0 * image.bytes.len() as f64 / (depth * columns) as f64
    });
    println!(
        "{rows} x {depth} -> {columns} {} {:8} {bits:5.2} bits a weight {:9.3} ms {rate:7.1} GFLOP/s, {:.2} of bf16's time",
        device.isa(),
        encoding.name(),
        seconds * 1e3,
        seconds / bf16
    );
}

/// So many values with small scales: most bytes stay below the exponents that overflow.
fn bytes_of(encoding: Encoding, values: usize) -> Vec<u8> {
    let size = encoding.size_bytes(values).expect("whole blocks");
    (0..size).map(|i| (i * 7919 % 47) as u8).collect()
}

fn size(text: &str) -> [usize; 3] {
    let numbers: Vec<usize> = text.split('x').filter_map(|n| n.parse().ok()).collect();
    numbers.try_into().expect("ROWSxDEPTHxCOLUMNS")
}

fn filled(shape: &[usize], salt: usize) -> Tensor {
    let count = shape.iter().product();
    let value = |i: usize| ((i + salt) * 7919 % 1009) as f32 / 504.0 - 1.0;
    Tensor::from_vec(shape, (0..count).map(value).collect())
}

fn median(one_thread: bool, run: impl Fn()) -> f64 {
    let first = Instant::now();
    run();
    // The system counts a thread's time in steps of milliseconds.
    let repeat = (0.05 / first.elapsed().as_secs_f64()).ceil();
    let mut times = Vec::new();
    for _ in 0..7 {
        let (start, busy) = (Instant::now(), busy_seconds());
        (0..repeat as usize).for_each(|_| run());
        let seconds = match (busy, busy_seconds()) {
            (Some(before), Some(after)) if one_thread => after - before,
            _ => start.elapsed().as_secs_f64(),
        };
        times.push(seconds / repeat);
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// How long this thread has been on a processor.
fn busy_seconds() -> Option<f64> {
    let statistics = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = statistics.split(' ').next()?.parse().ok()?;
    Some(nanoseconds / 1e9)
}
