//! Sampling against the logits processors of transformers.

use serde_json::Value;
use tintype_language::{Sampler, Sampling};

use crate::common::{ids, json};

fn sampling(settings: &Value) -> Sampling {
    let number = |name: &str, default: f32| {
        settings[name]
            .as_f64()
            .map_or(default, |value| value as f32)
    };
    Sampling {
        temperature: number("temperature", 1.0),
        top_k: settings["top_k"].as_u64().unwrap_or(0) as usize,
        top_p: number("top_p", 1.0),
        min_p: number("min_p", 0.0),
        repetition_penalty: number("repetition_penalty", 1.0),
        seed: 0,
    }
}

#[test]
fn probabilities_are_those_of_transformers() {
    let document = json("sampling.json");
    let numbers = |list: &Value| -> Vec<f64> {
        let list = list.as_array().expect("a list").iter();
        list.map(|value| value.as_f64().expect("a number"))
            .collect()
    };
    let scores: Vec<f32> = numbers(&document["logits"])
        .iter()
        .map(|&v| v as f32)
        .collect();
    let history = ids(&document["history"]);
    let cases = document["cases"].as_array().expect("a list");
    assert_eq!(cases.len(), 9);
    for case in cases {
        let sampler = Sampler::new(sampling(&case["settings"]), &history).expect("in range");
        let found = sampler.probabilities(&scores).expect("finite");
        let expected = numbers(&case["probabilities"]);
        let kept = expected
            .iter()
            .filter(|&&probability| probability > 0.0)
            .count();
        assert_eq!(found.len(), kept, "{}", case["settings"]);
        for (id, probability) in found {
            let expected = expected[id as usize];
            assert!(
                (probability - expected).abs() < 1e-6 * expected.max(1e-3),
                "{}: {id} has {probability}, expected {expected}",
                case["settings"]
            );
        }
    }
}

#[test]
fn temperature_zero_takes_the_best_after_the_penalty() {
    let greedy = Sampling::greedy();
    let choose = |sampling, history: &[u32]| {
        let mut sampler = Sampler::new(sampling, history).expect("in range");
        [(); 3].map(|()| sampler.choose(&[1.0, 3.0, 2.5, 3.0]).expect("finite"))
    };
    // Of equals the first one.
    assert_eq!(choose(greedy, &[]), [1, 1, 1]);
    let penalised = Sampling {
        repetition_penalty: 2.0,
        ..greedy
    };
    // What is said is penalised from then on, what was read from the beginning.
    assert_eq!(choose(penalised, &[]), [1, 3, 2]);
    assert_eq!(choose(penalised, &[1, 3]), [2, 1, 1]);
}
