//! The figures, for people and for programs.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cases::Case;
use crate::clock::ms;
use crate::device::Chosen;
use crate::measure::{Spread, Summary};

/// One object: what was measured, on what, and the times in milliseconds.
pub(crate) fn json(case: &Case, chosen: &Chosen, summary: &Summary) -> Value {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("what", case.what.into());
    for (name, value) in &case.facts {
        put(name, value.clone());
    }
    put("threads", chosen.threads.into());
    put("isa", chosen.isa.name().into());
    put("weights", chosen.weights.name().into());
    put("runs", summary.runs.into());
    put("ms_median", ms(summary.wall.median).into());
    put("ms_min", ms(summary.wall.min).into());
    put("processor_ms_median", ms(summary.processor.median).into());
    put("processor_ms_min", ms(summary.processor.min).into());
    if let Some(flops) = case.flops {
        put("gflops", rate(flops, summary.wall.median).into());
        let per_processor = rate(flops, summary.processor.median);
        put("gflops_per_processor", per_processor.into());
    }
    if let Some((tokens, weight_bytes)) = case.tokens {
        put("tokens_per_s", per_second(tokens, summary).into());
        let rate = rate(weight_bytes as f64, summary.wall.median);
        put("weight_gigabytes_per_s", rate.into());
    }
    if !summary.stages.is_empty() {
        let stages = summary.stages.iter();
        let stages: Map<String, Value> = stages
            .map(|(name, time)| ((*name).to_owned(), json!(ms(*time))))
            .collect();
        put("stages_ms", stages.into());
    }
    Value::Object(object)
}

/// A small table.
pub(crate) fn text(case: &Case, chosen: &Chosen, summary: &Summary) -> String {
    let mut text = case.what.to_owned();
    for (name, value) in &case.facts {
        let _ = write!(text, ", {} {}", name.replace('_', " "), plain(value));
    }
    let Chosen {
        threads,
        isa,
        weights,
        ..
    } = chosen;
    let threads = match threads {
        1 => "1 thread".to_owned(),
        many => format!("{many} threads"),
    };
    let _ = write!(
        text,
        "\n{threads}, {isa}, {weights} weights, {} runs\n\n\
         | ms | median | least | GFLOP/s |\n| --- | ---: | ---: | ---: |\n",
        summary.runs
    );
    for (name, spread) in [("wall", summary.wall), ("processor", summary.processor)] {
        let rate = case.flops.map(|flops| rate(flops, spread.median));
        text.push_str(&row(name, spread, rate));
    }
    if let Some((tokens, weight_bytes)) = case.tokens {
        let _ = writeln!(
            text,
            "\n{:.1} tokens/s, {:.1} GB/s of weights",
            per_second(tokens, summary),
            rate(weight_bytes as f64, summary.wall.median)
        );
    }
    if !summary.stages.is_empty() {
        text.push_str(&shares(summary));
    }
    text.trim_end().to_owned()
}

fn row(name: &str, spread: Spread, rate: Option<f64>) -> String {
    let rate = rate.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.1}"));
    format!(
        "| {name} | {:.2} | {:.2} | {rate} |\n",
        ms(spread.median),
        ms(spread.min)
    )
}

fn shares(summary: &Summary) -> String {
    let mut text = "\n| stage | ms | share |\n| --- | ---: | ---: |\n".to_owned();
    let total: Duration = summary.stages.iter().map(|(_, time)| *time).sum();
    for (name, time) in &summary.stages {
        let share = 100.0 * time.as_secs_f64() / total.as_secs_f64();
        let _ = writeln!(text, "| {name} | {:.2} | {share:.0} % |", ms(*time));
    }
    text
}

/// Tokens a second by the wall's clock.
fn per_second(tokens: usize, summary: &Summary) -> f64 {
    tokens as f64 / summary.wall.median.as_secs_f64()
}

/// Billions of operations, or of bytes, a second.
fn rate(flops: f64, time: Duration) -> f64 {
    flops / time.as_secs_f64() / 1e9
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tintype_compute::{Isa, ReferenceDevice, WeightFormat};

    use super::*;

    fn example() -> (Case, Chosen, Summary) {
        let case = Case::new("linear", || Ok(Vec::new()))
            .fact("rows", 4)
            .flops(2e6);
        let chosen = Chosen {
            device: Arc::new(ReferenceDevice),
            threads: 2,
            isa: Isa::Portable,
            weights: WeightFormat::Exact,
        };
        let spread = |median_ms, min_ms| Spread {
            median: Duration::from_millis(median_ms),
            min: Duration::from_millis(min_ms),
        };
        let summary = Summary {
            runs: 5,
            wall: spread(2, 1),
            processor: spread(4, 3),
            stages: vec![
                ("text", Duration::from_millis(3)),
                ("decode", Duration::from_millis(1)),
            ],
        };
        (case, chosen, summary)
    }

    #[test]
    fn programs_read_one_object() {
        let (case, chosen, summary) = example();
        assert_eq!(
            json(&case, &chosen, &summary),
            json!({
                "what": "linear", "rows": 4, "threads": 2, "isa": "portable", "weights": "exact",
                "runs": 5, "ms_median": 2.0, "ms_min": 1.0,
                "processor_ms_median": 4.0, "processor_ms_min": 3.0,
                "gflops": 1.0, "gflops_per_processor": 0.5,
                "stages_ms": { "text": 3.0, "decode": 1.0 },
            })
        );
    }

    #[test]
    fn people_read_a_table() {
        let (case, chosen, summary) = example();
        assert_eq!(
            text(&case, &chosen, &summary),
            "linear, rows 4\n2 threads, portable, exact weights, 5 runs\n\n\
             | ms | median | least | GFLOP/s |\n| --- | ---: | ---: | ---: |\n\
             | wall | 2.00 | 1.00 | 1.0 |\n| processor | 4.00 | 3.00 | 0.5 |\n\n\
             | stage | ms | share |\n| --- | ---: | ---: |\n\
             | text | 3.00 | 75 % |\n| decode | 1.00 | 25 % |"
        );
    }
}
