//! Every device against the oracle, op by op, on fresh random inputs; and the two promises of a
//! device: neither the number of threads nor the size of the batch changes one bit of a result.
//!
//! A new device joins by one line in [`families`].

#[path = "conformance/attention.rs"]
mod attention;
#[path = "conformance/pictures.rs"]
mod pictures;
#[path = "conformance/tiles.rs"]
mod tiles;

use std::sync::Arc;

use rand::{Rng, SeedableRng, rngs::StdRng};
use tintype_compute::{
    Activation, Attention, Chunk, ConvGeometry, CpuDevice, CpuOptions, Device, Epilogue, GroupNorm,
    Isa, Mask, Padding, QkNorm, ReferenceDevice, RopeLayout, RopeTable, Segment, Tensor,
    WeightFormat,
};

/// f32 carries 6e-8 a rounding; sums of up to two thousand products in another order than the oracle's
/// stay some ten times below this.
const TOLERANCE: f64 = 2e-6;

/// Where the input itself magnifies roundings: scores in the hundreds before a softmax (an error of
/// 6e-8 of such a score is a relative error of 2e-5 after the exponential), or a mean of seventeen
/// standard deviations before a group norm.
const ILL_CONDITIONED: f64 = 2e-5;

/// The devices under test, in families whose members differ in their threads alone and must agree to
/// the bit: those of [`f32_families`] and those that multiply in tiles.
///
/// Tiles round both sides of a product to bf16, if the weight is exact in bf16; so what multiplies such
/// a weight must be exact in bf16, too ([`Draw::halves`]), to be held to the tolerance of f32.
fn families() -> Vec<Vec<Arc<dyn Device>>> {
    let mut families = f32_families();
    families.extend(tile_families());
    families
}

/// Those that multiply in tiles: the machine's, if it has some, and the modelled ones.
fn tile_families() -> Vec<Vec<Arc<dyn Device>>> {
    let mut families = Vec::new();
    if Isa::Amx.is_available() {
        families.push(family(&|threads| cpu(Isa::Amx, threads)));
    } else {
        eprintln!(
            "SKIPPED: this machine cannot run the amx device: tiles are modelled in software"
        );
    }
    if !only_emulated() {
        families.push(family(&modelled));
    }
    families
}

/// One for each instruction set of this machine that computes in f32 throughout.
fn f32_families() -> Vec<Vec<Arc<dyn Device>>> {
    let mut families = Vec::new();
    for isa in [Isa::Portable, Isa::Avx2, Isa::Avx512] {
        if only_emulated() && isa != Isa::Avx512 {
            continue;
        }
        if isa.is_available() {
            families.push(family(&|threads| cpu(isa, threads)));
        } else {
            eprintln!("SKIPPED: this machine cannot run the {isa} device");
        }
    }
    families
}

/// Whether `tools/emulate` runs this, on its slow machine: what other machines have is left to them.
fn only_emulated() -> bool {
    std::env::var_os("TINTYPE_EMULATED").is_some()
}

/// Those of this machine that are under test.
fn instruction_sets() -> impl Iterator<Item = Isa> {
    let all = Isa::available().into_iter();
    all.filter(|isa| !only_emulated() || *isa >= Isa::Avx512)
}

fn family(device: &dyn Fn(usize) -> CpuDevice) -> Vec<Arc<dyn Device>> {
    [1, 3]
        .map(|threads| Arc::new(device(threads)) as Arc<dyn Device>)
        .to_vec()
}

fn cpu(isa: Isa, threads: usize) -> CpuDevice {
    let options = CpuOptions {
        threads,
        isa: Some(isa),
        ..CpuOptions::default()
    };
    CpuDevice::with_options(options).expect("it is available")
}

fn modelled(threads: usize) -> CpuDevice {
    let options = CpuOptions {
        threads,
        ..CpuOptions::default()
    };
    CpuDevice::over_modelled_tiles(options).expect("the best is available")
}

/// Random tensors; every run draws others and names its seed on failure.
struct Draw {
    rng: StdRng,
    seed: u64,
}

impl Draw {
    fn new() -> Self {
        let seed = rand::rng().random();
        Self {
            rng: StdRng::seed_from_u64(seed),
            seed,
        }
    }

