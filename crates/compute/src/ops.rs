//! The op set: the [`Device`] trait and the values its operations take.
//!
//! Shapes that do not fit are bugs of the caller and panic; a model checks what comes from outside
//! (configuration, files, ids) before it gets here. Every device promises that **the bytes of a
//! sample's result depend neither on the other samples of the batch nor on the number of threads**.

use std::{any::Any, fmt, ops::Range};

use crate::{
    CacheSize, CachedAttention, Convolution, GroupSums, KeyValueCache, PackedImage, PackedPart,
    StoredMatrix, Strip, Target, Tensor,
};

/// What computes: weights are packed by a device and used only with that device.
pub trait Device: Send + Sync + fmt::Debug {
    /// A short name for messages: `reference`, `cpu`.
    fn name(&self) -> &'static str;

    /// A tensor whose values are anything, to be overwritten; from the device's workspace if it has
    /// one, where it goes back when it is dropped.
    fn tensor(&self, shape: &[usize]) -> Tensor {
        Tensor::zeros(shape)
    }

    /// Packs `y = x · weightᵀ + bias`; `weight` is `(out, in)` as PyTorch keeps it, `bias` `(out)`.
    fn pack_linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Linear;

    /// The same from a weight as a file holds it. A device that can reads it row by row, so that no
    /// more memory is needed than the packed form takes.
    fn pack_stored_linear(&self, weight: &StoredMatrix<'_>, bias: Option<&Tensor>) -> Linear {
        self.pack_linear(&weight.to_tensor(), bias)
    }

    /// Bytes that [`Device::pack_stored_linear`] would keep of a weight. No value of it is read: where the
    /// form depends on the values, it is the larger one.
    fn linear_bytes(&self, weight: &StoredMatrix<'_>) -> usize {
        weight.rows() * weight.columns() * size_of::<f32>()
    }

    /// Bytes that [`Device::pack_conv2d`] would keep of a weight of `shape` `(out, in, kernel, kernel)`. No
    /// value of it is read: where the form depends on the values, it is the larger one.
    fn conv2d_bytes(
        &self,
        _weight: &StoredMatrix<'_>,
        shape: [usize; 4],
        _geometry: ConvGeometry,
    ) -> usize {
        shape.iter().product::<usize>() * size_of::<f32>()
    }

    /// Bytes that [`Device::convolve`] takes besides input, output and weights while it runs, on all threads,
    /// at most: for a kernel of 3 × 3 over `[in, out]` channels, at stride 1.
    fn conv2d_work_bytes(&self, _channels: [usize; 2]) -> usize {
        0
    }

    /// Gives back memory that it keeps for ops to come: before much else is taken, such as a model's weights.
    fn release_idle(&self) {}

    /// How this device's packed linear layers are laid out: an image of a layer is understood by those
    /// devices that say the same. `None` if it makes no images.
    fn packed_layout(&self) -> Option<String> {
        None
    }

