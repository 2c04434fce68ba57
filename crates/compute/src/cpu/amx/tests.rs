//! Products by tiles against sums in f64, at sizes that do not divide the tiles, and the processor's
//! tiles against the modelled ones.

use std::{ops::Range, sync::Arc};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    TileUnit, TileWeight,
    block::{self, Ahead, BLOCK_ROWS, Sums},
    grid,
    model::ModelTiles,
    run,
    tiles::{Operand, Tiles},
};
use crate::{
    CpuDevice, CpuOptions, MappedFile, PackedPart, StoredMatrix, StoredValues, cpu::product::Caller,
};

/// Rows, depth, columns: one value; a block and its neighbours; several strips, chunks, tiles of rows;
/// two parts of the depth, one of which is no whole step.
const SIZES: [[usize; 3]; 8] = [
    [1, 1, 1],
    [32, 64, 32],
    [33, 65, 31],
    [7, 1025, 129],
    [300, 70, 40],
    [40, 513, 300],
    [3, 3072 + 40, 50],
    [257, 33, 289],
];

struct Matrices {
    /// `(rows, depth)`
    a: Vec<f32>,
    /// `(columns, depth)`
    b: Vec<f32>,
    size: [usize; 3],
}

impl Matrices {
    fn draw(rng: &mut StdRng, size: [usize; 3]) -> Self {
        let [rows, depth, columns] = size;
        let mut values = |count| (0..count).map(|_| rng.random_range(-1.0..1.0)).collect();
        let (a, b) = (values(rows * depth), values(columns * depth));
        Self { a, b, size }
    }

    fn weight(&self) -> StoredMatrix<'_> {
        StoredMatrix::new(self.size[1], [StoredValues::Values(&self.b)])
    }

    /// The product on `unit`; each value is asserted to be finished once, and gets a half added then.
    fn product(&self, unit: TileUnit, threads: usize, b: &TileWeight) -> Vec<f32> {
        let [rows, depth, columns] = self.size;
        let device = device(threads);
        let mut output = vec![f32::NAN; rows * columns];
        let grid = grid(&device, rows, columns);
        run(&device, unit, b, (&mut output, grid), |tile| {
            let top = tile.row;
            let mut seen = vec![0; grid.tile_rows * columns];
            Caller {
                rows: move |first: usize, part: Range<usize>, buffer: &mut [f32]| {
                    for (row, buffer) in buffer.chunks_exact_mut(part.len()).enumerate() {
                        let row = &self.a[(top + first + row) * depth..][part.clone()];
                        buffer.copy_from_slice(row);
                    }
                },
                finish: move |row: usize, part: Range<usize>, values: &mut [f32]| {
                    let seen = &mut seen[row * columns..][part];
                    seen.iter_mut().for_each(|seen| *seen += 1);
                    assert!(seen.iter().all(|&seen| seen == 1), "finished twice");
                    values.iter_mut().for_each(|value| *value += 0.5);
                },
            }
        });
        output
    }

    /// The same in f64, of values as `round` leaves them: the first argument says of which side, the
    /// second the row of that side.
    fn expected(&self, a: impl Fn(&[f32]) -> Vec<f64>, b: impl Fn(&[f32]) -> Vec<f64>) -> Vec<f64> {
        let [_, depth, _] = self.size;
        let a: Vec<Vec<f64>> = self.a.chunks_exact(depth).map(a).collect();
        let b: Vec<Vec<f64>> = self.b.chunks_exact(depth).map(b).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let pairs = a.iter().flat_map(|a| b.iter().map(move |b| (a, b)));
        pairs.map(|(a, b)| dot(a, b) + 0.5).collect()
    }
}

fn device(threads: usize) -> CpuDevice {
    let options = CpuOptions {
        threads,
        ..CpuOptions::default()
    };
    CpuDevice::over_modelled_tiles(options).expect("the best that there is")
}

/// The units that this machine has.
fn units() -> Vec<TileUnit> {
    let mut units = vec![TileUnit::Model];
    if super::is_available() {
        units.push(TileUnit::Hardware);
    } else {
        eprintln!("SKIPPED: this machine has no tiles of its own: only the modelled ones ran");
    }
    units
}

/// The error's root mean square is at most `tolerance`, relative to that of such products: `depth`
/// products of values drawn from -1 to 1, and a half. (Relative to the values themselves, a single one
/// near zero would be nothing but error.)
fn assert_near(found: &[f32], expected: &[f64], depth: usize, tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    let error: f64 = pairs.map(|(f, e)| (f64::from(*f) - e).powi(2)).sum();
    let power = depth as f64 / 9.0 + 0.25;
    let error = (error / (power * found.len() as f64)).sqrt();
    assert!(error <= tolerance, "{what}: {error:e}");
}

fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// To bf16 and back, by arithmetic: eight bits of a mantissa, ties to even.
fn rounded_to_bf16(values: &[f32]) -> Vec<f64> {
    let round = |value: &f32| {
        if *value == 0.0 {
            return 0.0; // which has no exponent
        }
        let unit = 2.0_f64.powi(f64::from(value.abs()).log2().floor() as i32 - 7);
        (f64::from(*value) / unit).round_ties_even() * unit
    };
    values.iter().map(round).collect()
}

fn rounded_to_bytes(values: &[f32]) -> Vec<f64> {
    let largest = values.iter().fold(0.0_f32, |l, v| l.max(v.abs()));
    let scale = f64::from(largest / 127.0);
    let round =
        |value: &f32| f64::from(value * (1.0 / (largest / 127.0))).round_ties_even() * scale;
    values.iter().map(round).collect()
}

#[test]
fn bf16_products_are_exact_on_rounded_operands() {
    let seed = rand::rng().random();
    let mut rng = StdRng::seed_from_u64(seed);
    for size in SIZES {
        let matrices = Matrices::draw(&mut rng, size);
        let weight = TileWeight::bf16(&device(2), &matrices.weight());
        let expected = matrices.expected(rounded_to_bf16, rounded_to_bf16);
        let plain = matrices.expected(widened, widened);
        for unit in units() {
            let found = matrices.product(unit, 1, &weight);
            let what = format!("{size:?} on {unit:?} (seed {seed})");
            assert_near(&found, &expected, size[1], 1e-6, &what);
            assert_near(&found, &plain, size[1], 1e-2, &what);
            let threads = matrices.product(unit, 3, &weight);
            assert_eq!(found, threads, "{size:?} on {unit:?}: threads change bits");
        }
    }
}

#[test]
fn int8_products_are_exact_on_rounded_operands() {
    let seed = rand::rng().random();
    let mut rng = StdRng::seed_from_u64(seed);
    for size in SIZES {
        let matrices = Matrices::draw(&mut rng, size);
        let weight = TileWeight::int8(&device(2), &matrices.weight());
        let expected = matrices.expected(rounded_to_bytes, rounded_to_bytes);
        let plain = matrices.expected(widened, widened);
        for unit in units() {
            let found = matrices.product(unit, 1, &weight);
            let what = format!("{size:?} on {unit:?} (seed {seed})");
            assert_near(&found, &expected, size[1], 1e-6, &what);
            assert_near(&found, &plain, size[1], 2e-2, &what);
        }
    }
}

#[test]
fn bf16_weights_come_back_from_their_image() {
    let matrices = Matrices::draw(&mut StdRng::seed_from_u64(3), [5, 3100, 40]);
    let weight = TileWeight::bf16(&device(1), &matrices.weight());
    let image = weight.image().expect("bf16 has an image");
    let path = std::env::temp_dir().join(format!("tintype-tiles-{}", std::process::id()));
    std::fs::write(&path, image.bytes).expect("the image is written");
    let file = Arc::new(MappedFile::open(&path).expect("the image is mapped"));
    std::fs::remove_file(&path).expect("the name goes, the mapping stays");
    let mut part = PackedPart {
        form: &image.form,
        file,
        bytes: 0..image.bytes.len(),
        in_features: 3100,
        out_features: 40,
    };
    let back = TileWeight::of_image(&part).expect("it is an image");
    let product = |weight| matrices.product(TileUnit::Model, 1, weight);
    assert_eq!(product(&back), product(&weight));
    part.out_features = 80;
    assert!(TileWeight::of_image(&part).is_none(), "of another size");
    (part.out_features, part.form) = (40, "bf16");
    assert!(TileWeight::of_image(&part).is_none(), "of another form");
}

#[test]
fn rows_that_are_not_finite_stay_alone() {
    let mut rng = StdRng::seed_from_u64(7);
    let size = [40, 70, 33];
    let mut matrices = Matrices::draw(&mut rng, size);
    matrices.a[3 * 70 + 69] = f32::NAN;
    matrices.a[35 * 70] = f32::INFINITY;
    for weight in [
        TileWeight::bf16(&device(1), &matrices.weight()),
        TileWeight::int8(&device(1), &matrices.weight()),
    ] {
        let found = matrices.product(TileUnit::Model, 1, &weight);
        for (row, values) in found.chunks_exact(33).enumerate() {
            let finite = !matches!(row, 3 | 35);
            assert!(values.iter().all(|v| v.is_finite() == finite), "row {row}");
        }
    }
}