    fn tensor(&mut self, shape: &[usize]) -> Tensor {
        let values = (0..shape.iter().product()).map(|_| self.rng.random_range(-1.0..1.0));
        Tensor::from_vec(shape, values.collect())
    }

    fn norm(&mut self, groups: usize, channels: usize) -> GroupNorm {
        GroupNorm {
            groups,
            weight: self.tensor(&[channels]),
            bias: self.tensor(&[channels]),
            eps: 1e-6,
        }
    }

    /// Values that bf16 holds exactly.
    fn halves(&mut self, shape: &[usize]) -> Tensor {
        let mut tensor = self.tensor(shape);
        let values = tensor.data_mut().iter_mut();
        values.for_each(|value| *value = upper_half(*value));
        tensor
    }
}

/// Runs `op` on every device and compares with the oracle, and to the bit between thread counts.
fn check(what: &str, seed: u64, op: impl Fn(&dyn Device) -> Vec<Tensor>) {
    check_within(TOLERANCE, what, seed, op);
}

fn check_within(tolerance: f64, what: &str, seed: u64, op: impl Fn(&dyn Device) -> Vec<Tensor>) {
    check_families(families(), tolerance, what, seed, op);
}

fn check_families(
    families: Vec<Vec<Arc<dyn Device>>>,
    tolerance: f64,
    what: &str,
    seed: u64,
    op: impl Fn(&dyn Device) -> Vec<Tensor>,
) {
    let expected = op(&ReferenceDevice);
    for family in families {
        let mut bits: Option<Vec<Tensor>> = None;
        for device in family {
            let found = op(&*device);
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found.shape(), expected.shape(), "{what} on {device:?}");
                let error = relative_rms(found, expected);
                assert!(
                    error <= tolerance,
                    "{what} on {device:?}: relative RMS error {error:e} (seed {seed})"
                );
            }
            if let Some(bits) = &bits {
                assert_eq!(
                    &found, bits,
                    "{what}: threads change the result on {device:?} (seed {seed})"
                );
            }
            bits = Some(found);
        }
    }
}

/// Runs `op` over a batch of three and over each sample by itself, and compares to the bit.
fn check_batch(what: &str, inputs: &[Tensor], op: impl Fn(&dyn Device, &[Tensor]) -> Vec<Tensor>) {
    for device in families().concat() {
        let together = op(&*device, inputs);
        for sample in 0..3 {
            let alone: Vec<Tensor> = inputs.iter().map(|t| only(t, sample)).collect();
            for (alone, together) in op(&*device, &alone).iter().zip(&together) {
                assert_eq!(
                    alone.data(),
                    together.sample(sample),
                    "{what} on {device:?}: the batch changes the result"
                );
            }
        }
    }
}

fn only(tensor: &Tensor, sample: usize) -> Tensor {
    let mut shape = tensor.shape().to_vec();
    shape[0] = 1;
    Tensor::from_vec(shape, tensor.sample(sample).to_vec())
}

fn relative_rms(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.shape(), expected.shape());
    let pairs = || found.data().iter().zip(expected.data());
    let error: f64 = pairs().map(|(f, e)| f64::from(f - e).powi(2)).sum();
    let power: f64 = pairs().map(|(_, e)| f64::from(*e).powi(2)).sum();
    assert!(found.data().iter().all(|v| v.is_finite()), "not finite");
    (error / power.max(1e-30)).sqrt()
}

#[test]
fn linear_layers_and_their_epilogues() {
    let mut draw = Draw::new();
    for (halves, (batch, rows, depth, width)) in [
        (1, 1, 7, 5),
        (3, 1, 64, 96),
        (2, 33, 20, 17),
        (1, 300, 130, 700),
        // Several chunks of the depth; rows and columns that no block divides.
        (1, 201, 531, 45),
        (2, 8, 257, 129),
        (1, 5, 1, 1),
    ]
    .into_iter()
    .flat_map(|size| [(false, size), (true, size)])
    {
        let (x, weight) = ([batch, rows, depth], [width, depth]);
        let (x, weight) = if halves {
            (draw.halves(&x), draw.halves(&weight))
        } else {
            (draw.tensor(&x), draw.tensor(&weight))
        };
        let other = draw.tensor(&[batch, rows, width]);
        let gates = draw.tensor(&[batch, 3 * width]);
        let bias = draw.tensor(&[width]);
        let epilogues = [
            Epilogue::None,
            Epilogue::Activation(Activation::Gelu),
            Epilogue::Activation(Activation::GeluTanh),
            Epilogue::Activation(Activation::QuickGelu),
            Epilogue::Activation(Activation::Silu),
            Epilogue::Activation(Activation::Relu),
            Epilogue::Multiply(&other),
            Epilogue::Residual(&other),
            Epilogue::GateResidual {
                gate: Chunk {
                    table: &gates,
                    index: 1,
                },
                residual: &other,
            },
        ];
        // What comes after the product is the same for all weights: of those in bf16 every third does.
        let step = if halves { 3 } else { 1 };
        for epilogue in epilogues.into_iter().step_by(step) {
            for bias in [None, Some(&bias)] {
                check(&format!("linear {epilogue:?}"), draw.seed, |device| {
                    let layer = device.pack_linear(&weight, bias);
                    vec![device.linear(&layer, &x, epilogue)]
                });
            }
        }
    }
}

