//! A convolution's weight as the kernels of f32 read it, kept in bf16 where that loses nothing.

use super::{
    super::{CpuDevice, kernels::Kernels, panels::to_bf16},
    LANES, winograd,
};
use crate::{ConvGeometry, Tensor};

/// The weight in panels of the kernels' column width: `[panel][ky][kx][padded_in][columns]`.
pub(super) struct PackedConv {
    panels: Stored,
    /// One value for each column of all panels.
    pub bias: Vec<f32>,
    /// Columns of a panel.
    pub columns: usize,
    /// Input channels with their padding.
    pub padded_in: usize,
    /// Values of a panel.
    pub panel_size: usize,
    /// The transformed weight, where it is small enough to be kept.
    pub transformed: Option<Vec<f32>>,
}

/// In which type.
enum Stored {
    F32(Vec<f32>),
    /// The upper half of an f32.
    Bf16(Vec<u16>),
}

impl PackedConv {
    /// Packs `weight`, `(out, in, kernel, kernel)`, as bf16 or as f32.
    pub fn new(
        device: &CpuDevice,
        (weight, as_bf16): (&Tensor, bool),
        bias: Option<&Tensor>,
        geometry: ConvGeometry,
    ) -> Self {
        let [outputs, inputs, kernel, _] = weight.rank4();
        let (columns, taps) = (device.kernels.columns, kernel * kernel);
        let [padded_in, padded_out] = Self::padded(device, [inputs, outputs]);
        let panel_size = taps * padded_in * columns;
        let mut padded_bias = vec![0.0; padded_out];
        if let Some(bias) = bias {
            padded_bias[..outputs].copy_from_slice(bias.data());
        }
        let mut packed = Self {
            panels: Stored::F32(Vec::new()),
            bias: padded_bias,
            columns,
            padded_in,
            panel_size,
            transformed: None,
        };
        packed.panels = match as_bf16 {
            true => Stored::Bf16(packed.interleaved(weight, to_bf16)),
            false => Stored::F32(packed.interleaved(weight, |value| value)),
        };
        if winograd::suits(weight.rank4(), geometry) && winograd::is_kept(padded_in, padded_out) {
            packed.transformed = Some(winograd::transformed(device, &packed).to_vec());
        }
        packed
    }

    /// Channels, in and out, filled up as the kernels want them.
    pub fn padded(device: &CpuDevice, [inputs, outputs]: [usize; 2]) -> [usize; 2] {
        [
            inputs.next_multiple_of(LANES),
            outputs.next_multiple_of(device.kernels.columns),
        ]
    }

    /// Bytes that [`Self::new`] would take of a weight of `shape`.
    pub fn bytes(
        device: &CpuDevice,
        (shape, as_bf16): ([usize; 4], bool),
        geometry: ConvGeometry,
    ) -> usize {
        let [outputs, inputs, kernel, _] = shape;
        let [padded_in, padded_out] = Self::padded(device, [inputs, outputs]);
        let value_bytes = match as_bf16 {
            true => size_of::<u16>(),
            false => size_of::<f32>(),
        };
        let kept = winograd::suits(shape, geometry) && winograd::is_kept(padded_in, padded_out);
        let transformed = match kept {
            true => winograd::transformed_size(padded_in, padded_out),
            false => 0,
        };
        padded_out * kernel * kernel * padded_in * value_bytes
            + (padded_out + transformed) * size_of::<f32>()
    }

    fn interleaved<T: Copy + Default>(&self, weight: &Tensor, store: fn(f32) -> T) -> Vec<T> {
        let [_, inputs, kernel, _] = weight.rank4();
        let taps = kernel * kernel;
        let mut panels = vec![T::default(); self.bias.len() / self.columns * self.panel_size];
        for (output, source) in weight.data().chunks_exact(inputs * taps).enumerate() {
            let panel = &mut panels[output / self.columns * self.panel_size..][..self.panel_size];
            for (i, value) in source.iter().enumerate() {
                let (input, tap) = (i / taps, i % taps);
                let row = tap * self.padded_in + input;
                panel[row * self.columns + output % self.columns] = store(*value);
            }
        }
        panels
    }

    /// How many panels there are.
    pub fn count(&self) -> usize {
        self.bias.len() / self.columns
    }

    /// Values that [`Self::panel`] needs room for.
    pub fn room(&self) -> usize {
        match self.panels {
            Stored::F32(_) => 0,
            Stored::Bf16(_) => self.panel_size,
        }
    }

    /// One panel as the kernels read it, in `room` if it is not stored so.
    pub fn panel<'a>(&'a self, kernels: &Kernels, index: usize, room: &'a mut [f32]) -> &'a [f32] {
        let range = index * self.panel_size..(index + 1) * self.panel_size;
        match &self.panels {
            Stored::F32(values) => &values[range],
            Stored::Bf16(values) => {
                kernels.widen(&values[range], room);
                room
            }
        }
    }
}
