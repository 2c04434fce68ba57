//! The measurement of computing: every word measures something, and says on what. How fast it was is
//! no matter for a test.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::server::{Place, tintype};

/// What `tintype bench …` printed and whether it was content.
fn bench(arguments: &str, input: &str) -> (bool, String, String) {
    let place = Place::new();
    let mut command = tintype(place.path());
    command.arg("bench").args(arguments.split(' '));
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = process.stdin.take().expect("a pipe");
    // A program that refuses its arguments reads nothing.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = process.wait_with_output().expect("the program ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

const CASES: [&str; 9] = [
    "linear --rows 5 --in 7 --out 9 --epilogue gelu",
    "conv --channels 3 --height 5 --width 6 --upsample",
    "attention --heads 2 --head-dim 6 --tokens 9",
    "block --geometry nano --kind single --tokens-image 6 --tokens-text 3",
    "block --geometry nano --kind double --tokens-image 6 --tokens-text 3",
    "vae-decode --geometry nano --size 32",
    "text-encoder --geometry nano --layers 2 --tokens 5",
    "step --geometry nano --double 1 --single 2 --tokens-image 6 --tokens-text 3",
    "nano --steps 1",
];

#[test]
fn each_word_gives_one_object() {
    for case in CASES {
        let (content, text, errors) = bench(&format!("{case} --runs 2 --threads 2 --json"), "");
        assert!(content, "{case}: {errors}");
        let object: Value = serde_json::from_str(&text).expect(case);
        assert_eq!(
            (&object["runs"], &object["threads"]),
            (&2.into(), &2.into())
        );
        for time in ["ms_median", "ms_min", "processor_ms_median"] {
            assert!(
                object[time].as_f64() > Some(0.0),
                "{case}: {time} in {text}"
            );
        }
        assert!(object["isa"].is_string(), "{case}: {text}");
        let word = case.split(' ').next();
        assert_eq!(object["what"].as_str(), word, "{case}");
    }
}

#[test]
fn people_are_shown_a_table_and_the_share_of_each_stage() {
    let (content, text, errors) = bench("nano --steps 2 --runs 1", "");
    assert!(content, "{errors}");
    for row in [
        "| wall |",
        "| text |",
        "| denoise |",
        "| decode |",
        "| png |",
    ] {
        assert!(text.contains(row), "{row} in {text}");
    }
}

#[test]
fn a_script_asks_for_runs_line_by_line() {
    let (content, text, errors) = bench("linear --rows 5 --in 7 --out 9 --on-request", "\n\n");
    assert!(content, "{errors}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "one that it is ready, two answers: {text}");
}

#[test]
fn what_cannot_be_measured_is_refused_with_advice() {
    for (arguments, advice) in [
        ("linear --rows 0", "--rows is 0; it must be between 1 and"),
        ("linear --isa sse9", "there are portable, avx2"),
        ("block --geometry sd3", "--geometry takes flux1"),
        ("vae-decode --geometry t5-xxl", "text encoder"),
        (
            "vae-decode --geometry nano --size 33",
            "must be a multiple of",
        ),
        ("nano --runs 0", "--runs must be between"),
        ("attention --head-dim 5", "must be even"),
    ] {
        let (content, _, errors) = bench(arguments, "");
        assert!(!content, "{arguments} is refused");
        assert!(errors.contains(advice), "{arguments}: {errors}");
    }
}
