//! How fast the cpu device is, op by op, at FLUX.1's sizes and at those of a small model.
//!
//! `cargo run --release -p tintype-compute --example ops -- [threads [what]]`: only the lines that hold
//! `what`.
//!
//! Prints the mean of a few runs. With one thread on Linux, time is the processor's, so that
//! other programs on the machine do not count.

use std::{cell::RefCell, fs, time::Instant};

use tintype_compute::{
    Activation, Attention, CacheSize, CachedAttention, Chunk, ConvGeometry, CpuDevice, Device,
    Epilogue, Mask, Padding, QkNorm, RopeLayout, RopeTable, Segment, Tensor,
};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let threads = arguments.next().and_then(|n| n.parse().ok());
    let device = CpuDevice::new(threads.unwrap_or(1));
    let only = arguments.next().unwrap_or_default();
    println!("{device:?}");
    let report = Report {
        one_thread: device.threads() == 1,
        only,
    };
    linear(&device, &report);
    attention(&device, &report);
    cached(&device, &report);
    rows(&device, &report);
    convolution(&device, &report);
}

fn linear(device: &CpuDevice, report: &Report) {
    for (rows, depth, width) in [
        (96, 160, 480),
        (96, 800, 160),
        (1, 160, 960),
        (1536, 3072, 3072),
        (1536, 3072, 12288),
        (28, 3072, 18432),
    ] {
        let name = format!("linear {rows} x {depth} -> {width}");
        let gelu_name = format!("{name} GELU");
        if !report.wants(&name) && !report.wants(&gelu_name) {
            continue;
        }
        let x = filled(&[1, rows, depth]);
        let layer = device.pack_linear(&filled(&[width, depth]), None);
        let flops = 2 * rows * depth * width;
        report.line(&name, flops, || {
            device.linear(&layer, &x, Epilogue::None);
        });
        let gelu = Epilogue::Activation(Activation::GeluTanh);
        report.line(&gelu_name, flops, || {
            device.linear(&layer, &x, gelu);
        });
    }
}

/// Which of an attention's parts are asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Plain,
    /// QK-RMSNorm and RoPE.
    Rotated,
    Causal,
    /// A bias by distance.
    Relative,
}

fn attention(device: &CpuDevice, report: &Report) {
    for (heads, dim, sequence, kind) in [
        (5, 32, 96, Kind::Plain),
        (5, 32, 96, Kind::Rotated),
        (5, 32, 352, Kind::Plain),
        (5, 32, 352, Kind::Rotated),
        (24, 128, 1536, Kind::Plain),
        (24, 128, 1536, Kind::Rotated),
        (24, 128, 4608, Kind::Rotated),
        (24, 128, 8704, Kind::Rotated),
        (64, 64, 512, Kind::Relative),
        (12, 64, 77, Kind::Causal),
        (1, 512, 4096, Kind::Plain),
    ] {
        let name = format!("attention {heads} x {dim}, {sequence} tokens, {kind:?}");
        if !report.wants(&name) {
            continue;
        }
        // As a linear layer over weights of bf16 leaves it.
        let qkv = filled(&[1, sequence, 3 * heads * dim]).into_coarse();
        let weight = filled(&[dim]);
        let bias = filled(&[heads, 2 * sequence - 1]);
        let table = RopeTable {
            layout: RopeLayout::Interleaved,
            cos: filled(&[sequence, dim / 2]),
            sin: filled(&[sequence, dim / 2]),
        };
        let rotated = kind == Kind::Rotated;
        let flops = 4 * heads * dim * sequence * sequence;
        report.line(&name, flops, || {
            device.attention(&Attention {
                segments: &[Segment {
                    qkv: &qkv,
                    norm: rotated.then_some(QkNorm {
                        query: &weight,
                        key: &weight,
                        eps: 1e-6,
                    }),
                }],
                heads,
                scale: 1.0 / (dim as f32).sqrt(),
                rope: rotated.then_some(&table),
                mask: match kind {
                    Kind::Plain | Kind::Rotated => Mask::None,
                    Kind::Causal => Mask::Causal,
                    Kind::Relative => Mask::RelativeBias(&bias),
                },
            });
        });
    }
}

