//! Every op of the portable device once, so small that an interpreter gets through in minutes:
//! `tools/sanitize` runs this under Miri, which sees what the sanitizers of compiled programs do not.
//! Sizes divide no block; two threads share the work. How exact results are is the conformance suite's
//! business: here they must be near.

use rand::{Rng, SeedableRng, rngs::StdRng};
use tintype_compute::{
    Activation, Attention, CacheSize, CachedAttention, Chunk, ConvGeometry, CpuDevice, CpuOptions,
    Device, Encoding, Epilogue, GroupNorm, Isa, Mask, Padding, QkNorm, ReferenceDevice, RopeLayout,
    RopeTable, Segment, StoredMatrix, StoredValues, Tensor, WeightFormat,
};

/// What weights and activations of eight bits cost at most, relative root mean square.
const NEAR: f64 = 2e-2;

/// The portable kernels over these forms of weights, and tiles modelled in software.
fn devices(formats: &[WeightFormat]) -> Vec<CpuDevice> {
    let options = |weights| CpuOptions {
        threads: 2,
        isa: Some(Isa::Portable),
        weights,
        ..CpuOptions::default()
    };
    let plain = formats
        .iter()
        .map(|weights| CpuDevice::with_options(options(*weights)));
    let tiles = CpuDevice::over_modelled_tiles(options(WeightFormat::Exact));
    let all = plain.chain([tiles]);
    all.map(|device| device.expect("runs anywhere")).collect()
}

fn draw(rng: &mut StdRng, shape: &[usize]) -> Tensor {
    let values = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0));
    Tensor::from_vec(shape, values.collect())
}

/// Runs `op`, which has no weights of linear layers.
fn check(what: &str, op: impl Fn(&dyn Device, &mut StdRng) -> Vec<Tensor>) {
    check_on(&devices(&[WeightFormat::Exact]), what, op);
}

/// Runs `op` over every form of weights.
fn check_weights(what: &str, op: impl Fn(&dyn Device, &mut StdRng) -> Vec<Tensor>) {
    check_on(&devices(&WeightFormat::ALL), what, op);
}

fn check_on(
    devices: &[CpuDevice],
    what: &str,
    op: impl Fn(&dyn Device, &mut StdRng) -> Vec<Tensor>,
) {
    let seed = rand::rng().random();
    let run = |device: &dyn Device| op(device, &mut StdRng::seed_from_u64(seed));
    let expected = run(&ReferenceDevice);
    for device in devices {
        for (found, expected) in run(device).iter().zip(&expected) {
            assert_eq!(found.shape(), expected.shape(), "{what} on {device:?}");
            let pairs = || found.data().iter().zip(expected.data());
            let error: f64 = pairs().map(|(f, e)| f64::from(f - e).powi(2)).sum();
            let power: f64 = pairs().map(|(_, e)| f64::from(*e).powi(2)).sum();
            let error = (error / power).sqrt();
            assert!(
                error <= NEAR,
                "{what} on {device:?}: {error:e} (seed {seed})"
            );
        }
    }
}

#[test]
fn linear_layers_of_few_rows_and_of_many() {
    check_weights("linear", |device, rng| {
        let (weight, bias) = (draw(rng, &[21, 37]), draw(rng, &[21]));
        let layer = device.pack_linear(&weight, Some(&bias));
        let outputs = [1, 9].map(|rows| {
            let x = draw(rng, &[2, rows, 37]);
            let residual = draw(rng, &[2, rows, 21]);
            let table = draw(rng, &[2, 3 * 21]);
            let gate = Chunk {
                table: &table,
                index: 1,
            };
            let residual = &residual;
            let epilogues = [
                Epilogue::Activation(Activation::Gelu),
                Epilogue::GateResidual { gate, residual },
            ];
            epilogues.map(|epilogue| device.linear(&layer, &x, epilogue))
        });
        outputs.into_iter().flatten().collect()
    });
}

#[test]
fn linear_layers_over_inputs_side_by_side() {
    check_weights("linear_concat", |device, rng| {
        let layer = device.pack_linear(&draw(rng, &[10, 14]), None);
        let inputs = [draw(rng, &[1, 6, 9]), draw(rng, &[1, 6, 5])];
        vec![device.linear_concat(&layer, &[&inputs[0], &inputs[1]], Epilogue::None)]
    });
}

/// Random blocks of as many values, whose scales (in f16, the upper byte at these places of a block) and
/// single numbers are small.
fn coded(rng: &mut StdRng, encoding: Encoding, values: usize) -> Vec<u8> {
    let mut bytes = vec![0; encoding.size_bytes(values).expect("whole blocks")];
    rng.fill(&mut bytes[..]);
    let places: &[usize] = match encoding {
        Encoding::Q5_1 | Encoding::Q4K => &[1, 3],
        Encoding::Q6K => &[209],
        Encoding::F8E4m3 => &[0],
        _ => &[1],
    };
    for block in bytes.chunks_exact_mut(encoding.block_bytes()) {
        for &place in places {
            block[place] = block[place] & 0x83 | 0x2c;
        }
    }
    bytes
}

