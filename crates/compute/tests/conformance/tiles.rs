//! What tiles make of activations that may be rounded to bf16: near the oracle by the tolerance of bf16,
//! not a bit different with other threads or another batch, and NaN and infinities where they belong.

use tintype_compute::{
    Attention, ConvGeometry, Device, Isa, Mask, Padding, QkNorm, ReferenceDevice, RopeLayout,
    RopeTable, Segment, Tensor,
};

use super::{
    Draw, check_families, cpu, f32_families, modelled, only, relative_rms, rope, tile_families,
};

/// bf16 has eight bits: a rounding costs 2^-9 / sqrt(3) at most, and between input and output of an
/// attention are four of them. The goal for a whole block is 1e-2.
const TOLERANCE: f64 = 5e-3;

/// What is less than this was not rounded at all.
const EXACT: f64 = 1e-5;

/// Joined sequences and what is done to them.
struct Case {
    batch: usize,
    heads: usize,
    dim: usize,
    lengths: Vec<usize>,
    /// Norms and rotation.
    full: bool,
    layout: RopeLayout,
}

const PLAIN: Case = Case {
    batch: 1,
    heads: 1,
    dim: 16,
    lengths: Vec::new(),
    full: false,
    layout: RopeLayout::Interleaved,
};

/// The parts of an attention.
struct Drawn {
    segments: Vec<Tensor>,
    norms: [Tensor; 2],
    table: RopeTable,
    /// For a relative bias.
    bias: Tensor,
}

impl Case {
    fn draw(&self, draw: &mut Draw) -> Drawn {
        let width = 3 * self.heads * self.dim;
        let tokens = self.lengths.iter().sum();
        let segments = self.lengths.iter();
        let segments = segments.map(|&length| draw.tensor(&[self.batch, length, width]));
        Drawn {
            segments: segments.map(Tensor::into_coarse).collect(),
            norms: [draw.tensor(&[self.dim]), draw.tensor(&[self.dim])],
            table: RopeTable {
                layout: self.layout,
                ..rope(draw, tokens, self.dim)
            },
            bias: draw.tensor(&[self.heads, 2 * tokens - 1]),
        }
    }

    fn run(&self, device: &dyn Device, drawn: &Drawn, mask: Mask<'_>) -> Vec<Tensor> {
        let [query, key] = &drawn.norms;
        let norm = self.full.then_some(QkNorm {
            query,
            key,
            eps: 1e-6,
        });
        let segments = drawn.segments.iter();
        let segments: Vec<_> = segments.map(|qkv| Segment { qkv, norm }).collect();
        device.attention(&Attention {
            segments: &segments,
            heads: self.heads,
            scale: 1.0 / (self.dim as f32).sqrt(),
            rope: self.full.then_some(&drawn.table),
            mask,
        })
    }
}

/// Heads of FLUX.1 and of text encoders; one as wide as the VAE's; widths and lengths that fill no tile;
/// segments that straddle blocks of keys; several blocks and several tasks.
fn cases() -> Vec<Case> {
    let case = |batch, heads, dim, lengths: &[usize]| Case {
        batch,
        heads,
        dim,
        lengths: lengths.to_vec(),
        ..PLAIN
    };
    vec![
        Case {
            full: true,
            ..case(2, 2, 128, &[37, 300])
        },
        Case {
            full: true,
            layout: RopeLayout::Halves,
            ..case(1, 1, 18, &[65, 5, 70])
        },
        case(1, 3, 64, &[77]),
        case(1, 1, 512, &[130]),
        case(1, 2, 33, &[257]),
        case(3, 1, 16, &[32]),
    ]
}

#[test]
fn coarse_attention_is_near_the_oracle() {
    let mut draw = Draw::new();
    for case in cases() {
        let drawn = case.draw(&mut draw);
        let masks = [Mask::None, Mask::Causal, Mask::RelativeBias(&drawn.bias)];
        for mask in masks {
            let what = format!("{} x {}, {:?}", case.heads, case.dim, case.lengths);
            let run = |device: &dyn Device| case.run(device, &drawn, mask);
            check_families(tile_families(), TOLERANCE, &what, draw.seed, run);
        }
    }
}

/// Without tiles nothing is rounded, and without leave neither.
#[test]
fn attention_rounds_only_with_leave_and_tiles() {
    let mut draw = Draw::new();
    let case = Case {
        heads: 2,
        dim: 32,
        lengths: vec![37, 60],
        full: true,
        ..PLAIN
    };
    let mut drawn = case.draw(&mut draw);
    let expected = case.run(&ReferenceDevice, &drawn, Mask::None);
    let error = |device: &dyn Device, drawn: &Drawn| {
        let found = case.run(device, drawn, Mask::None);
        relative_rms(&found[1], &expected[1])
    };
    for device in f32_families().concat() {
        let error = error(&*device, &drawn);
        assert!(error <= EXACT, "{device:?}: {error:e}");
    }
    let tiles = tile_families().concat();
    for device in &tiles {
        let error = error(&**device, &drawn);
        assert!(error > EXACT, "{device:?}: {error:e}: tiles were not used");
        let coarse = case.run(&**device, &drawn, Mask::None);
        assert!(coarse.iter().all(Tensor::is_coarse));
    }
    // One segment that may not be rounded is enough.
    let fine = Tensor::from_vec(drawn.segments[0].shape(), drawn.segments[0].to_vec());
    drawn.segments[0] = fine;
    for device in tiles {
        let error = error(&*device, &drawn);
        assert!(error <= EXACT, "{device:?}: {error:e}");
    }
}

