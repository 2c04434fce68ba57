//! The oracle: every op as the plain loops of its definition.
//!
//! Sums run in f64 and results are rounded to f32 once, so that a disagreement of another device is
//! that device's. Written to be read next to the formula, not to be fast.

mod cached;

use crate::{
    Activation, Attention, CacheSize, CachedAttention, Chunk, Conv2d, ConvGeometry, Convolution,
    Device, Epilogue, GroupNorm, GroupSums, KeyValueCache, Linear, Mask, Normalisation, QkNorm,
    RopeLayout, RopeTable, Strip, Target, Tensor,
};

/// The device of plain loops.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReferenceDevice;

/// Weights as they came.
struct Weights {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Weights {
    fn bias(&self, output: usize) -> f64 {
        self.bias
            .as_ref()
            .map_or(0.0, |bias| f64::from(bias.data()[output]))
    }
}

impl Device for ReferenceDevice {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn pack_linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Linear {
        let (out_features, in_features) = (weight.dim(0), weight.dim(1));
        Linear::new(in_features, out_features, own(weight, bias))
    }

    fn pack_conv2d(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        geometry: ConvGeometry,
    ) -> Conv2d {
        Conv2d::new(weight.rank4(), geometry, own(weight, bias))
    }

    fn linear_concat(&self, layer: &Linear, inputs: &[&Tensor], epilogue: Epilogue<'_>) -> Tensor {
        let [batch, rows, _] = inputs[0].rank3();
        let nothing = Tensor::zeros([batch, rows, layer.out_features()]);
        self.linear_added(layer, inputs, &nothing, epilogue)
    }

    fn linear_added(
        &self,
        layer: &Linear,
        inputs: &[&Tensor],
        added: &Tensor,
        epilogue: Epilogue<'_>,
    ) -> Tensor {
        let packed: &Weights = layer.packed();
        let [batch, rows, _] = inputs[0].rank3();
        let (depth, width) = (layer.in_features(), layer.out_features());
        assert_eq!(added.shape(), [batch, rows, width], "this is a bug");
        let mut output = Vec::with_capacity(batch * rows * width);
        for row in 0..batch * rows {
            let x = joined_row(inputs, row);
            assert_eq!(x.len(), depth, "this is a bug");
            for (column, w) in packed.weight.data().chunks_exact(depth).enumerate() {
                let y = dot(&x, w) + packed.bias(column);
                let y = y + f64::from(added.data()[row * width + column]);
                output.push(finish(y, epilogue, [row / rows, row, column], width) as f32);
            }
        }
        Tensor::from_vec([batch, rows, width], output)
    }

    fn convolve(&self, convolution: &Convolution<'_>, target: Target<'_>) {
        convolution.check(&target);
        let packed: &Weights = convolution.layer.packed();
        let normal = convolution.norm.map(|norm| {
            let rows = normalised_pixels(convolution.input.rows, norm);
            (rows, convolution.input)
        });
        let input = match &normal {
            Some((rows, input)) => Strip { rows, ..*input },
            None => convolution.input,
        };
        let (_, width) = convolution.output_size();
        let [batch, held, _, channels] = target.tensor.rank4();
        for sample in 0..batch {
            for y in convolution.rows.clone() {
                let row = sample * held + y - target.first_row;
                for (i, out) in target.tensor.data_mut()[row * width * channels..]
                    [..width * channels]
                    .iter_mut()
                    .enumerate()
                {
                    let at = [sample, y, i / channels, i % channels];
                    let sum = packed.bias(i % channels)
                        + conv_at(convolution.layer, &packed.weight, &input, at);
                    let before = if target.add { f64::from(*out) } else { 0.0 };
                    *out = (before + sum) as f32;
                }
            }
        }
    }

    fn add_group_sums(&self, sums: &mut GroupSums, strip: &Tensor) {
        let [_, _, width, channels] = strip.rank4();
        let per_group = channels / sums.groups();
        let mut rows = Vec::new();
        for row in strip.data().chunks_exact(width * channels) {
            let mut sums = vec![[0.0; 2]; sums.groups()];
            for (i, x) in row.iter().enumerate() {
                let [sum, squares] = &mut sums[i % channels / per_group];
                *sum += f64::from(*x);
                *squares += f64::from(*x).powi(2);
            }
            rows.append(&mut sums);
        }
        sums.add_rows(&rows, width * per_group);
    }

