//! Convolutions and group norms of every device against the oracle: odd sizes, single pixels, channels
//! that fill no vector, strips against the whole, and values that are not finite.

use std::{ops::Range, slice::from_ref, sync::Arc};

use tintype_compute::{
    Activation, Conv2d, ConvGeometry, Convolution, Device, GroupSums, Normalisation, Padding,
    ReferenceDevice, Strip, Target, Tensor,
};

use super::{Draw, f32_families, families, relative_rms, tile_families};

/// f32 carries 6e-8 a rounding. Sums of up to two thousand products in another order than the oracle's
/// stay ten times below this; the transformations of Winograd's filtering, which multiply roundings by
/// about five, half of it.
const TOLERANCE: f64 = 2e-6;

/// Convolutions whose input a group norm has just scaled: the norm's own rounding comes on top.
const NORMALISED_TOLERANCE: f64 = 4e-6;

/// The same where tiles round what the norm made to bf16: 2^-9 / sqrt(3) of each product at most. Where a
/// few channels' products partly cancel, their roundings do not: some times that of the sum.
const ROUNDED_TOLERANCE: f64 = 5e-3;

const SAME: ConvGeometry = ConvGeometry {
    stride: 1,
    padding: Padding::all(1),
    upsample: false,
};

const DOUBLE: ConvGeometry = ConvGeometry {
    upsample: true,
    ..SAME
};

const HALVE: ConvGeometry = ConvGeometry {
    stride: 2,
    padding: Padding {
        top: 0,
        bottom: 1,
        left: 0,
        right: 1,
    },
    upsample: false,
};

const POINT: ConvGeometry = ConvGeometry {
    stride: 1,
    padding: Padding::all(0),
    upsample: false,
};

/// Kernel sides and the ways they walk.
const WALKS: [(usize, ConvGeometry); 6] = [
    (1, POINT),
    (1, ConvGeometry { stride: 2, ..POINT }),
    (3, SAME),
    (3, DOUBLE),
    (3, HALVE),
    (
        3,
        ConvGeometry {
            padding: Padding {
                top: 2,
                bottom: 0,
                left: 0,
                right: 3,
            },
            ..SAME
        },
    ),
];

/// One device for each instruction set and number of threads; those with tiles only if all values are
/// exact in bf16, since they compute everything else as the others do.
fn devices(halves: bool) -> Vec<Arc<dyn Device>> {
    if halves {
        families().concat()
    } else {
        f32_families().concat()
    }
}

/// A layer and what it is run on.
struct Case {
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    geometry: ConvGeometry,
}

impl Case {
    fn draw(
        draw: &mut Draw,
        shape: [usize; 4],
        outputs: usize,
        walk: (usize, ConvGeometry),
    ) -> Self {
        let (kernel, geometry) = walk;
        Self {
            input: draw.tensor(&shape),
            weight: draw.tensor(&[outputs, shape[3], kernel, kernel]),
            bias: draw.tensor(&[outputs]),
            geometry,
        }
    }

    /// The same with the input and the weight cut to what bf16 holds.
    fn halved(mut self) -> Self {
        for tensor in [&mut self.input, &mut self.weight] {
            let values = tensor.data_mut().iter_mut();
            values.for_each(|value| *value = super::upper_half(*value));
        }
        self
    }

    /// As drawn, and halved.
    fn both(self) -> [(bool, Self); 2] {
        let halved = Self {
            input: self.input.clone(),
            weight: self.weight.clone(),
            bias: self.bias.clone(),
            ..self
        };
        [(false, self), (true, halved.halved())]
    }

    fn layer(&self, device: &dyn Device) -> Conv2d {
        device.pack_conv2d(&self.weight, Some(&self.bias), self.geometry)
    }

    fn run(&self, device: &dyn Device, residual: Option<&Tensor>) -> Tensor {
        device.conv2d(&self.layer(device), &self.input, residual)
    }
}

fn check_case(
    case: &Case,
    residual: Option<&Tensor>,
    devices: &[Arc<dyn Device>],
    what: &str,
    seed: u64,
) {
    let expected = case.run(&ReferenceDevice, residual);
    for device in devices {
        let error = relative_rms(&case.run(&**device, residual), &expected);
        assert!(
            error <= TOLERANCE,
            "{what} on {device:?}: {error:e} (seed {seed})"
        );
    }
}