    /// A linear layer's packed weight as bytes; `None` if this device makes no images of it.
    fn linear_image<'a>(&self, _layer: &'a Linear) -> Option<PackedImage<'a>> {
        None
    }

    /// A linear layer over an image that a device of the same layout made, used where it lies. `None` if
    /// it is none of this device's, or not of the size that it should have.
    fn linear_of_image(&self, _part: &PackedPart<'_>, _bias: Option<&Tensor>) -> Option<Linear> {
        None
    }

    /// Packs a convolution; `weight` is `(out, in, kernel, kernel)` as PyTorch keeps it, `bias` `(out)`.
    fn pack_conv2d(&self, weight: &Tensor, bias: Option<&Tensor>, geometry: ConvGeometry)
    -> Conv2d;

    /// A linear layer over the features of all `inputs` side by side, each `(batch, rows, features)`,
    /// then its epilogue. Returns `(batch, rows, out)`.
    fn linear_concat(&self, layer: &Linear, inputs: &[&Tensor], epilogue: Epilogue<'_>) -> Tensor;

    /// A linear layer over `(batch, rows, in)`, then its epilogue. Returns `(batch, rows, out)`.
    fn linear(&self, layer: &Linear, input: &Tensor, epilogue: Epilogue<'_>) -> Tensor {
        self.linear_concat(layer, &[input], epilogue)
    }

    /// [`Device::linear_concat`] with `added`, `(batch, rows, out)`, added to the sums before the epilogue:
    /// what a low-rank adapter beside the layer adds to it.
    fn linear_added(
        &self,
        layer: &Linear,
        inputs: &[&Tensor],
        added: &Tensor,
        epilogue: Epilogue<'_>,
    ) -> Tensor;

    /// A convolution over `(batch, height, width, in)`, plus `residual` of the output's shape.
    fn conv2d(&self, layer: &Conv2d, input: &Tensor, residual: Option<&Tensor>) -> Tensor {
        let shape = layer.output_shape(input);
        let mut output = match residual {
            Some(residual) => residual.clone(),
            None => self.tensor(&shape),
        };
        let convolution = Convolution {
            layer,
            input: Strip::whole(input),
            norm: None,
            rows: 0..shape[1],
        };
        let target = Target {
            tensor: &mut output,
            first_row: 0,
            add: residual.is_some(),
        };
        self.convolve(&convolution, target);
        output
    }

    /// Some rows of a convolution, with what is fused into it. The same rows get the same bits,
    /// whichever strips they are computed in.
    fn convolve(&self, convolution: &Convolution<'_>, target: Target<'_>);

    /// Adds the rows of `strip`, which follow those added before, to the sums of a group norm.
    fn add_group_sums(&self, sums: &mut GroupSums, strip: &Tensor);

    /// Self-attention over the joined sequence of all segments. Returns one
    /// `(batch, segment_sequence, heads * head_dim)` tensor per segment.
    fn attention(&self, attention: &Attention<'_>) -> Vec<Tensor>;

    /// An empty cache for [`Device::cached_attention`].
    fn key_value_cache(&self, size: CacheSize) -> KeyValueCache;

    /// Attention of new tokens to those in `cache` and to each other, causal; the cache holds them, too,
    /// from then on. Returns `(batch, new tokens, heads * head_dim)`, to the bit the same however the
    /// tokens are spread over calls.
    fn cached_attention(
        &self,
        cache: &mut KeyValueCache,
        attention: &CachedAttention<'_>,
    ) -> Tensor;

    /// Layer norm without weights, then `x * (1 + scale) + shift` per sample.
    /// `input` is `(batch, rows, width)`.
    fn adaln(&self, input: &Tensor, scale: Chunk<'_>, shift: Chunk<'_>, eps: f32) -> Tensor;

    /// Layer norm over the last axis; `weight` and `bias` are `(width)`.
    fn layer_norm(&self, input: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Tensor;

    /// Root-mean-square norm over the last axis; `weight` is `(width)`.
    fn rms_norm(&self, input: &Tensor, weight: &Tensor, eps: f32) -> Tensor;

    /// Group norm over `(batch, height, width, channels)`, then an optional activation.
    fn group_norm(
        &self,
        input: &Tensor,
        norm: &GroupNorm,
        activation: Option<Activation>,
    ) -> Tensor;

    /// The rows of `table` `(vocabulary, width)` at `ids`. Returns `(batch, ids / batch, width)`.
    fn embedding(&self, table: &Tensor, ids: &[u32], batch: usize) -> Tensor;

    /// `x * sigmoid(x)`, value by value.
    fn silu(&self, input: &Tensor) -> Tensor;

    /// The sum of two tensors of one shape.
    fn add(&self, a: &Tensor, b: &Tensor) -> Tensor;
}

/// A value-by-value non-linearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * Φ(x)` with the exact error function.
    Gelu,
    /// The tanh approximation of GELU (`gelu_new`, `gelu_pytorch_tanh`).
    GeluTanh,
    /// `x * sigmoid(1.702 x)`.
    QuickGelu,
    /// `x * sigmoid(x)`.
    Silu,
    /// `max(x, 0)`.
    Relu,
}

/// What a linear layer does with `y = x · Wᵀ + b` while it is still in the cache.
#[derive(Clone, Copy, Debug)]
pub enum Epilogue<'a> {
    /// `y`
    None,
    /// `activation(y)`
    Activation(Activation),
    /// `y * other`, `other` of the output's shape.
    Multiply(&'a Tensor),
    /// `residual + y`, `residual` of the output's shape.
    Residual(&'a Tensor),
    /// `residual + gate * y`: the gated residual of an adaLN-Zero block.
    GateResidual {
        /// One row of `out` values per sample.
        gate: Chunk<'a>,
        /// `(batch, rows, out)`
        residual: &'a Tensor,
    },
}

/// One row per sample out of a modulation table: the `index`-th of the equal parts of each row of
/// `(batch, parts * width)`.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// `(batch, parts * width)`
    pub table: &'a Tensor,
    /// Which part.
    pub index: usize,
}

impl<'a> Chunk<'a> {
    /// The `width` values of one sample.
    pub fn row(&self, sample: usize, width: usize) -> &'a [f32] {
        &self.table.sample(sample)[self.index * width..][..width]
    }
}