    fn attention(&self, attention: &Attention<'_>) -> Vec<Tensor> {
        let (batch, sequence, head_dim) = attention.sizes();
        let inner = attention.heads * head_dim;
        let mut joined = Tensor::zeros([batch, sequence, inner]);
        for sample in 0..batch {
            for head in 0..attention.heads {
                let [queries, keys, values] = heads_of(attention, sample, head, head_dim);
                for (i, query) in queries.iter().enumerate() {
                    let weights = softmax(scores(attention, head, i, query, &keys));
                    let start = (sample * sequence + i) * inner + head * head_dim;
                    for (d, out) in joined.data_mut()[start..][..head_dim]
                        .iter_mut()
                        .enumerate()
                    {
                        let sum: f64 = weights.iter().zip(&values).map(|(w, v)| w * v[d]).sum();
                        *out = sum as f32;
                    }
                }
            }
        }
        let mut start = 0;
        let mut outputs = Vec::new();
        for segment in attention.segments {
            let length = segment.qkv.dim(1);
            outputs.push(joined.narrow_sequence(start, length));
            start += length;
        }
        outputs
    }

    fn key_value_cache(&self, size: CacheSize) -> KeyValueCache {
        cached::cache(size)
    }

    fn cached_attention(
        &self,
        cache: &mut KeyValueCache,
        attention: &CachedAttention<'_>,
    ) -> Tensor {
        cached::attention(cache, attention)
    }

    fn adaln(&self, input: &Tensor, scale: Chunk<'_>, shift: Chunk<'_>, eps: f32) -> Tensor {
        let [_, rows, width] = input.rank3();
        by_row(input, |row, x| {
            let (scale, shift) = (scale.row(row / rows, width), shift.row(row / rows, width));
            let normal = normalised(x, eps);
            (0..width)
                .map(|i| normal[i] * (1.0 + f64::from(scale[i])) + f64::from(shift[i]))
                .collect()
        })
    }

