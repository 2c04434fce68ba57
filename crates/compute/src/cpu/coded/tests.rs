//! Panels against the plain decoding of the same bytes.

use std::sync::Arc;

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{Coded, Plan};
use crate::{
    CpuDevice, CpuOptions, Device, Encoding, Epilogue, Isa, MappedFile, PackedPart, StoredMatrix,
    StoredValues, Tensor, WeightFormat,
};

/// Rows of a part: no whole panel of any instruction set.
const ROWS: usize = 45;

fn device(isa: Isa, weights: WeightFormat) -> CpuDevice {
    let options = CpuOptions {
        threads: 2,
        isa: Some(isa),
        weights,
        ..CpuOptions::default()
    };
    CpuDevice::with_options(options).expect("the machine has it")
}

/// Values of a row: a whole chunk, and a part of one where blocks allow it.
fn depth(encoding: Encoding) -> usize {
    match encoding.block_values() {
        1 => 259,
        32 => 320,
        _ => 512,
    }
}

fn random(rng: &mut StdRng, encoding: Encoding, rows: usize) -> Vec<u8> {
    let size = encoding.size_bytes(rows * depth(encoding));
    let mut bytes = vec![0; size.expect("whole blocks")];
    rng.fill(&mut bytes[..]);
    bytes
}

/// Random blocks whose scales are small numbers, so that sums stay finite.
fn tame(rng: &mut StdRng, encoding: Encoding, rows: usize) -> Vec<u8> {
    let mut bytes = random(rng, encoding, rows);
    let size = encoding.block_bytes();
    let scales: &[usize] = match encoding {
        Encoding::F32 => &[2],
        Encoding::F16 | Encoding::Bf16 | Encoding::Q4_0 | Encoding::Q5_0 | Encoding::Q8_0 => &[0],
        Encoding::Q4_1 | Encoding::Q5_1 | Encoding::Q4K | Encoding::Q5K => &[0, 2],
        Encoding::Q2K => &[80, 82],
        Encoding::Q3K => &[108],
        Encoding::Q6K => &[208],
        Encoding::F8E4m3 | Encoding::F8E5m2 => {
            for byte in &mut bytes {
                *byte &= 0xbf;
            }
            &[]
        }
    };
    for block in bytes.chunks_exact_mut(size) {
        for &at in scales {
            block[at + 1] = block[at + 1] & 0x83 | 0x2c;
        }
    }
    bytes
}

fn scaled(encoding: Encoding, bytes: &[u8], scale: f32) -> StoredValues<'_> {
    StoredValues::Encoded {
        encoding,
        bytes,
        scale,
    }
}

#[test]
fn panels_hold_what_the_file_holds_to_the_bit() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for isa in Isa::under_test() {
        let device = device(isa, WeightFormat::Exact);
        let width = device.kernels.columns;
        for encoding in Encoding::ALL {
            let bytes = random(&mut rng, encoding, ROWS);
            for (scale, rounded) in [(1.0, false), (0.37, true)] {
                let values = scaled(encoding, &bytes, scale);
                let mut matrix = StoredMatrix::new(depth(encoding), [values]);
                if rounded {
                    matrix = matrix.rounded_to_bf16();
                }
                let Some(coded) = Coded::new(&device, &matrix) else {
                    let wide = [Encoding::F32, Encoding::Bf16, Encoding::F16];
                    assert!(wide.contains(&encoding), "{encoding}");
                    continue;
                };
                for chunk in coded.plan.chunks() {
                    for panel in 0..ROWS.div_ceil(width) {
                        let mut found = vec![f32::NAN; chunk.len() * width];
                        coded.widen(device.kernels, &chunk, panel, &mut found);
                        for row in panel * width..ROWS.min((panel + 1) * width) {
                            let mut expected = vec![0.0; chunk.len()];
                            matrix.read(row, chunk.clone(), &mut expected);
                            for (k, expected) in expected.into_iter().enumerate() {
                                let found = found[k * width + row % width];
                                let same = found.to_bits() == expected.to_bits()
                                    || found.is_nan() && expected.is_nan();
                                assert!(same, "{isa} {encoding}: {found}, not {expected}");
                            }
                        }
                    }
                }
            }
        }
    }
}

/// One input row for each feature, that finds the weight's column.
fn identity(size: usize) -> Tensor {
    let one = |i: usize| f32::from(u8::from(i / size == i % size));
    Tensor::from_vec([1, size, size], (0..size * size).map(one).collect())
}

