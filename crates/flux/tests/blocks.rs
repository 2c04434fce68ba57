//! The models block by block against diffusers and transformers, on both devices.
//! `tests/golden/README.md` describes the files.
//!
//! Every block gets the reference's own input of that block, so that a difference is the block's own;
//! the whole model follows. Two samples run at once where the reference ran two.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use safetensors::SafeTensors;
use tintype_compute::{CpuDevice, Device, ReferenceDevice, Tensor};
use tintype_flux::{
    clip::ClipTextEncoder,
    mmdit::{Input, Mmdit},
    t5::T5Encoder,
    vae::Vae,
    weights::{Error, Weights},
};

/// Relative RMS error that a block may have: f32 in another order of summation than torch's stays
/// thirty times below it, a wrong `eps` or approximation of GELU does not.
const TOLERANCE: f64 = 1e-5;

/// Whole models, through all blocks: the errors of the blocks add up.
const WHOLE_TOLERANCE: f64 = 1e-4;

const CASES: [&str; 4] = ["schnell", "dev", "kontext", "plain"];

fn devices() -> [Arc<dyn Device>; 2] {
    [Arc::new(ReferenceDevice), Arc::new(CpuDevice::in_f32(2))]
}

fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(case)
}

/// Runs `test` for every case on every device with the component's config and weights and the golden
/// tensors of `file`.
fn for_each_case(
    component: &str,
    file: &str,
    test: impl Fn(&Golden, String, Weights, Arc<dyn Device>),
) {
    for case in CASES {
        let folder = golden(case).join("model").join(component);
        let config = fs::read_to_string(folder.join("config.json")).expect("golden config");
        for device in devices() {
            let golden = Golden {
                name: format!("{case} {file} on {}", device.name()),
                bytes: fs::read(golden(case).join(format!("{file}.safetensors"))).expect("golden"),
            };
            let weights = Weights::open(&folder).expect("golden weights open");
            test(&golden, config.clone(), weights, device);
        }
    }
}

struct Golden {
    name: String,
    bytes: Vec<u8>,
}

impl Golden {
    fn has(&self, name: &str) -> bool {
        self.file().tensor(name).is_ok()
    }

    fn file(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).expect("golden file")
    }

    fn tensor(&self, name: &str) -> Tensor {
        let file = self.file();
        let view = file.tensor(name).expect("golden tensor");
        let values = view.data().as_chunks().0.iter();
        Tensor::from_vec(
            view.shape(),
            values.map(|&bytes| f32::from_le_bytes(bytes)).collect(),
        )
    }

    /// A picture or latents, turned from `(batch, channels, height, width)` to channels last.
    fn picture(&self, name: &str) -> Tensor {
        let tensor = self.tensor(name);
        let [batch, channels, height, width] = tensor.rank4();
        let plane = height * width;
        let mut output = Tensor::zeros([batch, height, width, channels]);
        for (index, value) in output.data_mut().iter_mut().enumerate() {
            let (sample, rest) = (index / (plane * channels), index % (plane * channels));
            let (pixel, channel) = (rest / channels, rest % channels);
            *value = tensor.data()[(sample * channels + channel) * plane + pixel];
        }
        output
    }

    fn ids(&self) -> (Vec<u32>, usize) {
        let file = self.file();
        let view = file.tensor("ids").expect("golden ids");
        let values = view.data().as_chunks().0.iter();
        let ids = values.map(|&bytes| i64::from_le_bytes(bytes) as u32);
        (ids.collect(), view.shape()[0])
    }

    fn positions(&self, name: &str) -> Vec<[f32; 3]> {
        self.tensor(name).data().as_chunks().0.to_vec()
    }

    fn check(&self, what: &str, found: &Tensor) {
        self.compare(what, found, &self.tensor(what), TOLERANCE);
    }

    fn check_picture(&self, what: &str, found: &Tensor) {
        self.compare(what, found, &self.picture(what), TOLERANCE);
    }

    fn compare(&self, what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
        assert_eq!(found.shape(), expected.shape(), "{} {what}", self.name);
        let pairs = || found.data().iter().zip(expected.data());
        let error: f64 = pairs().map(|(f, e)| f64::from(f - e).powi(2)).sum();
        let power: f64 = pairs().map(|(_, e)| f64::from(*e).powi(2)).sum();
        let error = (error / power).sqrt();
        assert!(
            error <= tolerance,
            "{} {what}: relative RMS error {error:e}",
            self.name
        );
    }
}

