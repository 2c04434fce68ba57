//! The processor: matrix products by kernels of its own ([`kernels`], [`product`]), everything else
//! fused around them. Activations and sums are f32; weights are kept as [`WeightFormat`] says.
//!
//! **Determinism.** Every value is computed in one fixed order that depends on the shape of its own
//! sample alone, whatever the number of threads, the size of the batch, or how the work is cut into
//! tiles. So one instruction set gives the same bytes for any thread count and any batch. (Two
//! instruction sets may differ in the last bits.)

pub(crate) mod aligned;
mod amx;
mod attention;
mod coded;
mod conv;
mod cores;
mod group_norm;
mod kernels;
mod linear;
mod norm;
mod options;
mod panels;
mod pool;
mod product;
mod quantise;
mod simd;
mod tile;
mod view;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use amx::TileUnit;
use cores::Cores;
use kernels::Kernels;
pub use kernels::{Isa, MissingIsa, UnknownIsa};
use linear::Last;
pub use options::{CpuOptions, UnknownWeightFormat, WeightFormat};
use pool::Pool;
use simd::Simd;

use crate::{
    Activation, Attention, CacheSize, CachedAttention, Chunk, Conv2d, ConvGeometry, Convolution,
    Device, Epilogue, GroupNorm, GroupSums, KeyValueCache, Linear, PackedImage, PackedPart,
    StoredMatrix, Target, Tensor, WorkspaceStatistics,
    workspace::{Buffer, Workspace},
};

/// The processor, with a thread pool of its own.
pub struct CpuDevice {
    /// The helpers of the calling thread, which always works, too.
    pool: Pool,
    threads: usize,
    kernels: &'static Kernels,
    /// What multiplies in tiles, if anything does.
    tiles: Option<TileUnit>,
    weights: WeightFormat,
    workspace: Arc<Workspace>,
}

impl CpuDevice {
    /// A device of `threads` threads, the calling one among them; 0 means as many as the machine has.
    /// It uses the fastest instructions of the machine and keeps weights as they come.
    ///
    /// # Panics
    /// If the operating system refuses to start the threads.
    pub fn new(threads: usize) -> Self {
        let options = CpuOptions {
            threads,
            ..CpuOptions::default()
        };
        Self::with_options(options).expect("the best of what there is, is there; this is a bug")
    }

    /// As [`Self::new`], but with products of f32 on every machine ([`Isa::best_in_f32`]): what is compared
    /// with another program's f32 to more than three digits wants this one.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn in_f32(threads: usize) -> Self {
        let options = CpuOptions {
            threads,
            isa: Some(Isa::best_in_f32()),
            ..CpuOptions::default()
        };
        Self::with_options(options).expect("one of what there is, is there; this is a bug")
    }

    /// A device as `options` say.
    ///
    /// # Errors
    /// An instruction set that this machine lacks; the error lists those it has.
    ///
    /// # Panics
    /// If the operating system refuses to start the threads.
    pub fn with_options(options: CpuOptions) -> Result<Self, MissingIsa> {
        let isa = options.isa.unwrap_or_else(Isa::best).checked()?;
        let tiles = (isa == Isa::Amx).then_some(TileUnit::Hardware);
        Ok(Self::over(isa, tiles, options))
    }

    /// A device as `options` say that multiplies in AMX tiles which are modelled in software: slow, and
    /// there so that tests on any machine run what surrounds the instructions.
    ///
    /// # Errors
    /// As [`Self::with_options`].
    ///
    /// # Panics
    /// As [`Self::with_options`].
    #[doc(hidden)]
    pub fn over_modelled_tiles(options: CpuOptions) -> Result<Self, MissingIsa> {
        let isa = options.isa.unwrap_or_else(Isa::best).checked()?;
        Ok(Self::over(isa, Some(TileUnit::Model), options))
    }

    fn over(isa: Isa, tiles: Option<TileUnit>, options: CpuOptions) -> Self {
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            given => given,
        };
        let cores = if options.pin {
            Cores::allowed()
        } else {
            Cores::default()
        };
        cores.tie(0);
        let pool = Pool::new(threads - 1, move |helper| cores.tie(helper + 1));
        Self {
            pool,
            threads,
            kernels: Kernels::of(isa),
            tiles,
            weights: options.weights,
            workspace: Workspace::new(),
        }
    }

    /// The instruction set that it uses.
    pub fn isa(&self) -> Isa {
        match self.tiles {
            Some(TileUnit::Hardware) => Isa::Amx,
            Some(TileUnit::Model) | None => self.kernels.isa,
        }
    }

    /// Its vector instructions, for passes over rows.
    fn simd(&self) -> Simd {
        Simd::of(self.kernels)
    }

    /// How it keeps weights.
    pub fn weights(&self) -> WeightFormat {
        self.weights
    }

    /// How many threads compute.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// What the workspace, from which all outputs come, has done so far.
    pub fn workspace(&self) -> WorkspaceStatistics {
        self.workspace.statistics()
    }

    /// Room for `len` values that are anything: what an op needs beside its output.
    fn scratch(&self, len: usize) -> Buffer {
        self.workspace.take(len)
    }

    /// Runs every task once, on all threads; they start in order and end in any. `scratch` makes a
    /// buffer that a thread keeps from task to task. A list that makes its tasks as it goes (`zip`,
    /// `enumerate`, [`tile::tiles`]) allocates nothing.
    fn for_each<T, S>(
        &self,
        tasks: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator + Send>,
        scratch: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, T) + Sync,
    ) {
        let tasks = tasks.into_iter();
        let helpers = self.threads.min(tasks.len()).saturating_sub(1);
        let queue = Mutex::new(tasks);
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let run = || {
            let mut scratch = scratch();
            while let Some(task) = next() {
                work(&mut scratch, task);
            }
        };
        self.pool.run(helpers, &run);
    }
}