/// The same panels through two kinds of tiles.
fn block_bits<T: Tiles, O: Operand>(a: &[O], b: &[O], sums: &[O::Sum]) -> Vec<O::Sum> {
    let mut sums = sums.to_vec();
    let mut tiles = T::configure();
    let target = Sums {
        values: &mut sums,
        stride: 48,
        accumulate: true,
    };
    block::product(&mut tiles, a, b, Ahead::of(&[]), target);
    sums
}

/// Bits of everything: numbers of all sizes, denormals; nothing that is not finite, whose bits differ.
fn any_bf16(rng: &mut StdRng) -> u16 {
    let exponent: u16 = rng.random_range(0..=150);
    rng.random::<u16>() & 0x807f | exponent << 7
}

#[test]
fn the_processors_tiles_are_as_modelled() {
    if !super::is_available() {
        eprintln!("SKIPPED: this machine has no tiles of its own to compare with the model");
        return;
    }
    #[cfg(target_arch = "x86_64")]
    {
        use super::hardware::HardwareTiles;
        let mut rng = StdRng::seed_from_u64(rand::rng().random());
        let sums = BLOCK_ROWS * 48;
        let mut bf16 = |_| any_bf16(&mut rng);
        let [a, b] = [0; 2].map(|_: i32| (0..3 * 32 * 32).map(&mut bf16).collect::<Vec<u16>>());
        let c: Vec<f32> = (0..sums)
            .map(|i| f32::from_bits(u32::from(bf16(i)) << 16))
            .collect();
        let [real, model] = [
            block_bits::<HardwareTiles, _>(&a, &b, &c),
            block_bits::<ModelTiles, _>(&a, &b, &c),
        ];
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(real), bits(model));
        let [a, b] =
            [0; 2].map(|_: i32| (0..3 * 32 * 64).map(|_| rng.random()).collect::<Vec<i8>>());
        let c: Vec<i32> = (0..sums).map(|_| rng.random()).collect();
        assert_eq!(
            block_bits::<HardwareTiles, _>(&a, &b, &c),
            block_bits::<ModelTiles, _>(&a, &b, &c)
        );
    }
}

/// The text of the tiles' kernels is in the program, whether or not the machine can run it.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn the_kernels_are_compiled_everywhere() {
    // As `objdump -d` shows them, for the registers that `block::product` names.
    let instructions: [(&str, &[u8]); 4] = [
        (
            "tdpbf16ps tmm0, tmm4, tmm6",
            &[0xc4, 0xe2, 0x4a, 0x5c, 0xc4],
        ),
        ("tdpbssd tmm0, tmm4, tmm6", &[0xc4, 0xe2, 0x4b, 0x5e, 0xc4]),
        (
            "tdpbf16ps tmm3, tmm5, tmm7",
            &[0xc4, 0xe2, 0x42, 0x5c, 0xdd],
        ),
        ("tilerelease", &[0xc4, 0xe2, 0x78, 0x49, 0xc0]),
    ];
    // Named, so that it is compiled.
    let kernel = block_bits::<super::hardware::HardwareTiles, u16>;
    assert_ne!(kernel as *const () as usize, 0);
    let path = std::env::current_exe().expect("a test has a program");
    let program = std::fs::read(path).expect("which can be read");
    for (name, bytes) in instructions {
        let found = program.windows(bytes.len()).any(|window| window == bytes);
        assert!(found, "{name} is not in the program");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn held_tiles_are_released_even_after_a_panic() {
    use super::hardware::{HardwareTiles, palette};
    if !super::is_available() {
        eprintln!("SKIPPED: this machine has no tiles of its own to hold");
        return;
    }
    let tiles = HardwareTiles::configure();
    assert_eq!(palette(), 1);
    let twice = std::panic::catch_unwind(HardwareTiles::configure);
    assert!(twice.is_err(), "tiles were held twice");
    drop(tiles);
    assert_eq!(palette(), 0);
    let broken = std::panic::catch_unwind(|| {
        let _tiles = HardwareTiles::configure();
        panic!("in the middle of a product");
    });
    assert!(broken.is_err());
    assert_eq!(palette(), 0);
    // Inside a device, threads give them back, too.
    let matrices = Matrices::draw(&mut StdRng::seed_from_u64(1), [40, 40, 40]);
    let weight = TileWeight::bf16(&device(1), &matrices.weight());
    matrices.product(TileUnit::Hardware, 1, &weight);
    assert_eq!(palette(), 0);
}
