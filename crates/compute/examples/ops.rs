//! How fast the cpu device is, op by op, at FLUX.1's sizes and at those of a small model.
//!
//! `cargo run --release -p tintype-compute --example ops -- [threads]`
//!
//! Prints the mean of a few runs. With one thread on Linux, time is the processor's, so that
//! other programs on the machine do not count.

use std::{fs, time::Instant};

use tintype_compute::{
    Activation, Attention, ConvGeometry, CpuDevice, Device, Epilogue, Mask, Padding, Segment,
    Tensor,
};

fn main() {
    let threads = std::env::args().nth(1).and_then(|n| n.parse().ok());
    let device = CpuDevice::new(threads.unwrap_or(1));
    println!("{device:?}");
    let one = device.threads() == 1;
    for (rows, depth, width) in [
        (96, 160, 480),
        (96, 800, 160),
        (1, 160, 960),
        (1536, 3072, 3072),
        (1536, 3072, 12288),
        (28, 3072, 18432),
    ] {
        let x = filled(&[1, rows, depth]);
        let layer = device.pack_linear(&filled(&[width, depth]), None);
        let flops = 2 * rows * depth * width;
        report(
            one,
            &format!("linear {rows} x {depth} -> {width}"),
            flops,
            || {
                device.linear(&layer, &x, Epilogue::None);
            },
        );
        let gelu = Epilogue::Activation(Activation::GeluTanh);
        report(one, "  with GELU", flops, || {
            device.linear(&layer, &x, gelu);
        });
    }
    for (heads, dim, sequence) in [(5, 32, 96), (5, 32, 352), (24, 128, 1536), (1, 512, 4096)] {
        let qkv = filled(&[1, sequence, 3 * heads * dim]);
        let flops = 4 * heads * dim * sequence * sequence;
        let name = format!("attention {heads} x {dim}, {sequence} tokens");
        report(one, &name, flops, || {
            device.attention(&Attention {
                segments: &[Segment {
                    qkv: &qkv,
                    norm: None,
                }],
                heads,
                scale: 1.0 / (dim as f32).sqrt(),
                rope: None,
                mask: Mask::None,
            });
        });
    }
    let geometry = ConvGeometry {
        stride: 1,
        padding: Padding::all(1),
        upsample: false,
    };
    for (side, inputs, outputs) in [
        (128, 16, 16),
        (128, 16, 3),
        (64, 32, 32),
        (256, 128, 128),
        (128, 512, 512),
    ] {
        let x = filled(&[1, side, side, inputs]);
        let weight = filled(&[outputs, inputs, 3, 3]);
        let layer = device.pack_conv2d(&weight, None, geometry);
        let flops = 2 * side * side * inputs * outputs * 9;
        let name = format!("conv 3x3 {inputs} -> {outputs} @ {side}");
        report(one, &name, flops, || {
            device.conv2d(&layer, &x, None);
        });
    }
}

fn filled(shape: &[usize]) -> Tensor {
    let values = (0..shape.iter().product()).map(|i: usize| (i * 7919 % 1000) as f32 / 500.0 - 1.0);
    Tensor::from_vec(shape, values.collect())
}

/// At least three runs and half a second.
fn report(one_thread: bool, what: &str, flops: usize, run: impl Fn()) {
    run();
    let (start, busy_start) = (Instant::now(), busy_seconds());
    let mut runs = 0;
    while runs < 3 || start.elapsed().as_secs_f64() < 0.5 {
        run();
        runs += 1;
    }
    let total = match (busy_start, busy_seconds()) {
        (Some(before), Some(after)) if one_thread => after - before,
        _ => start.elapsed().as_secs_f64(),
    };
    let seconds = total / f64::from(runs);
    let rate = flops as f64 / seconds / 1e9;
    println!("{what:40} {:9.3} ms  {rate:7.1} GFLOP/s", seconds * 1e3);
}

/// How long this thread has been on a processor.
fn busy_seconds() -> Option<f64> {
    let statistics = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = statistics.split(' ').next()?.parse().ok()?;
    Some(nanoseconds / 1e9)
}