impl fmt::Debug for CpuDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (threads, isa, weights) = (self.threads, self.isa(), self.weights);
        let model = match self.tiles {
            Some(TileUnit::Model) => " and modelled tiles",
            Some(TileUnit::Hardware) | None => "",
        };
        write!(
            f,
            "CpuDevice({threads} threads, {isa}{model}, {weights} weights)"
        )
    }
}

impl Device for CpuDevice {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn tensor(&self, shape: &[usize]) -> Tensor {
        let buffer = self.workspace.take(shape.iter().product());
        Tensor::pooled(shape.into(), buffer)
    }

    fn pack_linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Linear {
        self.pack_stored_linear(&StoredMatrix::of(weight), bias)
    }

    fn pack_stored_linear(&self, weight: &StoredMatrix<'_>, bias: Option<&Tensor>) -> Linear {
        linear::pack(self, weight, bias)
    }

    fn linear_bytes(&self, weight: &StoredMatrix<'_>) -> usize {
        linear::bytes(self, weight)
    }

    fn conv2d_bytes(
        &self,
        weight: &StoredMatrix<'_>,
        shape: [usize; 4],
        geometry: ConvGeometry,
    ) -> usize {
        conv::bytes(self, weight, shape, geometry)
    }

    fn conv2d_work_bytes(&self, channels: [usize; 2]) -> usize {
        conv::work_bytes(self, channels)
    }

    fn release_idle(&self) {
        self.workspace.release_idle();
    }

    fn packed_layout(&self) -> Option<String> {
        let columns = self.kernels.columns;
        let (version, isa, weights) = (panels::IMAGE_VERSION, self.isa(), self.weights);
        Some(format!(
            "cpu {version}, {isa}, {weights} weights, panels of {columns} columns"
        ))
    }

    fn linear_image<'a>(&self, layer: &'a Linear) -> Option<PackedImage<'a>> {
        linear::image(layer)
    }

    fn linear_of_image(&self, part: &PackedPart<'_>, bias: Option<&Tensor>) -> Option<Linear> {
        linear::of_image(self, part, bias)
    }

    fn pack_conv2d(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        geometry: ConvGeometry,
    ) -> Conv2d {
        conv::pack(self, weight, bias, geometry)
    }

    fn linear_concat(&self, layer: &Linear, inputs: &[&Tensor], epilogue: Epilogue<'_>) -> Tensor {
        linear::run(self, layer, inputs, Last::of(epilogue))
    }

    fn linear_added(
        &self,
        layer: &Linear,
        inputs: &[&Tensor],
        added: &Tensor,
        epilogue: Epilogue<'_>,
    ) -> Tensor {
        let added = Some(added);
        linear::run(self, layer, inputs, Last { added, epilogue })
    }

    fn convolve(&self, convolution: &Convolution<'_>, target: Target<'_>) {
        conv::run(self, convolution, target);
    }

    fn add_group_sums(&self, sums: &mut GroupSums, strip: &Tensor) {
        group_norm::add_sums(self, sums, strip);
    }

    fn attention(&self, attention: &Attention<'_>) -> Vec<Tensor> {
        attention::run(self, attention)
    }

    fn key_value_cache(&self, size: CacheSize) -> KeyValueCache {
        attention::cache(self, size)
    }

    fn cached_attention(
        &self,
        cache: &mut KeyValueCache,
        attention: &CachedAttention<'_>,
    ) -> Tensor {
        attention::run_cached(self, cache, attention)
    }

    fn adaln(&self, input: &Tensor, scale: Chunk<'_>, shift: Chunk<'_>, eps: f32) -> Tensor {
        norm::adaln(self, input, scale, shift, eps)
    }

    fn layer_norm(&self, input: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Tensor {
        norm::layer_norm(self, input, weight, bias, eps)
    }

    fn rms_norm(&self, input: &Tensor, weight: &Tensor, eps: f32) -> Tensor {
        norm::rms_norm(self, input, weight, eps)
    }

    fn group_norm(
        &self,
        input: &Tensor,
        norm: &GroupNorm,
        activation: Option<Activation>,
    ) -> Tensor {
        group_norm::run(self, input, norm, activation)
    }

    fn embedding(&self, table: &Tensor, ids: &[u32], batch: usize) -> Tensor {
        let width = table.width();
        let mut output = self.tensor(&[batch, ids.len() / batch, width]);
        let rows = output.data_mut().chunks_exact_mut(width).zip(ids);
        self.for_each(
            rows,
            || (),
            |(), (row, &id)| row.copy_from_slice(&table.data()[id as usize * width..][..width]),
        );
        output
    }

    fn silu(&self, input: &Tensor) -> Tensor {
        norm::silu(self, input)
    }

    fn add(&self, a: &Tensor, b: &Tensor) -> Tensor {
        assert_eq!(a.shape(), b.shape(), "this is a bug");
        norm::sum(self, a, b)
    }
}