/// Self-attention over one or several sequences that attend to each other as one.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// The sequences in their order. FLUX's double-stream blocks have two: text, then picture.
    pub segments: &'a [Segment<'a>],
    /// The number of heads.
    pub heads: usize,
    /// What the scores are multiplied by, usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// Rotation of queries and keys, one row per token of the joined sequence.
    pub rope: Option<&'a RopeTable>,
    /// What is added to the scores.
    pub mask: Mask<'a>,
}

impl Attention<'_> {
    /// Batch size, joined sequence length and head width, checked over all segments.
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        let [batch, _, width] = self.segments[0].qkv.rank3();
        let head_dim = width / 3 / self.heads;
        assert_eq!(width, 3 * self.heads * head_dim, "this is a bug");
        let sequence = self.segments.iter().map(|s| s.qkv.dim(1)).sum();
        for segment in self.segments {
            let shape = segment.qkv.rank3();
            assert_eq!((shape[0], shape[2]), (batch, width), "this is a bug");
        }
        if let Some(rope) = self.rope {
            assert_eq!(rope.cos.shape(), [sequence, head_dim / 2], "this is a bug");
        }
        if let Mask::RelativeBias(bias) = self.mask {
            assert_eq!(
                bias.shape(),
                [self.heads, 2 * sequence - 1],
                "this is a bug"
            );
        }
        (batch, sequence, head_dim)
    }
}

/// One sequence of an [`Attention`].
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// `(batch, sequence, 3 * heads * head_dim)`: all queries, then all keys, then all values.
    pub qkv: &'a Tensor,
    /// RMS norm of each head's queries and keys, before the rotation.
    pub norm: Option<QkNorm<'a>>,
}

/// The weights of a QK-RMSNorm.
#[derive(Clone, Copy, Debug)]
pub struct QkNorm<'a> {
    /// `(head_dim)`
    pub query: &'a Tensor,
    /// `(head_dim)`
    pub key: &'a Tensor,
    /// Added to the mean square.
    pub eps: f32,
}

/// What is added to the attention scores.
#[derive(Clone, Copy, Debug)]
pub enum Mask<'a> {
    /// Every token attends to every token.
    None,
    /// A token attends to itself and to those before it.
    Causal,
    /// A learned bias by distance, `(heads, 2 * sequence - 1)`: the score of query `i` and key `j`
    /// gets column `j - i + sequence - 1`.
    RelativeBias(&'a Tensor),
}

/// Which features of a head a rotation pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeLayout {
    /// Neighbours: `2 i` and `2 i + 1`, as in FLUX and the paper (Su et al. 2021, RoFormer).
    Interleaved,
    /// The halves: `i` and `head_dim / 2 + i`, as language models of the Llama family do
    /// (transformers, `rotate_half`).
    Halves,
}

/// Rotary position embedding: the angle of each pair of features of each token.
#[derive(Clone, Debug)]
pub struct RopeTable {
    /// Which features are pairs.
    pub layout: RopeLayout,
    /// `(sequence, head_dim / 2)`
    pub cos: Tensor,
    /// `(sequence, head_dim / 2)`
    pub sin: Tensor,
}

/// A group norm's parameters.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    /// Into how many groups the channels fall.
    pub groups: usize,
    /// `(channels)`
    pub weight: Tensor,
    /// `(channels)`
    pub bias: Tensor,
    /// Added to the variance.
    pub eps: f32,
}

/// How a convolution walks over its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvGeometry {
    /// Step in both directions.
    pub stride: usize,
    /// Zeros around the input.
    pub padding: Padding,
    /// Double the input first, each pixel becoming 2 × 2 (nearest): the decoder's upsampling, without
    /// ever storing the larger picture.
    pub upsample: bool,
}

impl ConvGeometry {
    /// Output height and width for an input of `height` × `width` under a square kernel.
    pub fn output(&self, height: usize, width: usize, kernel: usize) -> (usize, usize) {
        let grow = if self.upsample { 2 } else { 1 };
        let (top, bottom) = (self.padding.top, self.padding.bottom);
        let (left, right) = (self.padding.left, self.padding.right);
        (
            (height * grow + top + bottom - kernel) / self.stride + 1,
            (width * grow + left + right - kernel) / self.stride + 1,
        )
    }
}