#[test]
fn linear_layers_over_inputs_side_by_side() {
    let mut draw = Draw::new();
    let (a, b) = (draw.halves(&[2, 50, 24]), draw.halves(&[2, 50, 41]));
    let weight = draw.halves(&[37, 65]);
    let bias = draw.tensor(&[37]);
    check("linear over two inputs", draw.seed, |device| {
        let layer = device.pack_linear(&weight, Some(&bias));
        vec![device.linear_concat(&layer, &[&a, &b], Epilogue::None)]
    });
}

#[test]
fn what_is_added_to_a_linear_layer_comes_before_its_epilogue() {
    let mut draw = Draw::new();
    for rows in [1, 40] {
        let (x, weight) = (draw.tensor(&[2, rows, 70]), draw.tensor(&[131, 70]));
        let [added, residual] = [(); 2].map(|()| draw.tensor(&[2, rows, 131]));
        let (bias, gates) = (draw.tensor(&[131]), draw.tensor(&[2, 131]));
        let gate = Chunk {
            table: &gates,
            index: 0,
        };
        let residual = &residual;
        for epilogue in [
            Epilogue::None,
            Epilogue::Activation(Activation::GeluTanh),
            Epilogue::Multiply(residual),
            Epilogue::Residual(residual),
            Epilogue::GateResidual { gate, residual },
        ] {
            check(&format!("added, {epilogue:?}"), draw.seed, |device| {
                let layer = device.pack_linear(&weight, Some(&bias));
                vec![device.linear_added(&layer, &[&x], &added, epilogue)]
            });
        }
    }
    // The oracle itself, by hand: relu(2 · 3 + 1 - 10) = 0, where relu(7) - 10 is not.
    let one = |value: f32| Tensor::from_vec([1, 1, 1], vec![value]);
    let weight = Tensor::from_vec([1, 1], vec![3.0]);
    let bias = Tensor::from_vec([1], vec![1.0]);
    let layer = ReferenceDevice.pack_linear(&weight, Some(&bias));
    let relu = Epilogue::Activation(Activation::Relu);
    let found = ReferenceDevice.linear_added(&layer, &[&one(2.0)], &one(-10.0), relu);
    assert_eq!(found.data(), [0.0]);
}

#[test]
fn linear_layers_do_not_see_the_batch() {
    let mut draw = Draw::new();
    for rows in [1, 2, 31, 200] {
        let inputs = [draw.tensor(&[3, rows, 70])];
        let weight = draw.halves(&[530, 70]);
        check_batch("linear", &inputs, |device, inputs| {
            let layer = device.pack_linear(&weight, None);
            let gelu = Epilogue::Activation(Activation::GeluTanh);
            vec![device.linear(&layer, &inputs[0], gelu)]
        });
    }
}

/// Every way to cut the rows gives the same bits: one row alone, a few, many.
#[test]
fn linear_layers_do_not_see_the_other_rows() {
    let mut draw = Draw::new();
    for (depth, width) in [(70, 530), (600, 33)] {
        let x = draw.tensor(&[1, 230, depth]);
        let exact = draw.tensor(&[width, depth]);
        let bf16 = draw.halves(&[width, depth]);
        for (weight, device) in [&exact, &bf16]
            .into_iter()
            .flat_map(|weight| families().concat().into_iter().map(move |d| (weight, d)))
        {
            let layer = device.pack_linear(weight, None);
            let all = device.linear(&layer, &x, Epilogue::None);
            for rows in [1, 3, 7, 8, 9, 200] {
                let start = 230 - rows;
                let some = device.linear(&layer, &x.narrow_sequence(start, rows), Epilogue::None);
                assert_eq!(
                    some,
                    all.narrow_sequence(start, rows),
                    "{rows} rows on {device:?} (seed {})",
                    draw.seed
                );
            }
        }
    }
}