#[test]
fn products_are_those_of_the_decoded_weight_whatever_the_rows() {
    let mut rng = StdRng::seed_from_u64(11);
    for isa in Isa::under_test() {
        let (device, bf16) = (
            device(isa, WeightFormat::Exact),
            device(isa, WeightFormat::Bf16),
        );
        for encoding in Encoding::ALL {
            let bytes = tame(&mut rng, encoding, ROWS);
            let matrix = StoredMatrix::new(depth(encoding), [scaled(encoding, &bytes, 0.5)]);
            let layer = device.pack_stored_linear(&matrix, None);
            let (weight, depth) = (matrix.to_tensor(), depth(encoding));
            let all = device.linear(&layer, &identity(depth), Epilogue::None);
            for (k, outputs) in all.data().chunks_exact(ROWS).enumerate() {
                for (row, output) in outputs.iter().enumerate() {
                    assert_eq!(*output, weight.data()[row * depth + k], "{isa} {encoding}");
                }
            }
            // Seven rows go another way than forty; the same bits come out.
            let input = (0..40 * depth).map(|_| rng.random_range(-1.0..1.0));
            let input = Tensor::from_vec([1, 40, depth], input.collect());
            let few = Tensor::from_vec([1, 7, depth], input.data()[..7 * depth].to_vec());
            let many = device.linear(&layer, &input, Epilogue::None);
            let few = device.linear(&layer, &few, Epilogue::None);
            assert_eq!(many.data()[..7 * ROWS], *few.data(), "{isa} {encoding}");
            // Asked for bf16, a device rounds.
            let rounded = bf16.pack_stored_linear(&matrix, None);
            let rounded = bf16.linear(&rounded, &identity(depth), Epilogue::None);
            let expected = matrix.clone().rounded_to_bf16().to_tensor();
            assert_eq!(rounded.data()[0], expected.data()[0], "{isa} {encoding}");
        }
    }
}

