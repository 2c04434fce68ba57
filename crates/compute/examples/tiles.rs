//! What a product by AMX tiles waits for: its innermost loop alone, over packed operands, cut in several ways.
//!
//! `cargo run --release -p tintype-compute --example tiles -- [COLUMNS]`
//!
//! Prints the median GFLOP/s of one core for a depth of 3,072, after what the core does with operands in its
//! first-level cache. 3,072 columns of B are 19 MB, the default;
//! 15,360 are 94 MB, more than caches hold. What the device does is in `src/cpu/amx`.

#[cfg(target_arch = "x86_64")]
fn main() {
    let columns = std::env::args().nth(1).map_or(3072, |count| {
        let count: usize = count.parse().expect("a number of columns");
        count.next_multiple_of(x86::BLOCK)
    });
    x86::compare(columns);
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("only processors of x86-64 have AMX tiles");
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "tiles are reached through assembly")]
mod x86 {
    use std::{
        arch::{
            asm,
            x86_64::{_MM_HINT_T1, _mm_prefetch},
        },
        time::Instant,
    };

    use tintype_compute::Isa;

    /// Rows and columns of a block: two tiles each way.
    pub const BLOCK: usize = 32;

    const DEPTH: usize = 3072;
    /// Depth of one instruction, and of what stays in the first-level cache.
    const STEP: usize = 32;
    const CHUNK: usize = 512;
    /// Bytes of the two tiles of a step.
    const STEP_BYTES: usize = 2048;
    const LINE: usize = 64;
    const ROUNDS: usize = 7;

    /// How the loops are cut.
    #[derive(Clone, Copy)]
    struct Way {
        /// Rows of A that are in the second-level cache together.
        rows: usize,
        /// And how deep.
        part: usize,
        /// Whether A is loaded past the first-level cache.
        passing: bool,
        /// Whether the sums of the next panel are fetched meanwhile.
        sums_ahead: bool,
    }

    const fn way(rows: usize, part: usize, passing: bool, sums_ahead: bool) -> Way {
        Way {
            rows,
            part,
            passing,
            sums_ahead,
        }
    }

    const WAYS: [Way; 8] = [
        way(256, 3072, false, false),
        way(256, 3072, true, false),
        way(160, 3072, true, false),
        way(256, 1536, true, false),
        way(256, 1536, true, true),
        way(320, 1536, true, false),
        way(320, 1536, true, true),
        way(384, 1536, true, true),
    ];

    macro_rules! tile {
        ($text:literal, $at:expr, $stride:expr) => {
            asm!($text, at = in(reg) $at, stride = in(reg) $stride, options(nostack, preserves_flags))
        };
        ($text:literal) => {
            asm!($text, options(nostack, nomem, preserves_flags))
        };
    }

    pub fn compare(columns: usize) {
        assert!(Isa::Amx.is_available(), "this machine has no AMX tiles");
        let most_rows = WAYS.iter().map(|way| way.rows).max().unwrap_or_default();
        let panel = BLOCK * size_of::<f32>();
        // Room behind each for what is fetched and never used.
        let mut sums = filled((columns / BLOCK + 1) * most_rows * panel);
        let a = filled((most_rows + 1) * DEPTH * 2);
        let b = filled((columns + BLOCK) * DEPTH * 2);
        // SAFETY: the machine has tiles, and both have room for a chunk.
        let seconds = unsafe { from_first_level_cache(a.as_ptr().cast(), b.as_ptr().cast()) };
        println!(
            "from the first-level cache: {:.0} GFLOP/s",
            2.0 * (BLOCK * BLOCK * CHUNK) as f64 / seconds / 1e9
        );
        let mut times = WAYS.map(|_| Vec::new());
        for _ in 0..ROUNDS {
            for (way, times) in WAYS.into_iter().zip(&mut times) {
                let began = Instant::now();
                // SAFETY: the machine has tiles; A, B and the sums have room for this many rows and columns.
                unsafe {
                    product(
                        way,
                        columns,
                        a.as_ptr().cast(),
                        b.as_ptr().cast(),
                        sums.as_mut_ptr().cast(),
                    )
                };
                times.push(began.elapsed().as_secs_f64());
            }
        }
        for (way, mut times) in WAYS.into_iter().zip(times) {
            let rate = 2.0 * (way.rows * DEPTH * columns) as f64 / median(&mut times) / 1e9;
            let how = if way.passing { "passing by" } else { "as B" };
            let ahead = if way.sums_ahead { ", sums ahead" } else { "" };
            let Way { rows, part, .. } = way;
            println!(
                "{rows} rows, parts of {part}, A {how}{ahead}: {rate:.0} GFLOP/s, {columns} columns"
            );
        }
    }