/// Zeros around a picture, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns on the left.
    pub left: usize,
    /// Columns on the right.
    pub right: usize,
}

impl Padding {
    /// The same on all four sides.
    pub const fn all(pixels: usize) -> Self {
        Self {
            top: pixels,
            bottom: pixels,
            left: pixels,
            right: pixels,
        }
    }
}

/// A linear layer packed by a device.
pub struct Linear {
    in_features: usize,
    out_features: usize,
    packed: Packed,
}

impl Linear {
    /// For devices: a layer of these sizes over the device's own `packed` form.
    pub fn new<T: Any + Send + Sync>(in_features: usize, out_features: usize, packed: T) -> Self {
        Self {
            in_features,
            out_features,
            packed: Packed(Box::new(packed)),
        }
    }

    /// The width of the input.
    pub fn in_features(&self) -> usize {
        self.in_features
    }

    /// The width of the output.
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// For devices: the packed form.
    ///
    /// # Panics
    /// If another device packed this layer.
    pub fn packed<T: Any>(&self) -> &T {
        self.packed.get()
    }
}

impl fmt::Debug for Linear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linear({} -> {})", self.in_features, self.out_features)
    }
}

/// A convolution packed by a device.
pub struct Conv2d {
    kernel: usize,
    in_channels: usize,
    out_channels: usize,
    geometry: ConvGeometry,
    packed: Packed,
}

impl Conv2d {
    /// For devices: a convolution with a weight of `shape` `(out, in, kernel, kernel)` over the
    /// device's own `packed` form.
    ///
    /// # Panics
    /// If the kernel is not square.
    pub fn new<T: Any + Send + Sync>(shape: [usize; 4], geometry: ConvGeometry, packed: T) -> Self {
        let [out_channels, in_channels, kernel, kernel_width] = shape;
        assert_eq!(kernel, kernel_width, "kernels are square; this is a bug");
        Self {
            kernel,
            in_channels,
            out_channels,
            geometry,
            packed: Packed(Box::new(packed)),
        }
    }

    /// Strips of an output begin at multiples of this many rows: devices may compute rows in groups.
    pub const ROW_STEP: usize = 4;

    /// The rows of an input of `height` rows that the output's `rows` are computed from.
    pub fn input_rows(&self, rows: &Range<usize>, height: usize) -> Range<usize> {
        let grow = if self.geometry.upsample { 2 } else { 1 };
        let (stride, top) = (self.geometry.stride, self.geometry.padding.top);
        let first = (rows.start * stride).saturating_sub(top);
        let end = (rows.end.max(1) - 1) * stride + self.kernel;
        let end = end.saturating_sub(top).min(height * grow);
        first / grow..end.div_ceil(grow).max(first / grow)
    }

    /// The side of the square kernel.
    pub fn kernel(&self) -> usize {
        self.kernel
    }

    /// The channels of the input.
    pub fn in_channels(&self) -> usize {
        self.in_channels
    }

    /// The channels of the output.
    pub fn out_channels(&self) -> usize {
        self.out_channels
    }

    /// How the convolution walks over its input.
    pub fn geometry(&self) -> ConvGeometry {
        self.geometry
    }

    /// The shape of the output for `input`.
    pub fn output_shape(&self, input: &Tensor) -> [usize; 4] {
        let [batch, height, width, channels] = input.rank4();
        assert_eq!(channels, self.in_channels, "this is a bug");
        let (height, width) = self.geometry.output(height, width, self.kernel);
        [batch, height, width, self.out_channels]
    }

    /// For devices: the packed form.
    ///
    /// # Panics
    /// If another device packed this layer.
    pub fn packed<T: Any>(&self) -> &T {
        self.packed.get()
    }
}

impl fmt::Debug for Conv2d {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = self.kernel;
        write!(
            f,
            "Conv2d({} -> {}, {side}x{side}, {:?})",
            self.in_channels, self.out_channels, self.geometry
        )
    }
}

/// A device's own form of a weight or a cache.
pub(crate) struct Packed(pub Box<dyn Any + Send + Sync>);

impl Packed {
    fn get<T: Any>(&self) -> &T {
        self.0
            .downcast_ref()
            .expect("a layer runs on the device that packed it; this is a bug")
    }

    pub fn get_mut<T: Any>(&mut self) -> &mut T {
        self.0
            .downcast_mut()
            .expect("a cache is used on the device that made it; this is a bug")
    }
}
