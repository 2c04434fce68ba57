//! Every kernel that this machine can run against sums in f64.

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{Block, DEPTH, IntegerPanels, Isa, Kernels, Quantised, Source, THIN_ROWS, Target};

/// Depths of products; Miri needs minutes for the great ones.
const DEPTHS: &[usize] = if cfg!(miri) {
    &[0, 1, 7]
} else {
    &[0, 1, 2, 5, 7, 64, 131, 257]
};

/// The tables under test, and a loud word about those that are not.
fn tables() -> Vec<&'static Kernels> {
    for isa in Isa::ALL {
        if !isa.is_available() {
            eprintln!("SKIPPED: this machine cannot run the {isa} kernels");
        }
    }
    let mut tables: Vec<_> = Isa::under_test().into_iter().map(Kernels::of).collect();
    #[cfg(target_arch = "x86_64")]
    tables.extend(with_and_without_vnni());
    tables
}

/// Tables that [`Kernels::of`] does not give: those without VNNI where the processor has it, and AVX2's
/// with it on one that has AVX-512, too.
#[cfg(target_arch = "x86_64")]
fn with_and_without_vnni() -> Vec<&'static Kernels> {
    use super::{avx2, avx512, isa};
    let mut others = Vec::new();
    let pairs = [
        (isa::has_avx_vnni(), &avx2::KERNELS, &avx2::KERNELS_VNNI),
        (
            isa::has_avx512_vnni(),
            &avx512::KERNELS,
            &avx512::KERNELS_VNNI,
        ),
    ];
    for (has_vnni, plain, vnni) in pairs {
        if !has_vnni {
            eprintln!("SKIPPED: this machine has no VNNI for {}", plain.isa);
            continue;
        }
        // The emulated machine leaves the rest of AVX2 to others.
        let given = Isa::under_test().contains(&plain.isa);
        others.push(if given { plain } else { vnni });
    }
    others
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
        for &depth in DEPTHS {
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

/// The block product, as the others must give it to the bit: `[rows][panels * columns]`.
fn expected(kernels: &Kernels, rows: &[f32], b: &[f32], depth: usize, start: f32) -> Vec<f32> {
    let (height, width) = (rows.len() / depth, kernels.columns);
    let panels = b.len() / (depth * width);
    let mut c = vec![f32::NAN; height * panels * width];
    for row in 0..height {
        // The row alone in a block of copies.
        let a: Vec<f32> = (0..depth * kernels.rows)
            .map(|i| rows[row * depth + i / kernels.rows])
            .collect();
        for panel in 0..panels {
            let mut block = vec![start; kernels.rows * width];
            let b = &b[panel * depth * width..][..depth * width];
            let target = Block {
                values: &mut block,
                stride: width,
                accumulate: true,
            };
            kernels.product_into(&a, b, target);
            c[(row * panels + panel) * width..][..width].copy_from_slice(&block[..width]);
        }
    }
    c
}

#[test]
fn products_of_rows_and_thin_products_agree_with_blocks_to_the_bit() {
    let mut rng = StdRng::seed_from_u64(rand::rng().random());
    for kernels in tables() {
        for &depth in &DEPTHS[1..] {
            let width = kernels.columns;
            let rows = values(&mut rng, kernels.rows * depth);
            let panel = values(&mut rng, depth * width);
            let mut c = vec![0.25; kernels.rows * (width + 1)];
            let a = Source {
                start: rows.as_ptr(),
                stride: depth,
            };
            let target = Target {
                start: c.as_mut_ptr(),
                stride: width + 1,
                accumulate: true,
            };
            // SAFETY: the vectors were made for these sizes.
            unsafe { kernels.product_rows(depth, a, panel.as_ptr(), target) };
            let block = expected(kernels, &rows, &panel, depth, 0.25);
            for (found, expected) in c.chunks(width + 1).zip(block.chunks(width)) {
                assert_eq!(&found[..width], expected, "{}: product_rows", kernels.isa);
                assert_eq!(found[width], 0.25, "{}: beside the block", kernels.isa);
            }
        }
    }
}

#[test]
fn thin_products_read_f32_and_bf16_and_leave_the_rest_alone() {
    let mut rng = StdRng::seed_from_u64(rand::rng().random());
    for kernels in tables() {
        let counts: &[usize] = if cfg!(miri) {
            &[1, 3]
        } else {
            &[1, 2, 3, 4, 5, 6, 7, 8, 9]
        };
        for (rows, &panels) in (1..=THIN_ROWS).flat_map(|r| counts.iter().map(move |p| (r, p))) {
            let (depth, width) = (if cfg!(miri) { 5 } else { 37 }, kernels.columns);
            let a_values = values(&mut rng, rows * depth);
            let stored: Vec<u16> = (0..panels * depth * width)
                .map(|_| (rng.random_range(-1.0_f32..1.0).to_bits() >> 16) as u16)
                .collect();
            let mut b_values = vec![f32::NAN; stored.len()];
            kernels.widen(&stored, &mut b_values);
            let block = expected(kernels, &a_values, &b_values, depth, 0.0);
            for bf16 in [false, true] {
                let mut c = vec![f32::NAN; rows * panels * width];
                let a = Source {
                    start: a_values.as_ptr(),
                    stride: depth,
                };
                let stride = depth * width;
                let target = Target {
                    start: c.as_mut_ptr(),
                    stride: panels * width,
                    accumulate: false,
                };
                // SAFETY: the vectors were made for these sizes.
                unsafe {
                    if bf16 {
                        let start = stored.as_ptr();
                        kernels.thin_bf16(rows, depth, a, Source { start, stride }, target, panels);
                    } else {
                        let start = b_values.as_ptr();
                        kernels.thin_f32(rows, depth, a, Source { start, stride }, target, panels);
                    }
                }
                assert_eq!(c, block, "{}: {rows} rows, {panels} panels", kernels.isa);
            }
        }
    }
}

/// Integers are exact: the greatest there can be, at the greatest depth, do not overflow.
#[test]
fn products_of_integers_are_exact() {
    let mut rng = StdRng::seed_from_u64(rand::rng().random());
    for kernels in tables() {
        let deepest = if cfg!(miri) { 5 } else { DEPTH / 2 };
        for (pairs, extreme) in [(1, false), (33.min(deepest), false), (deepest, true)] {
            let (rows, width) = (kernels.rows, kernels.columns);
            let a: Vec<i16> = (0..rows * 2 * pairs)
                .map(|_| {
                    if extreme {
                        -32_767
                    } else {
                        rng.random_range(-32_767..=32_767)
                    }
                })
                .collect();
            let stored: Vec<i8> = (0..2 * pairs * width)
                .map(|_| {
                    if extreme {
                        -127
                    } else {
                        rng.random_range(-127..=127)
                    }
                })
                .collect();
            let mut b = vec![0; stored.len()];
            kernels.widen_int8(&stored, &mut b);
            let mut c = vec![0.0; rows * width];
            let product = Quantised {
                pairs,
                a: Source {
                    start: a.as_ptr(),
                    stride: 2 * pairs,
                },
                a_scales: [0.5; 64].as_ptr(),
                b: b.as_ptr(),
                b_scales: [0.25; 64].as_ptr(),
            };
            let target = Target {
                start: c.as_mut_ptr(),
                stride: width,
                accumulate: true,
            };
            // SAFETY: the vectors were made for these sizes.
            unsafe { kernels.product_int8(product, target) };
            for (i, found) in c.iter().enumerate() {
                let sum: i64 = (0..2 * pairs)
                    .map(|k| {
                        let b = stored[(k / 2 * width + i % width) * 2 + k % 2];
                        i64::from(a[i / width * 2 * pairs + k]) * i64::from(b)
                    })
                    .sum();
                assert_eq!(*found, sum as f32 * 0.125, "{}: {pairs} pairs", kernels.isa);
            }
        }
    }
}

/// The thin product reads what is stored; the block product what was widened.
#[test]
fn thin_products_of_integers_agree_with_blocks_to_the_bit() {
    let mut rng = StdRng::seed_from_u64(rand::rng().random());
    for kernels in tables() {
        let (width, pairs) = (kernels.columns, 19);
        for (rows, panels) in [1, 2, 4]
            .into_iter()
            .flat_map(|r| (1..=5).map(move |p| (r, p)))
        {
            let a: Vec<i16> = (0..kernels.rows.max(rows) * 2 * pairs)
                .map(|_| rng.random_range(-32_767..=32_767))
                .collect();
            let a_scales = values(&mut rng, kernels.rows.max(rows));
            let panel_bytes = (2 * pairs + 4) * width;
            let mut b = crate::cpu::aligned::Buffer::<i8>::zeros(panels * panel_bytes);
            let mut expected = vec![f32::NAN; rows * panels * width];
            for (panel, b) in b.chunks_exact_mut(panel_bytes).enumerate() {
                let (integers, scale_bytes) = b.split_at_mut(2 * pairs * width);
                integers.fill_with(|| rng.random_range(-127..=127));
                let scales = values(&mut rng, width);
                let bytes = scales.iter().flat_map(|scale| scale.to_ne_bytes());
                for (slot, byte) in scale_bytes.iter_mut().zip(bytes) {
                    *slot = byte.cast_signed();
                }
                let mut wide = vec![0; integers.len()];
                kernels.widen_int8(integers, &mut wide);
                let product = Quantised {
                    pairs,
                    a: Source {
                        start: a.as_ptr(),
                        stride: 2 * pairs,
                    },
                    a_scales: a_scales.as_ptr(),
                    b: wide.as_ptr(),
                    b_scales: scales.as_ptr(),
                };
                let mut block = vec![f32::NAN; kernels.rows * width];
                let target = Target {
                    start: block.as_mut_ptr(),
                    stride: width,
                    accumulate: false,
                };
                // SAFETY: the vectors were made for these sizes.
                unsafe { kernels.product_int8(product, target) };
                for row in 0..rows {
                    let slots = &mut expected[(row * panels + panel) * width..][..width];
                    slots.copy_from_slice(&block[row * width..][..width]);
                }
            }
            let mut found = vec![f32::NAN; rows * panels * width];
            let integers = IntegerPanels {
                rows,
                pairs,
                a: &a[..rows * 2 * pairs],
                a_scales: &a_scales[..rows],
                count: panels,
                b: &b,
            };
            kernels.thin_int8(integers, &mut found);
            assert_eq!(
                found, expected,
                "{}: {rows} rows, {panels} panels",
                kernels.isa
            );
        }
    }
}