#[test]
fn coarse_attention_does_not_see_the_batch() {
    let mut draw = Draw::new();
    let case = Case {
        batch: 3,
        heads: 2,
        dim: 24,
        lengths: vec![40, 290],
        ..PLAIN
    };
    let drawn = case.draw(&mut draw);
    for device in tile_families().concat() {
        let together = case.run(&*device, &drawn, Mask::Causal);
        for sample in 0..3 {
            let segments = drawn.segments.iter();
            let alone = Drawn {
                segments: segments.map(|t| only(t, sample).into_coarse()).collect(),
                norms: drawn.norms.clone(),
                table: drawn.table.clone(),
                bias: drawn.bias.clone(),
            };
            let alone = case.run(&*device, &alone, Mask::Causal);
            for (alone, together) in alone.iter().zip(&together) {
                assert_eq!(alone.data(), together.sample(sample), "{device:?}");
            }
        }
    }
}

/// Where the oracle has a NaN or an infinity, so must tiles, and nowhere else.
#[test]
fn coarse_attention_hands_on_what_is_not_finite() {
    let mut draw = Draw::new();
    let case = Case {
        heads: 2,
        lengths: vec![400],
        ..PLAIN
    };
    let clean = case.draw(&mut draw);
    let (query, key, value) = (3, 2 * 16 + 3, 4 * 16 + 3);
    // The first query sees keys at distances from 0 on only; later ones have some before them.
    let mut hidden = clean.bias.clone();
    hidden.data_mut()[399..799].fill(f32::NEG_INFINITY);
    for (what, token, feature, poison, mask) in [
        ("a NaN in a query", 7, query, f32::NAN, Mask::None),
        ("a NaN in a value", 300, value, f32::NAN, Mask::None),
        ("an infinite value", 300, value, f32::INFINITY, Mask::None),
        ("an infinite key", 290, key, f32::INFINITY, Mask::None),
        ("an infinite early key", 0, key, f32::INFINITY, Mask::None),
        ("an infinite query", 7, query, f32::NEG_INFINITY, Mask::None),
        ("a NaN in a later key", 200, key, f32::NAN, Mask::Causal),
        ("only -infinity", 0, query, 0.5, Mask::RelativeBias(&hidden)),
    ] {
        let mut segment = clean.segments[0].clone();
        segment.data_mut()[token * 3 * 2 * 16 + feature] = poison;
        let drawn = Drawn {
            segments: vec![segment],
            norms: clean.norms.clone(),
            table: clean.table.clone(),
            bias: clean.bias.clone(),
        };
        let expected = case.run(&ReferenceDevice, &drawn, mask).remove(0);
        let strange = expected.data().iter().filter(|v| !v.is_finite()).count();
        assert!((1..expected.data().len()).contains(&strange), "{what}");
        for device in tile_families().concat() {
            let found = case.run(&*device, &drawn, mask).remove(0);
            let (mut error, mut power) = (0.0, 0.0);
            for (found, expected) in found.data().iter().zip(expected.data()) {
                if expected.is_finite() && found.is_finite() {
                    error += f64::from(found - expected).powi(2);
                    power += f64::from(*expected).powi(2);
                } else {
                    let same = found == expected || found.is_nan() && expected.is_nan();
                    assert!(same, "{what} on {device:?}: {found} for {expected}");
                }
            }
            let error = (error / power).sqrt();
            assert!(error <= TOLERANCE, "{what} on {device:?}: {error:e}");
        }
    }
}

/// The processor's instructions and their description in Intel's manual: not a bit of difference. Small,
/// so that an emulated processor gets through.
#[test]
fn the_processors_tiles_give_the_bits_of_the_modelled() {
    if !Isa::Amx.is_available() {
        eprintln!("SKIPPED: this machine has no tiles of its own to compare with the model");
        return;
    }
    let mut draw = Draw::new();
    let case = Case {
        heads: 2,
        dim: 40,
        lengths: vec![33, 300],
        full: true,
        ..PLAIN
    };
    let drawn = case.draw(&mut draw);
    let (picture, weight) = (draw.tensor(&[1, 9, 35, 40]), draw.halves(&[37, 40, 3, 3]));
    let geometry = |stride, upsample| ConvGeometry {
        stride,
        padding: Padding::all(1),
        upsample,
    };
    let run = |device: &dyn Device| {
        let mut outputs = case.run(device, &drawn, Mask::None);
        outputs.extend(case.run(device, &drawn, Mask::Causal));
        for geometry in [geometry(1, false), geometry(2, false), geometry(1, true)] {
            let layer = device.pack_conv2d(&weight, None, geometry);
            outputs.push(device.conv2d(&layer, &picture, None));
        }
        outputs
    };
    assert_eq!(
        run(&cpu(Isa::Amx, 2)),
        run(&modelled(2)),
        "seed {}",
        draw.seed
    );
}

/// Convolutions over weights of bf16 round what they read, and nothing else.
#[test]
fn convolutions_round_what_they_read() {
    let mut draw = Draw::new();
    let (picture, weight) = (draw.tensor(&[1, 20, 23, 70]), draw.halves(&[33, 70, 3, 3]));
    let geometry = ConvGeometry {
        stride: 1,
        padding: Padding::all(1),
        upsample: false,
    };
    let run = |device: &dyn Device| {
        let layer = device.pack_conv2d(&weight, None, geometry);
        device.conv2d(&layer, &picture, None)
    };
    let expected = run(&ReferenceDevice);
    for (devices, errors) in [
        (f32_families(), 0.0..EXACT),
        (tile_families(), EXACT..TOLERANCE),
    ] {
        for device in devices.concat() {
            let error = relative_rms(&run(&*device), &expected);
            assert!(errors.contains(&error), "{device:?}: {error:e}");
        }
    }
}