fn upper_half(value: f32) -> f32 {
    f32::from_bits(value.to_bits() & 0xffff_0000)
}

/// Weights that bf16 holds are kept in it, and are exact; others are rounded only if that was asked.
#[test]
fn bf16_weights_are_exact_where_they_can_be() {
    let mut draw = Draw::new();
    for rows in [2, 40] {
        let x = draw.tensor(&[1, rows, 300]);
        let weight = draw.tensor(&[50, 300]);
        let halves = draw.halves(&[50, 300]);
        let none = Epilogue::None;
        let (what, seed) = ("linear over bf16 weights", draw.seed);
        check_families(f32_families(), TOLERANCE, what, seed, |device| {
            vec![device.linear(&device.pack_linear(&halves, None), &x, none)]
        });
        let reference = ReferenceDevice.pack_linear(&weight, None);
        let exact = ReferenceDevice.linear(&reference, &x, none);
        for isa in instruction_sets() {
            let options = CpuOptions {
                threads: 1,
                isa: Some(isa),
                weights: WeightFormat::Bf16,
                ..CpuOptions::default()
            };
            let device = CpuDevice::with_options(options).expect("it is available");
            let found = device.linear(&device.pack_linear(&weight, None), &x, none);
            let error = relative_rms(&found, &exact);
            // Half a unit in the eighth place, evenly spread: 2^-9 / sqrt(3) at most, half of it typically;
            // in tiles the input's roundings come on top.
            assert!(
                (2e-4..3e-3).contains(&error),
                "{isa}: {error:e} (seed {})",
                draw.seed
            );
        }
    }
}

/// What tiles round: both sides of a product, to bf16 or to bytes, and no more than that.
#[test]
fn tiles_round_what_they_multiply() {
    let mut draw = Draw::new();
    let x = draw.tensor(&[2, 70, 500]);
    let weight = draw.tensor(&[90, 500]);
    let none = Epilogue::None;
    let expected = ReferenceDevice.linear(&ReferenceDevice.pack_linear(&weight, None), &x, none);
    // Evenly spread values lose 2^-9 / sqrt(3) at most on each side as bf16, and as bytes
    // 1 / (127 * sqrt(12)) of a largest value that is sqrt(3) times their own size.
    for (weights, tolerance) in [(WeightFormat::Bf16, 3e-3), (WeightFormat::Int8, 7e-3)] {
        let options = CpuOptions {
            threads: 2,
            weights,
            ..CpuOptions::default()
        };
        let device = CpuDevice::over_modelled_tiles(options).expect("the best is available");
        let found = device.linear(&device.pack_linear(&weight, None), &x, none);
        let error = relative_rms(&found, &expected);
        assert!(
            (tolerance / 10.0..tolerance).contains(&error),
            "{weights}: {error:e} (seed {})",
            draw.seed
        );
    }
}

/// Eight-bit weights: the error is that of the weights' steps, whatever outliers the input has; threads
/// change nothing, and what is not finite is not hidden.
#[test]
fn eight_bit_weights_cost_half_a_percent() {
    let mut draw = Draw::new();
    for (rows, depth, width) in [(1, 33, 20), (40, 600, 70), (200, 129, 33)] {
        let mut x = draw.tensor(&[1, rows, depth]);
        let weight = draw.tensor(&[width, depth]);
        // One feature a thousand times the others, as text encoders have them.
        x.data_mut()
            .iter_mut()
            .skip(3)
            .step_by(depth)
            .for_each(|v| *v *= 1000.0);
        let exact = ReferenceDevice.linear(
            &ReferenceDevice.pack_linear(&weight, None),
            &x,
            Epilogue::None,
        );
        // Tiles hold activations as bytes, too, and are looked at elsewhere.
        for isa in instruction_sets().filter(|isa| *isa != Isa::Amx) {
            let mut bits: Option<Tensor> = None;
            for threads in [1, 3] {
                let options = CpuOptions {
                    threads,
                    isa: Some(isa),
                    weights: WeightFormat::Int8,
                    ..CpuOptions::default()
                };
                let device = CpuDevice::with_options(options).expect("it is available");
                let layer = device.pack_linear(&weight, None);
                let found = device.linear(&layer, &x, Epilogue::None);
                let error = relative_rms(&found, &exact);
                assert!(
                    (1e-4..1e-2).contains(&error),
                    "{isa}: {error:e} (seed {})",
                    draw.seed
                );
                assert_eq!(bits.get_or_insert(found.clone()), &found, "{isa}: threads");
                let mut broken = x.clone();
                broken.data_mut()[0] = f32::NAN;
                let found = device.linear(&layer, &broken, Epilogue::None);
                let nan = found.data().iter().filter(|v| v.is_nan()).count();
                assert_eq!(nan, width, "{isa}: a NaN fills its row and no other");
            }
        }
    }
}

