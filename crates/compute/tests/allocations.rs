//! What the ops of a denoising step allocate once they have run before: nothing, but for attention's
//! two short lists. Their outputs and scratch come from the workspace.
#![expect(unsafe_code, reason = "an allocator that counts is an allocator")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

use tintype_compute::{
    Attention, Chunk, CpuDevice, CpuOptions, Device, Encoding, Epilogue, Mask, Segment,
    StoredMatrix, StoredValues, Tensor, WeightFormat,
};

/// The system's, counted.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: by this function's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Runs of each op, of which the one that allocates least counts: a helper that joins for the first time
/// takes scratch that nobody needed before.
const RUNS: usize = 12;

/// Attention's lists: outputs and tasks.
const ATTENTION_LISTS: usize = 2;

fn allocations(mut op: impl FnMut()) -> usize {
    let count = |_| {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        op();
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    (0..RUNS).map(count).min().unwrap_or_default()
}

fn filled(shape: &[usize]) -> Tensor {
    let value = |i: usize| (i * 7919 % 1009) as f32 / 504.0 - 1.0;
    Tensor::from_vec(shape, (0..shape.iter().product()).map(value).collect())
}

/// The best that there is, and one that multiplies in modelled tiles, each with what an op may allocate:
/// the model's registers, a set for each thread, are no registers.
fn devices(threads: usize, weights: WeightFormat) -> [(CpuDevice, usize); 2] {
    let options = CpuOptions {
        threads,
        weights,
        ..CpuOptions::default()
    };
    let tiles = CpuDevice::over_modelled_tiles(options);
    let devices = [(CpuDevice::with_options(options), 0), (tiles, threads)];
    devices.map(|(device, registers)| (device.expect("every machine has it"), registers))
}

#[test]
fn ops_of_a_denoising_step_allocate_nothing_again() {
    // One after the other: whatever runs beside this would be counted, too.
    for threads in [1, 2] {
        linear_layers(threads);
        passes_over_rows(threads);
        attention(threads);
    }
}

fn linear_layers(threads: usize) {
    let (depth, columns) = (512, 384);
    let blocks = Encoding::Q4K.size_bytes(depth * columns);
    let blocks = vec![0; blocks.expect("whole blocks")];
    for (device, registers) in WeightFormat::ALL
        .into_iter()
        .flat_map(|weights| devices(threads, weights))
    {
        let plain = device.pack_linear(&filled(&[columns, depth]), None);
        let values = StoredValues::encoded(Encoding::Q4K, &blocks);
        let coded = device.pack_stored_linear(&StoredMatrix::new(depth, [values]), None);
        for (layer, rows) in [(&plain, 1), (&plain, 200), (&coded, 1), (&coded, 200)] {
            let [left, right] = [192, 320].map(|width| filled(&[1, rows, width]));
            let (gate, residual) = (filled(&[1, columns]), filled(&[1, rows, columns]));
            let epilogue = Epilogue::GateResidual {
                gate: Chunk {
                    table: &gate,
                    index: 0,
                },
                residual: &residual,
            };
            let count = allocations(|| {
                device.linear_concat(layer, &[&left, &right], epilogue);
            });
            assert!(
                count <= registers,
                "linear: {count}, {device:?}, {rows} rows"
            );
        }
    }
}

fn passes_over_rows(threads: usize) {
    let [(device, _), _] = devices(threads, WeightFormat::Exact);
    let (x, row) = (filled(&[1, 300, 512]), filled(&[1, 512]));
    let chunk = || Chunk {
        table: &row,
        index: 0,
    };
    let weight = filled(&[512]);
    let ops: [(&str, &dyn Fn() -> Tensor); 5] = [
        ("adaln", &|| device.adaln(&x, chunk(), chunk(), 1e-6)),
        ("layer_norm", &|| {
            device.layer_norm(&x, &weight, &weight, 1e-6)
        }),
        ("rms_norm", &|| device.rms_norm(&x, &weight, 1e-6)),
        ("silu", &|| device.silu(&x)),
        ("add", &|| device.add(&x, &x)),
    ];
    for (name, op) in ops {
        let count = allocations(|| drop(op()));
        assert_eq!(count, 0, "{name}, {threads} threads");
    }
}

fn attention(threads: usize) {
    let (heads, head_dim) = (4, 64);
    let [text, picture] =
        [40, 300].map(|tokens| filled(&[1, tokens, 3 * heads * head_dim]).into_coarse());
    let segments = [&text, &picture].map(|qkv| Segment { qkv, norm: None });
    let attention = Attention {
        segments: &segments,
        heads,
        scale: 0.125,
        rope: None,
        mask: Mask::None,
    };
    for (device, registers) in devices(threads, WeightFormat::Exact) {
        let count = allocations(|| drop(device.attention(&attention)));
        let allowed = ATTENTION_LISTS + registers;
        assert!(count <= allowed, "attention: {count}, {device:?}");
    }
}