fn check_coded(encoding: Encoding) {
    let depth = encoding.block_values().max(32);
    // Random codes spread over many powers of two, which integers do not.
    let devices = devices(&[WeightFormat::Exact, WeightFormat::Bf16]);
    check_on(&devices, "linear over coded weights", |device, rng| {
        let bytes = coded(rng, encoding, 5 * depth);
        let values = StoredValues::encoded(encoding, &bytes);
        let layer = device.pack_stored_linear(&StoredMatrix::new(depth, [values]), None);
        let rows = [1, 7].map(|rows| draw(rng, &[1, rows, depth]));
        let outputs = rows.map(|x| device.linear(&layer, &x, Epilogue::None));
        outputs.to_vec()
    });
}

#[test]
fn linear_layers_over_single_numbers() {
    check_coded(Encoding::F8E4m3);
    check_coded(Encoding::F16);
}

#[test]
fn linear_layers_over_blocks() {
    check_coded(Encoding::Q5_1);
    check_coded(Encoding::Q8_0);
}

#[test]
fn linear_layers_over_blocks_of_blocks() {
    check_coded(Encoding::Q4K);
    check_coded(Encoding::Q6K);
}

fn rope(rng: &mut StdRng, tokens: usize, layout: RopeLayout) -> RopeTable {
    let angles = draw(rng, &[tokens, 4]);
    let map = |f: fn(f32) -> f32| {
        Tensor::from_vec([tokens, 4], angles.data().iter().map(|a| f(*a)).collect())
    };
    RopeTable {
        layout,
        cos: map(f32::cos),
        sin: map(f32::sin),
    }
}

#[test]
fn attention_of_two_sequences_with_norms_and_rotation() {
    check("attention", |device, rng| {
        let qkv = [5, 6].map(|tokens| draw(rng, &[1, tokens, 3 * 2 * 8]));
        let (query, key) = (draw(rng, &[8]), draw(rng, &[8]));
        let rope = rope(rng, 11, RopeLayout::Interleaved);
        let norm = Some(QkNorm {
            query: &query,
            key: &key,
            eps: 1e-6,
        });
        let segments = [&qkv[0], &qkv[1]].map(|qkv| Segment { qkv, norm });
        let bias = draw(rng, &[2, 21]);
        let masks = [Mask::None, Mask::Causal, Mask::RelativeBias(&bias)];
        let outputs = masks.map(|mask| {
            device.attention(&Attention {
                segments: &segments,
                heads: 2,
                scale: 0.35,
                rope: Some(&rope),
                mask,
            })
        });
        outputs.into_iter().flatten().collect()
    });
}

#[test]
fn attention_to_a_cache() {
    check("cached attention", |device, rng| {
        let rope = rope(rng, 9, RopeLayout::Halves);
        let mut cache = device.key_value_cache(CacheSize {
            batch: 1,
            key_value_heads: 1,
            head_dim: 8,
            capacity: 9,
        });
        let outputs = [6, 1, 2].map(|tokens| {
            let qkv = draw(rng, &[1, tokens, 4 * 8]);
            let attention = CachedAttention {
                qkv: &qkv,
                heads: 2,
                norm: None,
                scale: 0.35,
                rope: Some(&rope),
            };
            device.cached_attention(&mut cache, &attention)
        });
        outputs.to_vec()
    });
}

/// A convolution of 8 channels to 9, and a group norm after it.
fn check_convolution(kernel: usize, stride: usize, upsample: bool) {
    check("convolution", |device, rng| {
        let geometry = ConvGeometry {
            stride,
            padding: Padding::all(kernel / 2),
            upsample,
        };
        let (weight, bias) = (draw(rng, &[9, 8, kernel, kernel]), draw(rng, &[9]));
        let layer = device.pack_conv2d(&weight, Some(&bias), geometry);
        let output = device.conv2d(&layer, &draw(rng, &[1, 7, 5, 8]), None);
        let norm = GroupNorm {
            groups: 3,
            weight: draw(rng, &[9]),
            bias: draw(rng, &[9]),
            eps: 1e-6,
        };
        let normed = device.group_norm(&output, &norm, Some(Activation::Silu));
        vec![output, normed]
    });
}

#[test]
fn convolutions_of_single_pixels() {
    check_convolution(1, 1, false);
}

#[test]
fn convolutions_of_three_by_three() {
    check_convolution(3, 1, false);
}

#[test]
fn convolutions_of_pictures_twice_as_large() {
    check_convolution(3, 1, true);
}

#[test]
fn convolutions_of_every_other_pixel() {
    check_convolution(3, 2, false);
}

#[test]
fn passes_over_rows() {
    check("passes over rows", |device, rng| {
        let x = draw(rng, &[2, 3, 19]);
        let (weight, bias) = (draw(rng, &[19]), draw(rng, &[19]));
        let table = draw(rng, &[2, 2 * 19]);
        let [scale, shift] = [0, 1].map(|index| Chunk {
            table: &table,
            index,
        });
        vec![
            device.adaln(&x, scale, shift, 1e-6),
            device.layer_norm(&x, &weight, &bias, 1e-6),
            device.rms_norm(&x, &weight, 1e-6),
            device.silu(&x),
            device.add(&x, &x),
            device.embedding(&draw(rng, &[5, 19]), &[4, 0, 2], 1),
        ]
    });
}