/// What is not finite stays so, and stays in its row (from the input) or column (from the weight).
#[test]
fn linear_layers_propagate_what_is_not_finite() {
    let mut draw = Draw::new();
    for (rows, depth, width) in [(3, 40, 20), (50, 300, 70)] {
        let mut x = draw.tensor(&[1, rows, depth]);
        let mut weight = draw.halves(&[width, depth]);
        x.data_mut()[depth + 7] = f32::NAN;
        weight.data_mut()[5 * depth + 2] = f32::INFINITY;
        for device in families().concat() {
            let layer = device.pack_linear(&weight, None);
            let y = device.linear(&layer, &x, Epilogue::None);
            for (i, value) in y.data().iter().enumerate() {
                match (i / width, i % width) {
                    (1, _) => assert!(value.is_nan(), "{device:?}: {i}"),
                    (_, 5) => assert!(value.is_infinite(), "{device:?}: {i}"),
                    _ => assert!(value.is_finite(), "{device:?}: {i}"),
                }
            }
        }
    }
}

/// A rotation table of unit vectors, as a real one has.
fn rope(draw: &mut Draw, sequence: usize, head_dim: usize) -> RopeTable {
    let angles = draw.tensor(&[sequence, head_dim / 2]);
    let map = |f: fn(f32) -> f32| {
        let values = angles.data().iter().map(|&a| f(3.0 * a)).collect();
        Tensor::from_vec(angles.shape(), values)
    };
    RopeTable {
        layout: RopeLayout::Interleaved,
        cos: map(f32::cos),
        sin: map(f32::sin),
    }
}

#[test]
fn joint_attention_with_norms_and_rotation() {
    let mut draw = Draw::new();
    // One block of keys; several; segments that straddle blocks; one head, odd heads; one token.
    for (batch, heads, dim, lengths) in [
        (1, 1, 8, vec![1]),
        (2, 3, 16, vec![7, 20]),
        (1, 2, 6, vec![300, 331]),
        (1, 5, 32, vec![77, 96, 64]),
    ] {
        let segments: Vec<Tensor> = lengths
            .iter()
            .map(|&length| draw.tensor(&[batch, length, 3 * heads * dim]))
            .collect();
        let (query, key) = (draw.tensor(&[dim]), draw.tensor(&[dim]));
        let table = rope(&mut draw, lengths.iter().sum(), dim);
        for full in [false, true] {
            let norm = full.then_some(QkNorm {
                query: &query,
                key: &key,
                eps: 1e-6,
            });
            let segments: Vec<Segment<'_>> =
                segments.iter().map(|qkv| Segment { qkv, norm }).collect();
            check("attention", draw.seed, |device| {
                device.attention(&Attention {
                    segments: &segments,
                    heads,
                    scale: 1.0 / (dim as f32).sqrt(),
                    rope: full.then_some(&table),
                    mask: Mask::None,
                })
            });
        }
    }
}

#[test]
fn attention_with_large_scores_stays_finite() {
    let mut draw = Draw::new();
    let qkv = draw.tensor(&[1, 300, 3 * 16]);
    check_within(
        ILL_CONDITIONED,
        "attention with scores in the hundreds",
        draw.seed,
        |device| {
            device.attention(&Attention {
                segments: &[Segment {
                    qkv: &qkv,
                    norm: None,
                }],
                heads: 1,
                scale: 100.0,
                rope: None,
                mask: Mask::None,
            })
        },
    );
}

