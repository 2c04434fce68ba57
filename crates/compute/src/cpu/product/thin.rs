//! Products of few rows, which cost the reading of B: it is read once for four rows, as it is stored.
#![expect(unsafe_code, reason = "the kernels take raw pointers")]

use std::ops::Range;

use super::{Scratch, add_block, rows_of};
use crate::cpu::{
    coded::Coded,
    kernels::{IntegerPanels, Kernels, Source, THIN_ROWS, Target, thin_rows},
    panels::{Panels, Stored},
    tile::Tile,
    view::view,
};

/// [`Kernels::thin_f32`] or [`Kernels::thin_bf16`].
type FloatProduct<T> =
    unsafe fn(&Kernels, usize, usize, Source<f32>, Source<T>, Target, panels: usize);

/// A chunk of some panels of B with the few rows that the tile has.
pub fn strip(
    kernels: &Kernels,
    scratch: &mut Scratch,
    b: &Panels,
    tile: &mut Tile<'_>,
    chunk: &Range<usize>,
    panels: Range<usize>,
) {
    let Scratch {
        a,
        b: decoded,
        integers,
        block,
    } = scratch;
    let stored = || b.range(chunk, panels.clone());
    let (depth, count) = (chunk.len(), panels.len());
    let mut few = Few {
        kernels,
        tile,
        chunk,
        block,
    };
    match b.stored() {
        // SAFETY: these are the panels' values, and the kernel is made for them.
        Stored::F32(values) => unsafe {
            few.floats(panels.clone(), a, &values[stored()], Kernels::thin_f32);
        },
        // SAFETY: as above.
        Stored::Bf16(values) => unsafe {
            few.floats(panels.clone(), a, &values[stored()], Kernels::thin_bf16);
        },
        Stored::Coded(coded) => {
            let mut panels = panels;
            while !panels.is_empty() {
                let part = coded.few(panels.clone());
                panels.start = part.end;
                coded_part(coded, &mut few, a, decoded, part);
            }
        }
        Stored::Int8(values) => {
            let pairs = depth.div_ceil(2);
            few.each(panels.clone(), |rows, c| {
                let height = thin_rows(rows.len());
                let panels = IntegerPanels {
                    rows: height,
                    pairs,
                    a: &view(&integers.a)[rows.start * 2 * pairs..][..height * 2 * pairs],
                    a_scales: &integers.scales[rows.start..][..height],
                    count,
                    b: &values[stored()],
                };
                kernels.thin_int8(panels, c);
            });
        }
    }
}

/// The few rows, and where their products go.
struct Few<'a, 'b> {
    kernels: &'a Kernels,
    tile: &'a mut Tile<'b>,
    chunk: &'a Range<usize>,
    block: &'a mut [f32],
}

impl Few<'_, '_> {
    /// `product(rows, block)` makes of up to [`THIN_ROWS`] rows of the tile and the panels a block
    /// `[rows][columns]`, again and again, until there are no more rows.
    fn each(&mut self, panels: Range<usize>, mut product: impl FnMut(Range<usize>, &mut [f32])) {
        self.each_until(panels, |rows, block| {
            product(rows, block);
            true
        });
    }

    /// The same, but it ends where `product` gives `false`. Nothing of that block goes into the tile.
    fn each_until(
        &mut self,
        panels: Range<usize>,
        mut product: impl FnMut(Range<usize>, &mut [f32]) -> bool,
    ) -> bool {
        let Self {
            kernels,
            tile,
            chunk,
            block,
        } = self;
        let width = panels.len() * kernels.columns;
        let column = panels.start * kernels.columns - tile.column;
        let columns = column..tile.columns.min(column + width);
        for row in (0..tile.rows).step_by(THIN_ROWS) {
            let rows = row..tile.rows.min(row + THIN_ROWS);
            if !product(rows.clone(), block) {
                return false;
            }
            let accumulate = chunk.start > 0;
            add_block(tile, rows, columns.clone(), block, width, accumulate);
        }
        true
    }

    /// The products of panels that lie one after the other in `values`.
    ///
    /// # Safety
    /// `product` must keep to [`Kernels::thin_f32`]'s contract, for `values` of its kind.
    unsafe fn floats<T: Copy>(
        &mut self,
        panels: Range<usize>,
        a: &[f32],
        values: &[T],
        product: FloatProduct<T>,
    ) {
        let (kernels, depth, count) = (self.kernels, self.chunk.len(), panels.len());
        let stride = depth * kernels.columns;
        assert_eq!(values.len(), count * stride, "this is a bug");
        let b = Source {
            start: values.as_ptr(),
            stride,
        };
        self.each(panels, |rows, c| {
            let a = rows_of(a, rows.start, rows.len(), depth);
            let c = Target {
                start: c.as_mut_ptr(),
                stride: count * kernels.columns,
                accumulate: false,
            };
            // SAFETY: `a` holds these rows, `values` these panels (just checked), the block these columns;
            // the rest is this function's contract.
            unsafe { product(kernels, rows.len(), depth, a, b, c, count) }
        });
    }
}

/// Coded panels, as they are stored if that can be.
fn coded_part(
    coded: &Coded,
    few: &mut Few<'_, '_>,
    a: &[f32],
    decoded: &mut [f32],
    panels: Range<usize>,
) {
    let (kernels, chunk) = (few.kernels, few.chunk);
    let (depth, count) = (chunk.len(), panels.len());
    if let Some(thin) = coded.thin(kernels, chunk, panels.clone()) {
        // Whether it can be had is the same for all rows, so the first ones tell.
        let complete = few.each_until(panels.clone(), |rows, c| {
            // What lies behind the tile's rows is anything, and reaches no value of the tile.
            let height = thin_rows(rows.len());
            let a = &a[rows.start * depth..][..height * depth];
            thin.product(kernels, height, a, c)
        });
        if complete {
            return;
        }
    }
    let stride = depth * kernels.columns;
    for (panel, target) in panels.clone().zip(decoded.chunks_exact_mut(stride)) {
        coded.widen(kernels, chunk, panel, target);
    }
    let decoded = &decoded[..count * stride];
    // SAFETY: these panels' values, just widened, and the kernel is made for them.
    unsafe { few.floats(panels, a, decoded, Kernels::thin_f32) }
}