/// One new token of a decoder of Qwen3-4B's geometry; its rate counts the multiply-adds twice.
fn cached(device: &CpuDevice, report: &Report) {
    let (heads, key_value_heads, head_dim) = (32, 8, 128);
    for tokens in [512, 4096] {
        let name =
            format!("cached attention {heads} / {key_value_heads} x {head_dim}, 1 after {tokens}");
        if !report.wants(&name) {
            continue;
        }
        let cache = RefCell::new(device.key_value_cache(CacheSize {
            batch: 1,
            key_value_heads,
            head_dim,
            capacity: tokens + 1,
        }));
        let features = (heads + 2 * key_value_heads) * head_dim;
        let attend = |new| {
            let attention = CachedAttention {
                qkv: &filled(&[1, new, features]),
                heads,
                norm: None,
                scale: 0.1,
                rope: None,
            };
            device.cached_attention(&mut cache.borrow_mut(), &attention);
        };
        attend(tokens);
        report.line(&name, 4 * heads * head_dim * tokens, || {
            cache.borrow_mut().truncate(tokens);
            attend(1);
        });
    }
}

/// Norms and what goes value by value; their rate counts one operation for each value.
fn rows(device: &CpuDevice, report: &Report) {
    for (rows, width) in [(96, 160), (1536, 3072)] {
        let x = filled(&[1, rows, width]);
        let (weight, table) = (filled(&[width]), filled(&[1, 2 * width]));
        let chunk = |index| Chunk {
            table: &table,
            index,
        };
        let values = rows * width;
        let size = format!("{rows} x {width}");
        report.line(&format!("adaln {size}"), values, || {
            device.adaln(&x, chunk(0), chunk(1), 1e-6);
        });
        report.line(&format!("layer_norm {size}"), values, || {
            device.layer_norm(&x, &weight, &weight, 1e-6);
        });
        report.line(&format!("rms_norm {size}"), values, || {
            device.rms_norm(&x, &weight, 1e-6);
        });
        report.line(&format!("silu {size}"), values, || {
            device.silu(&x);
        });
        report.line(&format!("add {size}"), values, || {
            device.add(&x, &x);
        });
    }
}

fn convolution(device: &CpuDevice, report: &Report) {
    let geometry = |stride, padding| ConvGeometry {
        stride,
        padding: Padding::all(padding),
        upsample: false,
    };
    for (kernel, stride, side, inputs, outputs) in [
        (3, 1, 128, 16, 16),
        (3, 1, 128, 16, 3),
        (3, 1, 64, 32, 32),
        (3, 1, 512, 128, 128),
        (3, 1, 512, 256, 256),
        (3, 1, 256, 512, 512),
        (3, 1, 64, 512, 512),
        (3, 2, 256, 128, 128),
        (3, 2, 64, 512, 512),
        (1, 1, 128, 512, 256),
    ] {
        let x = filled(&[1, side, side, inputs]);
        let geometry = geometry(stride, kernel / 2);
        for stored in ["f32", "bf16"] {
            let walk = format!("{kernel}x{kernel}/{stride} of {stored}");
            let name = format!("conv {walk} {inputs} -> {outputs} @ {side}");
            if !report.wants(&name) {
                continue;
            }
            let mut weight = filled(&[outputs, inputs, kernel, kernel]);
            if stored == "bf16" {
                let values = weight.data_mut().iter_mut();
                values.for_each(|value| *value = f32::from_bits(value.to_bits() & 0xffff_0000));
            }
            let layer = device.pack_conv2d(&weight, None, geometry);
            let side = side / stride;
            let flops = 2 * side * side * inputs * outputs * kernel * kernel;
            report.line(&name, flops, || {
                device.conv2d(&layer, &x, None);
            });
        }
    }
}

fn filled(shape: &[usize]) -> Tensor {
    let values = (0..shape.iter().product()).map(|i: usize| (i * 7919 % 1000) as f32 / 500.0 - 1.0);
    Tensor::from_vec(shape, values.collect())
}

struct Report {
    one_thread: bool,
    /// What a line must hold to be wanted.
    only: String,
}

impl Report {
    fn wants(&self, what: &str) -> bool {
        what.contains(&self.only)
    }

    /// At least three runs and half a second.
    fn line(&self, what: &str, operations: usize, run: impl Fn()) {
        if !self.wants(what) {
            return;
        }
        run();
        let (start, busy_start) = (Instant::now(), busy_seconds());
        let mut runs = 0;
        while runs < 3 || start.elapsed().as_secs_f64() < 0.5 {
            run();
            runs += 1;
        }
        let total = match (busy_start, busy_seconds()) {
            (Some(before), Some(after)) if self.one_thread => after - before,
            _ => start.elapsed().as_secs_f64(),
        };
        let seconds = total / f64::from(runs);
        let rate = operations as f64 / seconds / 1e9;
        println!("{what:44} {:9.3} ms  {rate:7.1} G/s", seconds * 1e3);
    }
}

/// How long this thread has been on a processor.
fn busy_seconds() -> Option<f64> {
    let statistics = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = statistics.split(' ').next()?.parse().ok()?;
    Some(nanoseconds / 1e9)
}