    fn median(times: &mut [f64]) -> f64 {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }

    /// A cache line.
    #[derive(Clone)]
    #[repr(C, align(64))]
    struct Line([u8; LINE]);

    /// Values of bf16 that are no zeros: with those, products are up to a quarter faster than a model's.
    fn filled(bytes: usize) -> Vec<Line> {
        vec![Line([0x3f; LINE]); bytes.div_ceil(LINE)]
    }

    /// Configures all registers to their full size.
    ///
    /// # Safety
    /// The process may use tiles.
    unsafe fn take() {
        let mut full = Line([0; LINE]);
        full.0[0] = 1;
        for register in 0..8 {
            full.0[16 + 2 * register] = 64;
            full.0[48 + register] = 16;
        }
        // SAFETY: a valid configuration of palette 1.
        unsafe { asm!("ldtilecfg [{at}]", at = in(reg) &raw const full, options(nostack)) };
    }

    /// The median seconds of one block over a chunk of 8 KiB of either operand, again and again.
    ///
    /// # Safety
    /// The process may use tiles, and the operands have room for a chunk.
    unsafe fn from_first_level_cache(a: *const u8, b: *const u8) -> f64 {
        const TIMES: usize = 4000;
        let mut times = [0.0; ROUNDS];
        for time in &mut times {
            let began = Instant::now();
            // SAFETY: by the contract.
            unsafe {
                take();
                begin(false, b);
                for step in 0..TIMES * CHUNK / STEP {
                    let at = step % 4 * STEP_BYTES;
                    four(false, a.wrapping_add(at), b.wrapping_add(at));
                }
                asm!("tilerelease", options(nostack, nomem));
            }
            *time = began.elapsed().as_secs_f64() / TIMES as f64;
        }
        median(&mut times)
    }

    /// # Safety
    /// The process may use tiles, and the operands are as large as `way` says.
    unsafe fn product(way: Way, columns: usize, a: *const u8, b: *const u8, sums: *mut u8) {
        // SAFETY: by the contract.
        unsafe { take() };
        let panel_bytes = way.rows * BLOCK * size_of::<f32>();
        for start in (0..DEPTH).step_by(way.part) {
            for panel in 0..columns / BLOCK {
                // SAFETY: inside the operands, by the contract.
                unsafe {
                    let b = b.add((start * columns + panel * BLOCK * way.part) * 2);
                    // Sums of one part alone are done with and need not be kept.
                    let kept = if way.part == DEPTH { panel % 4 } else { panel };
                    one_panel(way, start > 0, a, b, sums.add(kept * panel_bytes));
                }
            }
        }
        // SAFETY: they are held.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }

    /// # Safety
    /// As [`product`]'s, for one panel.
    unsafe fn one_panel(way: Way, add: bool, a: *const u8, b: *const u8, sums: *mut u8) {
        let (blocks, steps) = (way.rows / BLOCK, CHUNK / STEP);
        let next_sums = sums.wrapping_add(way.rows * BLOCK * 4);
        let sums_lines = (way.rows * BLOCK * 4 / LINE).div_ceil(way.part / CHUNK * blocks * steps);
        let mut next_sum = next_sums;
        for chunk in 0..way.part / CHUNK {
            let b = b.wrapping_add(chunk * CHUNK * BLOCK * 2);
            let share = (CHUNK * BLOCK * 2 / LINE).div_ceil(blocks);
            for block in 0..blocks {
                let a = a.wrapping_add((block * way.part + chunk * CHUNK) * BLOCK * 2);
                let sums = sums.wrapping_add(block * BLOCK * BLOCK * 4);
                let ahead = b.wrapping_add(CHUNK * BLOCK * 2 + block * share * LINE);
                // SAFETY: inside the operands, by the contract; what is fetched may lie anywhere.
                unsafe {
                    begin(add || chunk > 0, sums);
                    for step in 0..steps {
                        let at = step * STEP_BYTES;
                        four(way.passing, a.wrapping_add(at), b.wrapping_add(at));
                        let lines = share.div_ceil(steps);
                        for line in step * lines..(step + 1) * lines {
                            _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(line * LINE).cast());
                        }
                        if way.sums_ahead && add {
                            for _ in 0..sums_lines {
                                _mm_prefetch::<_MM_HINT_T1>(next_sum.cast());
                                next_sum = next_sum.wrapping_add(LINE);
                            }
                        }
                    }
                    end(sums);
                }
            }
        }
    }

