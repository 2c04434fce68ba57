//! What it costs to hand work to the other threads: an attention over one token of two heads is next
//! to no work, but shares it out twice. `cargo run --release -p tintype-compute --example dispatch`

use std::time::Instant;

use tintype_compute::{Attention, CpuDevice, Device, Mask, Segment, Tensor};

/// Calls that one figure is the mean of: in a row, as the ops of a model come.
const CALLS: u32 = 200;

/// Figures, of which the median is printed, and the least: the one that nothing else disturbed.
const ROUNDS: usize = 301;

fn main() {
    let alone = micros_per_call(&CpuDevice::new(1));
    println!("1 thread: {:.2} µs a call", alone.median);
    for threads in [2, 4] {
        let together = micros_per_call(&CpuDevice::new(threads));
        println!(
            "{threads} threads: {:.2} µs a call, {:.2} µs for sharing out ({:.2} at least)",
            together.median,
            (together.median - alone.median) / 2.0,
            (together.least - alone.least) / 2.0,
        );
    }
}

struct Micros {
    least: f64,
    median: f64,
}

fn micros_per_call(device: &CpuDevice) -> Micros {
    let qkv = Tensor::zeros([1, 1, 3 * 2 * 8]);
    let segments = [Segment {
        qkv: &qkv,
        norm: None,
    }];
    let attention = Attention {
        segments: &segments,
        heads: 2,
        scale: 1.0,
        rope: None,
        mask: Mask::None,
    };
    let round = || {
        let started = Instant::now();
        for _ in 0..CALLS {
            drop(device.attention(&attention));
        }
        started.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
    };
    let mut micros: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    micros.sort_by(f64::total_cmp);
    Micros {
        least: micros[0],
        median: micros[ROUNDS / 2],
    }
}