    fn layer_norm(&self, input: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Tensor {
        by_row(input, |_, x| {
            let affine = weight.data().iter().zip(bias.data());
            normalised(x, eps)
                .iter()
                .zip(affine)
                .map(|(n, (w, b))| n * f64::from(*w) + f64::from(*b))
                .collect()
        })
    }

    fn rms_norm(&self, input: &Tensor, weight: &Tensor, eps: f32) -> Tensor {
        by_row(input, |_, x| rms_normalised(x, weight.data(), eps))
    }

    fn group_norm(
        &self,
        input: &Tensor,
        norm: &GroupNorm,
        activation: Option<Activation>,
    ) -> Tensor {
        let [batch, height, width, channels] = input.rank4();
        let per_group = channels / norm.groups;
        let mut output = Tensor::zeros(input.shape());
        for sample in 0..batch {
            let pixels = input.sample(sample);
            for group in 0..norm.groups {
                let members: Vec<usize> = (0..height * width)
                    .flat_map(|p| (0..per_group).map(move |c| p * channels + group * per_group + c))
                    .collect();
                let x: Vec<f32> = members.iter().map(|&index| pixels[index]).collect();
                for (&index, normal) in members.iter().zip(normalised(&x, norm.eps)) {
                    let channel = index % channels;
                    let y = normal * f64::from(norm.weight.data()[channel])
                        + f64::from(norm.bias.data()[channel]);
                    let y = activation.map_or(y, |activation| activate(activation, y));
                    output.data_mut()[sample * pixels.len() + index] = y as f32;
                }
            }
        }
        output
    }

    fn embedding(&self, table: &Tensor, ids: &[u32], batch: usize) -> Tensor {
        let width = table.width();
        let rows = ids
            .iter()
            .flat_map(|&id| &table.data()[id as usize * width..][..width]);
        Tensor::from_vec([batch, ids.len() / batch, width], rows.copied().collect())
    }

    fn silu(&self, input: &Tensor) -> Tensor {
        by_row(input, |_, x| {
            x.iter()
                .map(|&x| activate(Activation::Silu, f64::from(x)))
                .collect()
        })
    }

    fn add(&self, a: &Tensor, b: &Tensor) -> Tensor {
        assert_eq!(a.shape(), b.shape(), "this is a bug");
        let sums = a.data().iter().zip(b.data()).map(|(a, b)| a + b);
        Tensor::from_vec(a.shape(), sums.collect())
    }
}

fn own(weight: &Tensor, bias: Option<&Tensor>) -> Weights {
    Weights {
        weight: weight.clone(),
        bias: bias.cloned(),
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

fn joined_row(inputs: &[&Tensor], row: usize) -> Vec<f32> {
    inputs
        .iter()
        .flat_map(|input| &input.data()[row * input.width()..][..input.width()])
        .copied()
        .collect()
}

/// The epilogue of one value at `[sample, row over all samples, column]`.
fn finish(y: f64, epilogue: Epilogue<'_>, at: [usize; 3], width: usize) -> f64 {
    let [sample, row, column] = at;
    let there = |tensor: &Tensor| f64::from(tensor.data()[row * width + column]);
    match epilogue {
        Epilogue::None => y,
        Epilogue::Activation(activation) => activate(activation, y),
        Epilogue::Multiply(other) => y * there(other),
        Epilogue::Residual(residual) => there(residual) + y,
        Epilogue::GateResidual { gate, residual } => {
            there(residual) + f64::from(gate.row(sample, width)[column]) * y
        }
    }
}

/// One output value of a convolution, without its bias.
fn conv_at(layer: &Conv2d, weight: &Tensor, input: &Strip<'_>, at: [usize; 4]) -> f64 {
    let [sample, y, x, channel] = at;
    let [_, _, width, channels] = input.rows.rank4();
    let geometry = layer.geometry();
    let grow = if geometry.upsample { 2 } else { 1 };
    let kernel = layer.kernel();
    let mut sum = 0.0;
    for ky in 0..kernel {
        for kx in 0..kernel {
            // Positions in the padded and doubled picture; outside of it there are zeros.
            let row = (y * geometry.stride + ky).wrapping_sub(geometry.padding.top);
            let column = (x * geometry.stride + kx).wrapping_sub(geometry.padding.left);
            if row >= input.height * grow || column >= width * grow {
                continue;
            }
            let pixel = &input.row(sample, row / grow)[column / grow * channels..][..channels];
            for (c, value) in pixel.iter().enumerate() {
                let w = weight.data()[((channel * channels + c) * kernel + ky) * kernel + kx];
                sum += f64::from(w) * f64::from(*value);
            }
        }
    }
    sum
}

/// `activation(x * factor + offset)`
fn normalised_pixels(rows: &Tensor, norm: &Normalisation) -> Tensor {
    let (batch, channels) = (rows.dim(0), rows.width());
    let mut output = Vec::with_capacity(rows.data().len());
    for sample in 0..batch {
        let affine = norm.affine(sample);
        for (i, x) in rows.sample(sample).iter().enumerate() {
            let [factor, offset] =
                [&affine.factors, &affine.offsets].map(|table| f64::from(table[i % channels]));
            let y = f64::from(*x) * factor + offset;
            let y = norm
                .activation
                .map_or(y, |activation| activate(activation, y));
            output.push(y as f32);
        }
    }
    Tensor::from_vec(rows.shape(), output)
}

/// Queries, keys and values of one head over the joined sequence, each `(sequence)(head_dim)`, queries
/// and keys normalised and rotated.
fn heads_of(
    attention: &Attention<'_>,
    sample: usize,
    head: usize,
    head_dim: usize,
) -> [Vec<Vec<f64>>; 3] {
    let inner = attention.heads * head_dim;
    let mut result = [Vec::new(), Vec::new(), Vec::new()];
    for segment in attention.segments {
        for token in segment.qkv.sample(sample).chunks_exact(3 * inner) {
            for (which, list) in result.iter_mut().enumerate() {
                let x = &token[which * inner + head * head_dim..][..head_dim];
                let x = match (segment.norm, which) {
                    (Some(QkNorm { query, eps, .. }), 0) => rms_normalised(x, query.data(), eps),
                    (Some(QkNorm { key, eps, .. }), 1) => rms_normalised(x, key.data(), eps),
                    _ => x.iter().map(|&x| f64::from(x)).collect(),
                };
                let position = list.len();
                list.push(if which < 2 {
                    rotated(attention.rope, position, x)
                } else {
                    x
                });
            }
        }
    }
    result
}

/// RoPE on pairs of features (diffusers 0.42 embeddings.py, `apply_rotary_emb`; transformers 5.23
/// modeling_qwen3.py, `apply_rotary_pos_emb`).
fn rotated(rope: Option<&RopeTable>, position: usize, mut x: Vec<f64>) -> Vec<f64> {
    if let Some(rope) = rope {
        let half = x.len() / 2;
        for pair in 0..half {
            let cos = f64::from(rope.cos.data()[position * half + pair]);
            let sin = f64::from(rope.sin.data()[position * half + pair]);
            let (first, second) = match rope.layout {
                RopeLayout::Interleaved => (2 * pair, 2 * pair + 1),
                RopeLayout::Halves => (pair, half + pair),
            };
            let (a, b) = (x[first], x[second]);
            x[first] = a * cos - b * sin;
            x[second] = b * cos + a * sin;
        }
    }
    x
}

fn scores(
    attention: &Attention<'_>,
    head: usize,
    i: usize,
    query: &[f64],
    keys: &[Vec<f64>],
) -> Vec<f64> {
    let sequence = keys.len();
    let product = |key: &[f64]| -> f64 { query.iter().zip(key).map(|(q, k)| q * k).sum() };
    keys.iter()
        .enumerate()
        .map(|(j, key)| {
            let score = product(key) * f64::from(attention.scale);
            match attention.mask {
                Mask::None => score,
                Mask::Causal if j <= i => score,
                Mask::Causal => f64::NEG_INFINITY,
                Mask::RelativeBias(bias) => {
                    let row = &bias.data()[head * (2 * sequence - 1)..];
                    score + f64::from(row[j + sequence - 1 - i])
                }
            }
        })
        .collect()
}

fn softmax(mut scores: Vec<f64>) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for score in &mut scores {
        *score = (*score - max).exp();
    }
    let sum: f64 = scores.iter().sum();
    for score in &mut scores {
        *score /= sum;
    }
    scores
}

fn by_row(input: &Tensor, f: impl Fn(usize, &[f32]) -> Vec<f64>) -> Tensor {
    let rows = input.data().chunks_exact(input.width()).enumerate();
    let data = rows.flat_map(|(row, x)| f(row, x)).map(|y| y as f32);
    Tensor::from_vec(input.shape(), data.collect())
}

/// `(x - mean) / sqrt(variance + eps)`
fn normalised(x: &[f32], eps: f32) -> Vec<f64> {
    let count = x.len() as f64;
    let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let centred: Vec<f64> = x.iter().map(|&x| f64::from(x) - mean).collect();
    let variance = centred.iter().map(|x| x * x).sum::<f64>() / count;
    let factor = 1.0 / (variance + f64::from(eps)).sqrt();
    centred.iter().map(|x| x * factor).collect()
}

/// `x / sqrt(mean(x²) + eps) * weight`
fn rms_normalised(x: &[f32], weight: &[f32], eps: f32) -> Vec<f64> {
    let mean_square = dot(x, x) / x.len() as f64;
    let factor = 1.0 / (mean_square + f64::from(eps)).sqrt();
    x.iter()
        .zip(weight)
        .map(|(x, w)| f64::from(*x) * factor * f64::from(*w))
        .collect()
}

/// The non-linearities by their definitions.
pub(crate) fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Relu => x.max(0.0),
    }
}

/// The error function by its Maclaurin series, which at |x| < 6 needs some hundred terms and loses no
/// more than 1e-2 of an f32's last place up to where the function is 1 within f32 anyway (|x| > 4).
fn erf(x: f64) -> f64 {
    if x.abs() > 4.0 {
        return x.signum();
    }
    let mut term = x;
    let mut sum = x;
    let mut n = 0.0;
    while term.abs() > 1e-17 {
        n += 1.0;
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

#[cfg(test)]
mod tests {
    use super::{Activation, activate, erf};

    #[test]
    fn erf_agrees_with_tabulated_values() {
        // Abramowitz & Stegun, table 7.1.
        for (x, expected) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_8),
            (1.0, 0.842_700_792_9),
            (2.0, 0.995_322_265_0),
            (3.5, 0.999_999_256_9),
        ] {
            assert!((erf(x) - expected).abs() < 1e-9, "erf({x}) = {}", erf(x));
            assert!((erf(-x) + expected).abs() < 1e-9);
        }
    }

    #[test]
    fn activations_agree_with_pytorch() {
        // torch 2.15, float64, at x = 0.7.
        for (activation, expected) in [
            (Activation::Gelu, 0.530_625_443_4),
            (Activation::GeluTanh, 0.530_570_134_7),
            (Activation::QuickGelu, 0.536_893_951_7),
            (Activation::Silu, 0.467_731_440_5),
            (Activation::Relu, 0.7),
        ] {
            let found = activate(activation, 0.7);
            assert!((found - expected).abs() < 1e-9, "{activation:?}: {found}");
        }
    }
}