#[test]
fn convolutions_of_every_walk_and_odd_size() {
    let mut draw = Draw::new();
    for walk in WALKS {
        for (shape, outputs) in [
            ([1, 1, 1, 3], 5),
            ([1, 2, 1, 16], 3),
            ([1, 1, 9, 8], 16),
            ([2, 17, 9, 8], 17),
            ([1, 40, 26, 20], 33),
            ([1, 13, 70, 16], 3),
            ([1, 9, 11, 130], 140),
        ] {
            if walk.1 == HALVE && shape[1].min(shape[2]) == 1 {
                continue; // Smaller than the kernel.
            }
            let case = Case::draw(&mut draw, shape, outputs, walk);
            let (height, width) = walk.1.output(shape[1], shape[2], walk.0);
            let residual = draw.tensor(&[shape[0], height, width, outputs]);
            for (halves, case) in case.both() {
                for residual in [None, Some(&residual)] {
                    let what = format!("{walk:?} of {shape:?} to {outputs}");
                    check_case(&case, residual, &devices(halves), &what, draw.seed);
                }
            }
        }
    }
}

/// The depth of the large levels of a real VAE, where roundings add up most.
#[test]
fn convolutions_of_many_channels() {
    let mut draw = Draw::new();
    for geometry in [SAME, DOUBLE] {
        let case = Case::draw(&mut draw, [1, 10, 9, 512], 24, (3, geometry));
        for (halves, case) in case.both() {
            check_case(&case, None, &devices(halves), "512 channels", draw.seed);
        }
    }
}

/// Computes the whole output strip by strip, each from no more than the rows that it needs, into a
/// target full of NaN.
fn by_strips(
    device: &dyn Device,
    case: &Case,
    norm: Option<&Normalisation>,
    strips: &[Range<usize>],
) -> Tensor {
    let layer = case.layer(device);
    let [batch, height, width, channels] = case.input.rank4();
    let shape = layer.output_shape(&case.input);
    let mut output = Tensor::from_vec(shape, vec![f32::NAN; shape.iter().product()]);
    for rows in strips {
        let needed = layer.input_rows(rows, height);
        let mut held = Vec::new();
        for sample in 0..batch {
            let row = width * channels;
            held.extend_from_slice(
                &case.input.sample(sample)[needed.start * row..needed.end * row],
            );
        }
        let held = Tensor::from_vec([batch, needed.len(), width, channels], held);
        let convolution = Convolution {
            layer: &layer,
            input: Strip {
                rows: &held,
                first_row: needed.start,
                height,
            },
            norm,
            rows: rows.clone(),
        };
        let target = Target {
            tensor: &mut output,
            first_row: 0,
            add: false,
        };
        device.convolve(&convolution, target);
    }
    output
}

#[test]
fn strips_give_the_bits_of_the_whole() {
    let mut draw = Draw::new();
    for walk in WALKS {
        let case = Case::draw(&mut draw, [2, 39, 21, 12], 18, walk);
        let (height, _) = walk.1.output(39, 21, walk.0);
        let norm = draw.norm(3, 12);
        let mut sums = GroupSums::new(2, 3);
        ReferenceDevice.add_group_sums(&mut sums, &case.input);
        let norm = sums.normalisation(&norm, Some(Activation::Silu));
        for (halves, case) in case.both() {
            for (device, norm) in devices(halves)
                .into_iter()
                .flat_map(|device| [(device.clone(), None), (device, Some(&norm))])
            {
                let whole = by_strips(&*device, &case, norm, from_ref(&(0..height)));
                let strips = [0..4, 4..4, 4..12, 12..height];
                let strips = by_strips(&*device, &case, norm, &strips);
                assert_eq!(whole, strips, "{walk:?} on {device:?} (seed {})", draw.seed);
            }
        }
    }
}