#[test]
fn t5_block_by_block() {
    for_each_case("text_encoder_2", "t5", |golden, config, weights, device| {
        let model = T5Encoder::load(&config, weights, device).expect("loads");
        let (ids, batch) = golden.ids();
        let mut input = model.embed(&ids, batch);
        golden.check("embedding", &input);
        let bias = model.position_bias(input.dim(1));
        for (index, block) in model.blocks().iter().enumerate() {
            let name = format!("block.{index}");
            golden.check(&name, &block.forward(&input, &bias));
            input = golden.tensor(&name);
        }
        let expected = golden.tensor("output");
        let found = model.forward(&ids, batch);
        golden.compare("output", &found, &expected, WHOLE_TOLERANCE);
    });
}

#[test]
fn clip_block_by_block() {
    for_each_case("text_encoder", "clip", |golden, config, weights, device| {
        let model = ClipTextEncoder::load(&config, weights, device).expect("loads");
        let (ids, batch) = golden.ids();
        let mut input = model.embed(&ids, batch);
        golden.check("embedding", &input);
        for (index, block) in model.blocks().iter().enumerate() {
            let name = format!("layer.{index}");
            golden.check(&name, &block.forward(&input));
            input = golden.tensor(&name);
        }
        for (name, found) in [
            ("last_hidden_state", model.forward(&ids, batch)),
            ("pooled", model.forward_pooled(&ids, batch)),
        ] {
            golden.compare(name, &found, &golden.tensor(name), WHOLE_TOLERANCE);
        }
    });
}

#[test]
fn mmdit_block_by_block() {
    for_each_case("transformer", "mmdit", |golden, config, weights, device| {
        let model = Mmdit::load(&config, weights, device.clone()).expect("loads");
        golden.check(
            "x_embedder",
            &model.embed_image(&golden.tensor("input.latents")),
        );
        golden.check(
            "context_embedder",
            &model.embed_text(&golden.tensor("input.text")),
        );
        check_condition(golden, &model);

        let text_ids = golden.positions("input.text_ids");
        let rope = model.rope(&text_ids, &golden.positions("input.image_ids"));
        check_rope(golden, &rope);

        let embedded = golden.tensor("time_text_embed");
        let [batch, hidden] = [embedded.dim(0), embedded.dim(1)];
        let embedded = embedded.reshape([batch, 1, hidden]);
        let activated = device.silu(&embedded);
        let mut image = golden.tensor("x_embedder");
        let mut text = golden.tensor("context_embedder");
        for (index, block) in model.double_blocks().iter().enumerate() {
            let modulation = &block.modulations(&activated)[0];
            let found = block.forward(&image, &text, modulation, &rope);
            for (stream, found, input) in
                [("image", found.0, &mut image), ("text", found.1, &mut text)]
            {
                let name = format!("double.{index}.{stream}");
                golden.check(&name, &found);
                *input = golden.tensor(&name);
            }
        }
        for (index, block) in model.single_blocks().iter().enumerate() {
            let joined = Tensor::concat_sequence(&[&text, &image]);
            let found = block.forward(&joined, &block.modulations(&activated)[0], &rope);
            let (text_length, image_length) = (text.dim(1), image.dim(1));
            for (stream, start, length, input) in [
                ("text", 0, text_length, &mut text),
                ("image", text_length, image_length, &mut image),
            ] {
                let name = format!("single.{index}.{stream}");
                golden.check(&name, &found.narrow_sequence(start, length));
                *input = golden.tensor(&name);
            }
        }
        golden.check(
            "output",
            &model.project(&image, &model.modulate(&embedded)[0]),
        );
        check_whole_mmdit(golden, &model);
    });
}

