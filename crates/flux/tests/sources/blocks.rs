//! Every encoding in blocks, those of 256 values too: a model whose rows are wide enough for them draws
//! from blocks what it draws from the values that the blocks stand for.
//!
//! The blocks hold random codes and scales. How they are decoded is for the tests of `weights` to say;
//! here every way from a file to a picture has to take them alike: rows of fused layers, panels of
//! products, embeddings.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use safetensors::Dtype;
use tintype_compute::Encoding;

use super::gguf::{architecture, decoded, write, write_plain};
use super::maker::{self, Stored, Tensors};
use super::scene::Scene;

/// How many times wider than the golden model: its 32 values a row become 256.
const WIDER: usize = 8;

/// Blocks of random codes and scales whose values are about as great as these.
pub fn random_blocks(encoding: Encoding, values: &[f32]) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(values.len() as u64);
    let mut out = Vec::new();
    for wanted in values.chunks_exact(encoding.block_values()) {
        let mut block = vec![0; encoding.block_bytes()];
        rng.fill(&mut block[..]);
        scale(encoding, &mut block, 1.0);
        let unscaled = decoded(encoding, &block);
        scale(encoding, &mut block, size(wanted) / size(&unscaled));
        out.extend(block);
    }
    out
}

/// The root of the mean square.
fn size(values: &[f32]) -> f32 {
    let squares: f32 = values.iter().map(|value| value * value).sum();
    (squares / values.len() as f32).sqrt()
}

/// Writes the numbers in half precision that a block's scales and minima are multiplied with.
fn scale(encoding: Encoding, block: &mut [u8], by: f32) {
    let places: &[usize] = match encoding {
        Encoding::Q4_0 | Encoding::Q5_0 | Encoding::Q8_0 => &[0],
        Encoding::Q4_1 | Encoding::Q5_1 | Encoding::Q4K | Encoding::Q5K => &[0, 2],
        Encoding::Q2K => &[80, 82],
        Encoding::Q3K => &[108],
        Encoding::Q6K => &[208],
        other => panic!("{other} has no blocks"),
    };
    for &place in places {
        block[place..place + 2].copy_from_slice(&half::f16::from_f32(by).to_le_bytes());
    }
}

/// Random tensors of these names, with these sizes.
fn random(names: &Tensors, sizes: impl Fn(&str, &[usize]) -> Vec<usize>) -> Tensors {
    let mut rng = StdRng::seed_from_u64(1);
    let mut tensors = Tensors::default();
    for (name, stored) in &names.0 {
        let shape = sizes(name, &stored.shape);
        let (centre, spread) = match shape.len() {
            1 if name.ends_with(".weight") => (1.0, 0.2),
            1 => (0.0, 0.1),
            _ => (0.0, 1.0 / (shape[1] as f32).sqrt()),
        };
        let count: usize = shape.iter().product();
        let values = (0..count).map(|_| centre + spread * rng.random_range(-1.0..1.0_f32));
        let bytes = values.flat_map(f32::to_le_bytes).collect();
        let dtype = Dtype::F32;
        let stored = Stored {
            dtype,
            shape,
            bytes,
        };
        tensors.0.insert(name.clone(), stored);
    }
    tensors
}

/// The transformer's widths are multiples of 32; its heads, its latents and CLIP's vector stay.
fn transformer_sizes(name: &str, shape: &[usize]) -> Vec<usize> {
    let of_timestep = name.ends_with("timestep_embedder.linear_1.weight");
    let wider = |(place, &size): (usize, &usize)| match size.is_multiple_of(32) {
        true if !(of_timestep && place == 1) => size * WIDER,
        _ => size,
    };
    shape.iter().enumerate().map(wider).collect()
}

/// T5 keeps its vocabulary, its distances and the size of its heads.
fn t5_sizes(name: &str, shape: &[usize]) -> Vec<usize> {
    let is_table = ["shared", "embed_tokens", "relative_attention_bias"];
    let is_table = is_table.iter().any(|table| name.contains(table));
    let wider = |(place, &size): (usize, &usize)| match is_table && place == 0 {
        true => size,
        false => size * WIDER,
    };
    shape.iter().enumerate().map(wider).collect()
}

/// The golden model with a wide transformer and T5, which stand in folders of their own.
struct Wide {
    scene: Scene,
    transformer: Tensors,
    t5: Tensors,
}

impl Wide {
    fn new() -> Self {
        let scene = Scene::of_separate_files("schnell");
        let folder = |name: &str, tensors: Tensors| {
            let folder = scene.path(name);
            std::fs::create_dir(&folder).expect("a folder");
            tensors.write(&folder.join("wide.safetensors"));
            folder
        };
        let golden = Tensors::of_folder(&scene.part("transformer"));
        let transformer = folder("wide-1", random(&golden, transformer_sizes));
        let t5 = folder("wide-2", random(&scene.t5(), t5_sizes));
        let (transformer, t5) = (
            maker::original_transformer(&transformer),
            maker::llama_cpp_t5(&t5),
        );
        for name in ["wide-1", "wide-2", "flux1-schnell.safetensors"] {
            scene.remove(name);
        }
        scene.remove("t5xxl_fp16.safetensors");
        Self {
            scene,
            transformer,
            t5,
        }
    }

    /// Draws from blocks, and from their values.
    fn draw_both(&self, encoding: Encoding) -> [Vec<image::RgbImage>; 2] {
        let Self {
            scene,
            transformer,
            t5,
        } = self;
        let blocks = ["flux1-schnell.gguf", "t5-encoder.gguf"];
        let plain = ["flux1-schnell.safetensors", "t5xxl.safetensors"];
        write(
            scene,
            blocks[0],
            transformer,
            encoding,
            &[architecture("flux")],
        );
        write(scene, blocks[1], t5, encoding, &[architecture("t5encoder")]);
        let of_blocks = scene.draw();
        blocks.into_iter().for_each(|name| scene.remove(name));
        write_plain(scene, plain[0], transformer, encoding);
        write_plain(scene, plain[1], t5, encoding);
        let of_values = scene.draw();
        plain.into_iter().for_each(|name| scene.remove(name));
        [of_blocks, of_values]
    }
}

#[test]
fn blocks_of_every_encoding_draw_what_their_values_draw() {
    let wide = Wide::new();
    let mut seen: Vec<Vec<image::RgbImage>> = Vec::new();
    for encoding in Encoding::ALL {
        if encoding.block_values() == 1 {
            continue;
        }
        let [of_blocks, of_values] = wide.draw_both(encoding);
        assert!(of_blocks == of_values, "{encoding}");
        assert!(!seen.contains(&of_blocks), "{encoding} is not another's");
        seen.push(of_blocks);
    }
    assert_eq!(seen.len(), 10);
}