/// Few rows are multiplied as the bytes are read, many after they were widened: infinite scales, NaN and
/// what follows from them included.
#[test]
fn any_bytes_give_the_same_bits_for_few_rows_and_for_many() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for isa in Isa::under_test() {
        let device = device(isa, WeightFormat::Exact);
        for encoding in Encoding::ALL {
            for (wild, scale) in [(false, 1.0), (true, 1.0), (true, 0.37), (true, 3e36)] {
                let bytes = match wild {
                    true => random(&mut rng, encoding, ROWS),
                    false => tame(&mut rng, encoding, ROWS),
                };
                let matrix = StoredMatrix::new(depth(encoding), [scaled(encoding, &bytes, scale)]);
                let layer = device.pack_stored_linear(&matrix, None);
                let depth = depth(encoding);
                let input = (0..9 * depth).map(|_| rng.random_range(-1.0..1.0));
                let input: Vec<f32> = input.collect();
                let product = |rows: usize| {
                    let x = Tensor::from_vec([1, rows, depth], input[..rows * depth].to_vec());
                    device.linear(&layer, &x, Epilogue::None).to_vec()
                };
                let many = product(9);
                for rows in 1..=8 {
                    for (found, expected) in product(rows).iter().zip(&many) {
                        let same = found.to_bits() == expected.to_bits()
                            || found.is_nan() && expected.is_nan();
                        assert!(
                            same,
                            "{isa} {encoding}, {rows} rows: {found}, not {expected}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn parts_of_several_encodings_are_one_layer() {
    let mut rng = StdRng::seed_from_u64(12);
    for isa in Isa::under_test() {
        let device = device(isa, WeightFormat::Exact);
        let width = device.kernels.columns;
        let encodings = [Encoding::Q4K, Encoding::Q6K, Encoding::Q6K];
        let parts = encodings.map(|encoding| (encoding, tame(&mut rng, encoding, 2 * width)));
        let join = |parts: &[(Encoding, Vec<u8>)]| {
            let values = parts
                .iter()
                .map(|(e, bytes)| scaled(*e, &bytes[..bytes.len()], 1.0));
            Plan::of(&StoredMatrix::new(512, values), width, |_| false)
                .map(|plan| plan.segments.len())
        };
        assert_eq!(
            join(&parts),
            Some(2),
            "neighbours of one encoding are one segment"
        );
        let odd = tame(&mut rng, Encoding::Q4K, 3);
        let odd = [vec![(Encoding::Q4K, odd)], parts.to_vec()].concat();
        assert_eq!(join(&odd), None, "an encoding ends within a panel");

        let values: Vec<_> = parts
            .iter()
            .map(|(e, bytes)| scaled(*e, bytes, 1.0))
            .collect();
        let matrix = StoredMatrix::new(512, values);
        let layer = device.pack_stored_linear(&matrix, None);
        let found = device.linear(&layer, &identity(512), Epilogue::None);
        let weight = matrix.to_tensor();
        for (i, output) in found.data().iter().enumerate() {
            let (k, row) = (i / matrix.rows(), i % matrix.rows());
            assert_eq!(*output, weight.data()[row * 512 + k], "{isa}");
        }
    }
}

#[test]
fn a_layer_takes_about_the_bytes_of_its_file_and_comes_back_from_its_image() {
    let mut rng = StdRng::seed_from_u64(13);
    for isa in Isa::under_test() {
        let device = device(isa, WeightFormat::Exact);
        for encoding in Encoding::ALL {
            if device.tiles.is_some() && encoding.block_bytes() >= 2 * encoding.block_values() {
                continue; // Tiles are padded in their own way: see `tests/packed_bytes.rs`.
            }
            let rows = 4 * device.kernels.columns;
            let bytes = tame(&mut rng, encoding, rows);
            let matrix = StoredMatrix::new(depth(encoding), [scaled(encoding, &bytes, 1.0)]);
            let layer = device.pack_stored_linear(&matrix, None);
            let image = device.linear_image(&layer).expect("has an image");
            assert_eq!(
                device.linear_bytes(&matrix),
                image.bytes.len(),
                "{encoding}"
            );
            // Six-bit scales are kept in bytes.
            let most = match encoding {
                Encoding::Q3K => bytes.len() * 104 / 100,
                Encoding::Q4K | Encoding::Q5K => bytes.len() * 103 / 100,
                _ => bytes.len(),
            };
            assert!(
                image.bytes.len() <= most,
                "{encoding}: {}",
                image.bytes.len()
            );

            let folder = std::env::temp_dir();
            let path = folder.join(format!("tintype-coded-{}-{encoding}", std::process::id()));
            std::fs::write(&path, image.bytes).expect("the image is written");
            let file = Arc::new(MappedFile::open(&path).expect("the image is mapped"));
            std::fs::remove_file(&path).expect("the name goes, the mapping stays");
            let mut part = PackedPart {
                form: &image.form,
                file,
                bytes: 0..image.bytes.len(),
                in_features: matrix.columns(),
                out_features: rows,
            };
            let back = device.linear_of_image(&part, None).expect("it is an image");
            let outputs = [&back, &layer].map(|layer| {
                let output = device.linear(layer, &identity(matrix.columns()), Epilogue::None);
                output.to_vec()
            });
            assert_eq!(outputs[0], outputs[1], "{isa} {encoding}");
            part.out_features += device.kernels.columns;
            assert!(
                device.linear_of_image(&part, None).is_none(),
                "of another size"
            );
            part.out_features = rows;
            for form in [
                "coded",
                "coded; 4 Q9_K 3f800000",
                "coded; 99 Q4_0 3f800000",
                "coded; 4",
            ] {
                part.form = form;
                assert!(device.linear_of_image(&part, None).is_none(), "{form}");
            }
        }
    }
}

#[test]
fn a_device_with_tiles_keeps_coded_weights_exact_unless_it_is_asked_to_round() {
    let mut rng = StdRng::seed_from_u64(14);
    for encoding in [Encoding::F8E4m3, Encoding::Q4K] {
        let bytes = tame(&mut rng, encoding, ROWS);
        let matrix = StoredMatrix::new(depth(encoding), [scaled(encoding, &bytes, 1.0)]);
        let input = identity(depth(encoding));
        let output = |device: CpuDevice| {
            let layer = device.pack_stored_linear(&matrix, None);
            device.linear(&layer, &input, Epilogue::None).to_vec()
        };
        let tiles = |weights| {
            let options = CpuOptions {
                threads: 1,
                weights,
                ..CpuOptions::default()
            };
            CpuDevice::over_modelled_tiles(options).expect("software runs anywhere")
        };
        let plain = output(device(Isa::best(), WeightFormat::Exact));
        assert_eq!(output(tiles(WeightFormat::Exact)), plain, "{encoding}");
        // Eight-bit floats without a scale are bf16 anyway.
        let rounded = output(tiles(WeightFormat::Bf16));
        assert_eq!(rounded == plain, encoding == Encoding::F8E4m3, "{encoding}");
        let largest = plain
            .iter()
            .fold(0.0_f32, |most, value| most.max(value.abs()));
        for (rounded, exact) in rounded.iter().zip(&plain) {
            assert!((rounded - exact).abs() <= largest / 256.0, "{encoding}");
        }
    }
}