/// The guidance that a sample was run with, if the case has one.
fn guidance(golden: &Golden, sample: usize) -> Option<f32> {
    golden
        .has("input.guidance")
        .then(|| golden.tensor("input.guidance").data()[sample])
}

fn only(tensor: &Tensor, sample: usize) -> Tensor {
    let mut shape = tensor.shape().to_vec();
    shape[0] = 1;
    Tensor::from_vec(shape, tensor.sample(sample).to_vec())
}

/// The conditioning vector, sample by sample: each has its own timestep in the golden file.
fn check_condition(golden: &Golden, model: &Mmdit) {
    let (timesteps, pooled) = (
        golden.tensor("input.timestep"),
        golden.tensor("input.pooled"),
    );
    let expected = golden.tensor("time_text_embed");
    for (sample, &timestep) in timesteps.data().iter().enumerate() {
        let pooled = only(&pooled, sample);
        // A second timestep beside it, as the sampler computes all steps at once.
        let timesteps = [0.25, timestep];
        let found = model.embed_condition(&timesteps, guidance(golden, sample), &pooled);
        let expected = only(&expected, sample);
        let found = found.narrow_sequence(1, 1).reshape(expected.shape());
        golden.compare("time_text_embed", &found, &expected, TOLERANCE);
    }
}

fn check_rope(golden: &Golden, rope: &tintype_compute::RopeTable) {
    for (name, found) in [("rope.cos", &rope.cos), ("rope.sin", &rope.sin)] {
        let twice: Vec<f32> = found.data().iter().flat_map(|&v| [v, v]).collect();
        let expected = golden.tensor(name);
        golden.compare(
            name,
            &Tensor::from_vec(expected.shape(), twice),
            &expected,
            1e-7,
        );
    }
}

fn check_whole_mmdit(golden: &Golden, model: &Mmdit) {
    let latents = golden.tensor("input.latents");
    let (text, pooled) = (golden.tensor("input.text"), golden.tensor("input.pooled"));
    let timesteps = golden.tensor("input.timestep");
    for sample in 0..latents.dim(0) {
        let found = model.forward(Input {
            latents: &only(&latents, sample),
            text: &only(&text, sample),
            pooled: &only(&pooled, sample),
            timestep: timesteps.data()[sample],
            guidance: guidance(golden, sample),
            image_ids: &golden.positions("input.image_ids"),
            text_ids: &golden.positions("input.text_ids"),
        });
        let expected = only(&golden.tensor("output"), sample);
        golden.compare("output", &found, &expected, WHOLE_TOLERANCE);
    }
}

#[test]
fn vae_block_by_block() {
    for_each_case("vae", "vae", |golden, config, weights, device| {
        let model = Vae::load(&config, weights, device).expect("loads");
        let levels = model.config().block_out_channels.len();
        let last = |kind: &str| format!("{kind}.{}", levels - 1);

        let mut input = golden.picture("encoder.conv_in");
        for index in 0..levels {
            let name = format!("encoder.down.{index}");
            golden.check_picture(&name, &model.encoder().forward_level(index, &input));
            input = golden.picture(&name);
        }
        let input = golden.picture(&last("encoder.down"));
        golden.check_picture("encoder.mid", &model.encoder().mid().forward(&input));
        let pictures = golden.picture("encoder.input");

        let input = golden.picture("decoder.conv_in");
        golden.check_picture("decoder.mid", &model.decoder().mid().forward(&input));
        let mut input = golden.picture("decoder.mid");
        for index in 0..levels {
            let name = format!("decoder.up.{index}");
            golden.check_picture(&name, &model.decoder().forward_level(index, &input));
            input = golden.picture(&name);
        }
        let latents = golden.picture("decoder.input");

        for (name, found) in [
            ("encoder.conv_out", model.encoder().forward(&pictures)),
            ("encoder.mean", model.encode(&pictures).mean),
            ("decoder.output", model.decode(&latents)),
        ] {
            golden.compare(name, &found, &golden.picture(name), WHOLE_TOLERANCE);
        }
    });
}