#[test]
fn a_norm_in_the_convolution_is_the_norm_before_it() {
    let mut draw = Draw::new();
    let f32_devices = f32_families().concat();
    let tiled = tile_families().concat();
    let f32_devices = f32_devices.iter().map(|d| (d, NORMALISED_TOLERANCE));
    let tiled = tiled.iter().map(|d| (d, ROUNDED_TOLERANCE));
    let devices: Vec<_> = f32_devices.chain(tiled).collect();
    for (walk, channels) in WALKS.into_iter().zip([4, 16, 24, 30, 6, 40]) {
        let case = Case::draw(&mut draw, [2, 12, 19, channels], 10, walk).halved();
        let norm = draw.norm(2, channels);
        let (height, _) = walk.1.output(12, 19, walk.0);
        for activation in [None, Some(Activation::Silu), Some(Activation::Relu)] {
            let before = ReferenceDevice.group_norm(&case.input, &norm, activation);
            let expected = Case {
                input: before,
                weight: case.weight.clone(),
                bias: case.bias.clone(),
                ..case
            }
            .run(&ReferenceDevice, None);
            for &(device, tolerance) in &devices {
                let mut sums = GroupSums::new(2, 2);
                device.add_group_sums(&mut sums, &case.input);
                let norm = sums.normalisation(&norm, activation);
                let found = by_strips(&**device, &case, Some(&norm), from_ref(&(0..height)));
                let error = relative_rms(&found, &expected);
                assert!(
                    error <= tolerance,
                    "{walk:?} {activation:?} on {device:?}: {error:e} (seed {})",
                    draw.seed
                );
            }
        }
    }
}

#[test]
fn sums_of_strips_are_those_of_the_whole() {
    let mut draw = Draw::new();
    let picture = draw.tensor(&[1, 23, 11, 24]);
    let norm = draw.norm(4, 24);
    for device in devices(false) {
        let mut whole = GroupSums::new(1, 4);
        device.add_group_sums(&mut whole, &picture);
        let mut strips = GroupSums::new(1, 4);
        for rows in [0..1, 1..9, 9..23] {
            let values = &picture.data()[rows.start * 11 * 24..rows.end * 11 * 24];
            let strip = Tensor::from_vec([1, rows.len(), 11, 24], values.to_vec());
            device.add_group_sums(&mut strips, &strip);
        }
        let [whole, strips] = [whole, strips].map(|sums| sums.normalisation(&norm, None));
        assert_eq!(format!("{whole:?}"), format!("{strips:?}"), "{device:?}");
    }
}

/// What is not finite must reach the outputs under whose window it lies, as it is, and no others.
#[test]
fn what_is_not_finite_reaches_its_window_and_nothing_else() {
    let mut draw = Draw::new();
    for walk in WALKS {
        for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut case = Case::draw(&mut draw, [1, 14, 18, 8], 9, walk).halved();
            let mut at = |y: usize, x: usize, c: usize| {
                case.input.data_mut()[(y * 18 + x) * 8 + c] = poison;
            };
            at(5, 6, 3);
            at(13, 17, 0);
            let expected = case.run(&ReferenceDevice, None);
            for device in devices(true) {
                let found = case.run(&*device, None);
                for (i, (found, expected)) in found.data().iter().zip(expected.data()).enumerate() {
                    let same = match expected.is_finite() {
                        // A leak would be not finite or huge; roundings are the other tests.
                        true => (found - expected).abs() <= 1e-4 * expected.abs().max(1.0),
                        false => {
                            found.to_bits() == expected.to_bits()
                                || expected.is_nan() && found.is_nan()
                        }
                    };
                    assert!(
                        same,
                        "{walk:?} with {poison} on {device:?}: value {i} is {found}, not {expected} \
                         (seed {})",
                        draw.seed
                    );
                }
            }
        }
    }
}

#[test]
fn pictures_see_neither_the_batch_nor_the_threads() {
    let mut draw = Draw::new();
    for walk in WALKS {
        let case = Case::draw(&mut draw, [3, 37, 50, 12], 20, walk).halved();
        let norm = draw.norm(4, 20);
        let run = |device: &dyn Device, input: &Tensor| {
            let y = device.conv2d(&case.layer(device), input, None);
            device.group_norm(&y, &norm, Some(Activation::Silu))
        };
        for pair in devices(true).chunks_exact(2) {
            let together = run(&*pair[0], &case.input);
            assert_eq!(together, run(&*pair[1], &case.input), "{pair:?}");
            for sample in 0..3 {
                let alone = case.input.sample(sample).to_vec();
                let alone = run(&*pair[0], &Tensor::from_vec([1, 37, 50, 12], alone));
                assert_eq!(alone.data(), together.sample(sample), "{pair:?}");
            }
        }
    }
}