    /// # Safety
    /// The sums hold a block.
    unsafe fn begin(add: bool, sums: *const u8) {
        // SAFETY: by the contract.
        unsafe {
            if add {
                tile!("tileloadd tmm0, [{at} + {stride}*1]", sums, 128_usize);
                tile!("tileloadd tmm1, [{at} + {stride}*1 + 64]", sums, 128_usize);
                tile!(
                    "tileloadd tmm2, [{at} + {stride}*1 + 2048]",
                    sums,
                    128_usize
                );
                tile!(
                    "tileloadd tmm3, [{at} + {stride}*1 + 2112]",
                    sums,
                    128_usize
                );
            } else {
                tile!("tilezero tmm0");
                tile!("tilezero tmm1");
                tile!("tilezero tmm2");
                tile!("tilezero tmm3");
            }
        }
    }

    /// # Safety
    /// As [`begin`]'s.
    unsafe fn end(sums: *mut u8) {
        // SAFETY: by the contract.
        unsafe {
            tile!("tilestored [{at} + {stride}*1], tmm0", sums, 128_usize);
            tile!("tilestored [{at} + {stride}*1 + 64], tmm1", sums, 128_usize);
            tile!(
                "tilestored [{at} + {stride}*1 + 2048], tmm2",
                sums,
                128_usize
            );
            tile!(
                "tilestored [{at} + {stride}*1 + 2112], tmm3",
                sums,
                128_usize
            );
        }
    }

    /// # Safety
    /// A step of either operand can be read.
    #[inline(always)]
    unsafe fn four(passing: bool, a: *const u8, b: *const u8) {
        // SAFETY: by the contract.
        unsafe {
            if passing {
                tile!("tileloaddt1 tmm4, [{at} + {stride}*1]", a, LINE);
            } else {
                tile!("tileloadd tmm4, [{at} + {stride}*1]", a, LINE);
            }
            tile!("tileloadd tmm6, [{at} + {stride}*1]", b, LINE);
            tile!("tdpbf16ps tmm0, tmm4, tmm6");
            tile!("tileloadd tmm7, [{at} + {stride}*1 + 1024]", b, LINE);
            tile!("tdpbf16ps tmm1, tmm4, tmm7");
            if passing {
                tile!("tileloaddt1 tmm5, [{at} + {stride}*1 + 1024]", a, LINE);
            } else {
                tile!("tileloadd tmm5, [{at} + {stride}*1 + 1024]", a, LINE);
            }
            tile!("tdpbf16ps tmm2, tmm5, tmm6");
            tile!("tdpbf16ps tmm3, tmm5, tmm7");
        }
    }
}