/// The bytes of a sample depend neither on the samples beside it nor on the number of threads.
#[test]
fn batch_and_threads_change_no_byte() {
    let model = golden("kontext").join("model");
    let load = |component: &str| {
        let folder = model.join(component);
        let config = fs::read_to_string(folder.join("config.json")).expect("golden config");
        (config, Weights::open(&folder).expect("golden weights open"))
    };
    let read = |file: &str| Golden {
        name: file.to_owned(),
        bytes: fs::read(golden("kontext").join(format!("{file}.safetensors"))).expect("golden"),
    };
    // Every output of both samples together (`None`) or of one of them alone.
    let run = |threads: usize, sample: Option<usize>| -> Vec<Tensor> {
        let device: Arc<dyn Device> = Arc::new(CpuDevice::new(threads));
        let part = |tensor: Tensor| sample.map_or(tensor.clone(), |index| only(&tensor, index));
        let ids = |golden: &Golden| {
            let (ids, batch) = golden.ids();
            let length = ids.len() / batch;
            match sample {
                Some(index) => (ids[index * length..][..length].to_vec(), 1),
                None => (ids, batch),
            }
        };
        let mut outputs = Vec::new();

        let (config, weights) = load("text_encoder_2");
        let t5 = T5Encoder::load(&config, weights, device.clone()).expect("loads");
        let (tokens, batch) = ids(&read("t5"));
        outputs.push(t5.forward(&tokens, batch));

        let (config, weights) = load("text_encoder");
        let clip = ClipTextEncoder::load(&config, weights, device.clone()).expect("loads");
        let (tokens, batch) = ids(&read("clip"));
        outputs.push(clip.forward_pooled(&tokens, batch));

        let (config, weights) = load("transformer");
        let mmdit = Mmdit::load(&config, weights, device.clone()).expect("loads");
        let golden = read("mmdit");
        outputs.push(mmdit.forward(Input {
            latents: &part(golden.tensor("input.latents")),
            text: &part(golden.tensor("input.text")),
            pooled: &part(golden.tensor("input.pooled")),
            timestep: 0.75,
            guidance: Some(2.5),
            image_ids: &golden.positions("input.image_ids"),
            text_ids: &golden.positions("input.text_ids"),
        }));

        let (config, weights) = load("vae");
        let vae = Vae::load(&config, weights, device).expect("loads");
        let golden = read("vae");
        outputs.push(vae.encode(&part(golden.picture("encoder.input"))).mean);
        outputs.push(vae.decode(&part(golden.picture("decoder.input"))));
        outputs
    };
    let together = run(1, None);
    assert_eq!(run(3, None), together, "threads");
    for sample in 0..2 {
        let expected: Vec<Tensor> = together.iter().map(|t| only(t, sample)).collect();
        assert_eq!(run(2, Some(sample)), expected, "sample {sample} alone");
    }
}

#[test]
fn a_config_that_does_not_fit_the_weights_names_the_tensor() {
    let folder = golden("schnell").join("model/transformer");
    let config = fs::read_to_string(folder.join("config.json")).expect("golden config");
    let load = |from: &str, to: &str| {
        assert!(config.contains(from), "the golden config has {from}");
        let weights = Weights::open(&folder).expect("golden weights open");
        let config = config.replace(from, to);
        Mmdit::load(&config, weights, Arc::new(ReferenceDevice)).expect_err("does not fit")
    };
    let error = load(r#""num_single_layers": 1"#, r#""num_single_layers": 2"#);
    assert!(
        matches!(&error, Error::Missing { name, .. } if name.starts_with("single_transformer_blocks.1.")),
        "{error}"
    );
    let error = load(r#""num_layers": 2"#, r#""num_layers": 1"#);
    assert!(
        matches!(&error, Error::Surplus { name, .. } if name.starts_with("transformer_blocks.1.")),
        "{error}"
    );
    let error = load(
        r#""pooled_projection_dim": 24"#,
        r#""pooled_projection_dim": 25"#,
    );
    assert!(
        matches!(&error, Error::Shape { name, .. } if name == "time_text_embed.text_embedder.linear_1.weight"),
        "{error}"
    );
}