#[test]
fn masked_attention() {
    let mut draw = Draw::new();
    for (heads, dim, sequence) in [(1, 4, 1), (4, 8, 77), (2, 16, 520)] {
        let qkv = draw.tensor(&[2, sequence, 3 * heads * dim]);
        let bias = draw.tensor(&[heads, 2 * sequence - 1]);
        for mask in [Mask::Causal, Mask::RelativeBias(&bias)] {
            check("masked attention", draw.seed, |device| {
                device.attention(&Attention {
                    segments: &[Segment {
                        qkv: &qkv,
                        norm: None,
                    }],
                    heads,
                    scale: 0.5,
                    rope: None,
                    mask,
                })
            });
        }
    }
}

#[test]
fn attention_does_not_see_the_batch() {
    let mut draw = Draw::new();
    let inputs = [
        draw.tensor(&[3, 40, 3 * 4 * 8]),
        draw.tensor(&[3, 290, 3 * 4 * 8]),
    ];
    check_batch("attention", &inputs, |device, inputs| {
        let segment = |qkv| Segment { qkv, norm: None };
        device.attention(&Attention {
            segments: &[segment(&inputs[0]), segment(&inputs[1])],
            heads: 4,
            scale: 0.35,
            rope: None,
            mask: Mask::None,
        })
    });
}

#[test]
fn norms_over_rows() {
    let mut draw = Draw::new();
    for (batch, rows, width) in [(1, 1, 3), (2, 65, 160), (3, 700, 64)] {
        let x = draw.tensor(&[batch, rows, width]);
        let (weight, bias) = (draw.tensor(&[width]), draw.tensor(&[width]));
        let table = draw.tensor(&[batch, 6 * width]);
        let chunk = |index| Chunk {
            table: &table,
            index,
        };
        check("adaln", draw.seed, |d| {
            vec![d.adaln(&x, chunk(1), chunk(5), 1e-6)]
        });
        check("layer_norm", draw.seed, |d| {
            vec![d.layer_norm(&x, &weight, &bias, 1e-5)]
        });
        check("rms_norm", draw.seed, |d| {
            vec![d.rms_norm(&x, &weight, 1e-6)]
        });
        check("silu", draw.seed, |d| vec![d.silu(&x)]);
        check("add", draw.seed, |d| vec![d.add(&x, &x)]);
    }
}

#[test]
fn group_norms() {
    let mut draw = Draw::new();
    for (height, width, channels, groups) in [(3, 4, 4, 2), (7, 5, 6, 3), (64, 48, 32, 8)] {
        // An offset makes the difference of the mean square and the squared mean matter.
        let x = draw.tensor(&[2, height, width, channels]);
        let x = Tensor::from_vec(x.shape(), x.data().iter().map(|v| v + 10.0).collect());
        let norm = GroupNorm {
            groups,
            weight: draw.tensor(&[channels]),
            bias: draw.tensor(&[channels]),
            eps: 1e-6,
        };
        for activation in [None, Some(Activation::Silu), Some(Activation::Relu)] {
            check_within(ILL_CONDITIONED, "group_norm", draw.seed, |d| {
                vec![d.group_norm(&x, &norm, activation)]
            });
        }
    }
}

#[test]
fn pictures_do_not_see_the_batch() {
    let mut draw = Draw::new();
    let inputs = [draw.tensor(&[3, 37, 50, 12])];
    let weight = draw.tensor(&[20, 12, 3, 3]);
    let norm = GroupNorm {
        groups: 4,
        weight: draw.tensor(&[20]),
        bias: draw.tensor(&[20]),
        eps: 1e-6,
    };
    let geometry = ConvGeometry {
        stride: 1,
        padding: Padding::all(1),
        upsample: false,
    };
    check_batch("conv2d and group_norm", &inputs, |device, inputs| {
        let layer = device.pack_conv2d(&weight, None, geometry);
        let y = device.conv2d(&layer, &inputs[0], None);
        vec![device.group_norm(&y, &norm, Some(Activation::Silu))]
    });
}

#[test]
fn embeddings() {
    let mut draw = Draw::new();
    let table = draw.tensor(&[11, 6]);
    check("embedding", draw.seed, |device| {
        vec![device.embedding(&table, &[0, 10, 3, 3], 2)]
    });
}
