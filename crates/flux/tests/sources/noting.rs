//! A device that packs every layer as the processor's does, notes what it was given, and keeps nothing: a
//! model of any size is loaded in the memory of its largest layer.

use std::sync::Mutex;

use tintype_compute::{
    Activation, Attention, CacheSize, CachedAttention, Chunk, Conv2d, ConvGeometry, Convolution,
    CpuDevice, Device, Epilogue, GroupNorm, GroupSums, KeyValueCache, Linear, StoredMatrix, Target,
    Tensor,
};

use super::sparse::{ROWS_APART, hash};

/// Values of a row that are looked at: the longest block of any encoding.
const COLUMNS: usize = 256;

#[derive(Debug)]
pub struct NotingDevice {
    cpu: CpuDevice,
    notes: Mutex<Vec<Note>>,
}

/// A layer: its sizes, and a digest of some of its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    pub shape: Vec<usize>,
    pub digest: u64,
}

impl NotingDevice {
    pub fn new() -> Self {
        Self {
            cpu: CpuDevice::new(0),
            notes: Mutex::default(),
        }
    }

    /// What was packed, in order.
    pub fn notes(&self) -> Vec<Note> {
        self.notes.lock().expect("no panic").clone()
    }

    fn note(&self, shape: &[usize], values: &[f32], bias: Option<&Tensor>) {
        let bias = bias.map_or(&[][..], Tensor::data);
        // Formats differ in the sign of a zero.
        let bits = |value: &f32| (value + 0.0).to_bits().to_le_bytes();
        let bytes: Vec<u8> = values.iter().chain(bias).flat_map(bits).collect();
        let note = Note {
            shape: shape.to_vec(),
            digest: hash(&bytes),
        };
        self.notes.lock().expect("no panic").push(note);
    }
}

impl Device for NotingDevice {
    fn name(&self) -> &'static str {
        "noting"
    }

    fn pack_linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Linear {
        self.pack_stored_linear(&StoredMatrix::of(weight), bias)
    }

    fn pack_stored_linear(&self, weight: &StoredMatrix<'_>, bias: Option<&Tensor>) -> Linear {
        let columns = weight.columns().min(COLUMNS);
        let mut values = Vec::new();
        for row in (0..weight.rows()).step_by(ROWS_APART) {
            let start = values.len();
            values.resize(start + columns, 0.0);
            weight.read(row, 0..columns, &mut values[start..]);
        }
        self.note(&[weight.rows(), weight.columns()], &values, bias);
        drop(self.cpu.pack_stored_linear(weight, bias));
        Linear::new(weight.columns(), weight.rows(), ())
    }

    fn linear_bytes(&self, weight: &StoredMatrix<'_>) -> usize {
        self.cpu.linear_bytes(weight)
    }

    fn pack_conv2d(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        geometry: ConvGeometry,
    ) -> Conv2d {
        self.note(weight.shape(), weight.data(), bias);
        drop(self.cpu.pack_conv2d(weight, bias, geometry));
        let shape = weight.shape().try_into().expect("four axes");
        Conv2d::new(shape, geometry, ())
    }

    fn linear_concat(&self, _: &Linear, _: &[&Tensor], _: Epilogue<'_>) -> Tensor {
        nothing_is_computed()
    }

    fn linear_added(&self, _: &Linear, _: &[&Tensor], _: &Tensor, _: Epilogue<'_>) -> Tensor {
        nothing_is_computed()
    }

    fn convolve(&self, _: &Convolution<'_>, _: Target<'_>) {
        nothing_is_computed()
    }

    fn add_group_sums(&self, _: &mut GroupSums, _: &Tensor) {
        nothing_is_computed()
    }

    fn attention(&self, _: &Attention<'_>) -> Vec<Tensor> {
        nothing_is_computed()
    }

    fn key_value_cache(&self, _: CacheSize) -> KeyValueCache {
        nothing_is_computed()
    }

    fn cached_attention(&self, _: &mut KeyValueCache, _: &CachedAttention<'_>) -> Tensor {
        nothing_is_computed()
    }

    fn adaln(&self, _: &Tensor, _: Chunk<'_>, _: Chunk<'_>, _: f32) -> Tensor {
        nothing_is_computed()
    }

    fn layer_norm(&self, _: &Tensor, _: &Tensor, _: &Tensor, _: f32) -> Tensor {
        nothing_is_computed()
    }

    fn rms_norm(&self, _: &Tensor, _: &Tensor, _: f32) -> Tensor {
        nothing_is_computed()
    }

    fn group_norm(&self, _: &Tensor, _: &GroupNorm, _: Option<Activation>) -> Tensor {
        nothing_is_computed()
    }

    fn embedding(&self, _: &Tensor, _: &[u32], _: usize) -> Tensor {
        nothing_is_computed()
    }

    fn silu(&self, _: &Tensor) -> Tensor {
        nothing_is_computed()
    }

    fn add(&self, _: &Tensor, _: &Tensor) -> Tensor {
        nothing_is_computed()
    }
}

fn nothing_is_computed() -> ! {
    panic!("this device keeps no layers to compute with")
}
