//! Every kernel that this machine can run against sums in f64.

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{Block, Isa, Kernels};

/// The tables under test, and a loud word about those that are not.
fn tables() -> Vec<&'static Kernels> {
    for isa in Isa::ALL {
        if !isa.is_available() {
            eprintln!("SKIPPED: this machine cannot run the {isa} kernels");
        }
    }
    Isa::available().into_iter().map(Kernels::of).collect()
}

fn values(rng: &mut StdRng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

#[test]
fn blocks_are_sums_of_products() {
    let seed = rand::rng().random();
    let mut rng = StdRng::seed_from_u64(seed);
    for kernels in tables() {
        let (rows, columns, stride) = (kernels.rows, kernels.columns, kernels.columns + 3);
        for depth in [0, 1, 2, 7, 64, 257] {
            let (a, b) = (
                values(&mut rng, depth * rows),
                values(&mut rng, depth * columns),
            );
            let mut c = vec![f32::NAN; rows * stride];
            for (pass, accumulate) in [false, true].into_iter().enumerate() {
                let block = Block {
                    values: &mut c[..(rows - 1) * stride + columns],
                    stride,
                    accumulate,
                };
                kernels.product_into(&a, &b, block);
                for (i, found) in c.iter().enumerate() {
                    let (row, column) = (i / stride, i % stride);
                    if column >= columns {
                        assert!(found.is_nan(), "{}: wrote beside the block", kernels.isa);
                        continue;
                    }
                    let sum: f64 = (0..depth)
                        .map(|k| f64::from(a[k * rows + row]) * f64::from(b[k * columns + column]))
                        .sum();
                    let error = (f64::from(*found) - sum * (pass + 1) as f64).abs();
                    assert!(
                        error <= 2e-6 * (depth + 1) as f64,
                        "{}: depth {depth}, off by {error:e} (seed {seed})",
                        kernels.isa
                    );
                }
            }
        }
    }
}

#[test]
fn what_is_not_finite_reaches_its_row_and_column_and_no_other() {
    for kernels in tables() {
        let (rows, columns, depth) = (kernels.rows, kernels.columns, 9);
        let mut a = vec![1.0; depth * rows];
        let mut b = vec![1.0; depth * columns];
        a[4 * rows + 1] = f32::NAN;
        b[7 * columns + 2] = f32::INFINITY;
        let mut c = vec![f32::NAN; rows * columns];
        let block = Block {
            values: &mut c,
            stride: columns,
            accumulate: false,
        };
        kernels.product_into(&a, &b, block);
        for (i, found) in c.iter().enumerate() {
            match (i / columns, i % columns) {
                (1, _) => assert!(found.is_nan(), "{}", kernels.isa),
                (_, 2) => assert_eq!(*found, f32::INFINITY, "{}", kernels.isa),
                _ => assert_eq!(*found, 9.0, "{}", kernels.isa),
            }
        }
    }
}
