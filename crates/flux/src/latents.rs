//! Latents as the transformer sees them: two by two neighbours in one token, and the tokens' ids.
//!
//! The VAE's side is NHWC here, `(batch, height, width, channels)`; a token holds its four
//! neighbours channel by channel, as `FluxPipeline._pack_latents` of `diffusers` lays them out.

use tintype_compute::Tensor;

/// Latents in one token: two by two.
pub const PATCH: usize = 2;

/// Packs noise in torch's order, `(channels, height, width)`, into `height/2 * width/2` tokens of
/// `4 * channels` values, appended to `tokens`.
///
/// # Panics
/// If a side is odd or the number of values does not fit.
pub fn pack_planes(noise: &[f32], channels: usize, height: usize, width: usize) -> Vec<f32> {
    assert_eq!(noise.len(), channels * height * width, "this is a bug");
    gather_tokens(channels, height, width, |c, y, x| {
        noise[(c * height + y) * width + x]
    })
}

/// Packs latents `(batch, height, width, channels)` into `(batch, height/2 * width/2, 4 * channels)`.
///
/// # Panics
/// If a side is odd.
pub fn pack(latents: &Tensor) -> Tensor {
    let [batch, height, width, channels] = latents.rank4();
    let mut tokens = Vec::with_capacity(latents.data().len());
    for index in 0..batch {
        let sample = latents.sample(index);
        tokens.extend(gather_tokens(channels, height, width, |c, y, x| {
            sample[(y * width + x) * channels + c]
        }));
    }
    let shape = [
        batch,
        height / PATCH * (width / PATCH),
        channels * PATCH * PATCH,
    ];
    Tensor::from_vec(shape, tokens)
}

/// Unpacks tokens `(batch, height/2 * width/2, 4 * channels)` into `(batch, height, width, channels)`.
///
/// # Panics
/// If `height` and `width` do not fit the number of tokens.
pub fn unpack(tokens: &Tensor, height: usize, width: usize) -> Tensor {
    let [batch, length, token_width] = tokens.rank3();
    assert_eq!(length * PATCH * PATCH, height * width, "this is a bug");
    let channels = token_width / (PATCH * PATCH);
    let mut latents = Vec::with_capacity(tokens.data().len());
    for index in 0..batch {
        let sample = tokens.sample(index);
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            let token = y / PATCH * (width / PATCH) + x / PATCH;
            let corner = y % PATCH * PATCH + x % PATCH;
            let values = &sample[token * token_width..][..token_width];
            latents.extend((0..channels).map(|c| values[c * PATCH * PATCH + corner]));
        }
    }
    Tensor::from_vec([batch, height, width, channels], latents)
}

/// The tokens' values in order: rows, columns, then channel, row and column within the token.
fn gather_tokens(
    channels: usize,
    height: usize,
    width: usize,
    value: impl Fn(usize, usize, usize) -> f32,
) -> Vec<f32> {
    assert!(
        height.is_multiple_of(PATCH) && width.is_multiple_of(PATCH),
        "this is a bug"
    );
    let mut tokens = Vec::with_capacity(channels * height * width);
    for row in 0..height / PATCH {
        for column in 0..width / PATCH {
            for channel in 0..channels {
                for corner in 0..PATCH * PATCH {
                    let y = row * PATCH + corner / PATCH;
                    let x = column * PATCH + corner % PATCH;
                    tokens.push(value(channel, y, x));
                }
            }
        }
    }
    tokens
}

/// Which picture a token belongs to: the first coordinate of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The picture that is being drawn.
    Target,
    /// A reference of an edit, counted from 0.
    Reference(usize),
}

/// The ids `[role, row, column]` of a grid of tokens, row by row. `rows` and `columns` count
/// tokens, not latents.
pub fn image_ids(role: Role, rows: usize, columns: usize) -> Vec<[f32; 3]> {
    let first = match role {
        Role::Target => 0.0,
        Role::Reference(index) => (index + 1) as f32,
    };
    (0..rows)
        .flat_map(|row| (0..columns).map(move |column| [first, row as f32, column as f32]))
        .collect()
}

/// The ids of text tokens: all zero.
pub fn text_ids(length: usize) -> Vec<[f32; 3]> {
    vec![[0.0; 3]; length]
}
