//! The decoder against transformers, on both devices. `tests/golden/README.md` describes the files.

use std::{fs, sync::Arc};

use tintype_compute::{CpuDevice, CpuOptions, Device, Tensor};
use tintype_language::{Config, Decoder};
use tintype_weights::Weights;

use crate::common::{CASES, Golden, devices, folder};

/// Relative RMS error that the scores may have: f32 in another order of summation than torch's stays
/// thirty times below it, a wrong `eps` or rotation does not.
const TOLERANCE: f64 = 1e-5;

fn load(case: &str, device: Arc<dyn Device>) -> Decoder {
    let folder = folder(case);
    let config = fs::read_to_string(folder.join("config.json")).expect("golden config");
    let config = Config::parse(&config).expect("a known model");
    let weights = Weights::open(&folder).expect("golden weights open");
    Decoder::load(config, weights, device).expect("loads")
}

fn for_each_case(test: impl Fn(&Golden, Decoder)) {
    for case in CASES {
        for device in devices() {
            let golden = Golden::open(case, device.name());
            test(&golden, load(case, device));
        }
    }
}

/// The last token's scores.
fn last(decoder: &Decoder, hidden: &Tensor) -> Vec<f32> {
    let last = hidden.narrow_sequence(hidden.dim(1) - 1, 1);
    decoder.scores(&last).to_vec()
}

fn best(scores: &[f32]) -> u32 {
    let best = (0_u32..).zip(scores).max_by(|a, b| a.1.total_cmp(b.1));
    best.expect("a vocabulary").0
}

#[test]
fn scores_are_those_of_transformers() {
    for_each_case(|golden, decoder| {
        let ids = golden.ids("ids");
        golden.check("embedding", &decoder.embed(&ids), 0.0);
        let mut session = decoder.session(ids.len());
        let hidden = decoder.read(&mut session, &ids);
        let blocks = decoder.config().num_hidden_layers;
        golden.check(&format!("block.{}", blocks - 1), &hidden, TOLERANCE);
        golden.check("logits", &decoder.scores(&hidden), TOLERANCE);
    });
}

#[test]
fn the_best_words_one_after_the_other_are_those_of_transformers() {
    for_each_case(|golden, decoder| {
        let (ids, expected) = (golden.ids("ids"), golden.ids("continuation"));
        let mut session = decoder.session(ids.len() + expected.len());
        let mut scores = last(&decoder, &decoder.read(&mut session, &ids));
        let (mut found, mut all) = (Vec::new(), Vec::new());
        for _ in &expected {
            let id = best(&scores);
            found.push(id);
            all.extend_from_slice(&scores);
            scores = last(&decoder, &decoder.read(&mut session, &[id]));
        }
        assert_eq!(found, expected, "{}", golden.name);
        let all = Tensor::from_vec([expected.len(), decoder.config().vocab_size], all);
        golden.check("continuation_logits", &all, TOLERANCE);
    });
}

#[test]
fn no_bit_depends_on_the_cut_the_room_or_what_was_read_and_forgotten() {
    for_each_case(|golden, decoder| {
        let ids = golden.ids("ids");
        let mut session = decoder.session(ids.len());
        let whole = decoder.read(&mut session, &ids);
        for cut in [1, 3, 16, 36] {
            let mut session = decoder.session(256);
            decoder.read(&mut session, &[7; 200]);
            session.truncate(0);
            for (index, part) in ids.chunks(cut).enumerate() {
                let found = decoder.read(&mut session, part);
                let expected = whole.narrow_sequence(index * cut, part.len());
                assert_eq!(found, expected, "{} cut by {cut}", golden.name);
            }
            assert_eq!(session.tokens(), ids);
        }
        let again = decoder.scores(&whole);
        let one = last(&decoder, &whole);
        assert_eq!(again.data()[again.data().len() - one.len()..], one);
    });
}

#[test]
fn no_bit_depends_on_the_number_of_threads() {
    for case in CASES {
        let golden = Golden::open(case, "cpu");
        let ids = golden.ids("ids");
        let [one, three] = [1, 3].map(|threads| {
            let options = CpuOptions {
                threads,
                ..CpuOptions::default()
            };
            let device = CpuDevice::with_options(options).expect("the machine's own instructions");
            let decoder = load(case, Arc::new(device));
            let hidden = decoder.read(&mut decoder.session(ids.len()), &ids);
            decoder.scores(&hidden)
        });
        assert_eq!(one, three, "{case}");
    }
}

#[test]
fn weights_of_another_model_are_refused_by_the_tensors_name() {
    let (tied, untied) = (folder("tied"), folder("untied"));
    let config = fs::read_to_string(tied.join("config.json")).expect("golden config");
    let refused = |json: &str, weights| {
        let config = Config::parse(json).expect("a known model");
        let weights = Weights::open(weights).expect("opens");
        let decoder = Decoder::load(config, weights, Arc::new(CpuDevice::new(1)));
        decoder.expect_err("other weights").to_string()
    };
    let message = refused(&config, &untied);
    assert!(message.contains("model.embed_tokens.weight"), "{message}");
    let more = config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    let message = refused(&more, &tied);
    assert!(message.contains("no tensor `model.layers.2."), "{message}");
    let fewer = config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
    let message = refused(&fewer, &tied);
    assert!(message.contains("`model.layers.1."), "{message}");
    let own = config.replace(
        "\"tie_word_embeddings\": true",
        "\"tie_word_embeddings\": false",
    );
    let message = refused(&own, &tied);
    assert!(message.contains("no tensor `lm_head.weight`"), "{message}");
}
