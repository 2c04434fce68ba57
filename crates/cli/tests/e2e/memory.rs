//! One limit of memory for all that the program computes with, as its operator meets it.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::server::{Place, tintype};

fn golden(inside: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(inside)
}

/// A program that rewrites prompts and judges pictures with models of this machine, within so many GiB.
fn place(memory_gb: f64) -> Place {
    let (language, classifier) = (
        golden("language/tests/golden/tied/model"),
        golden("vision/tests/golden/sigmoid/model"),
    );
    Place::with_configuration(&format!(
        "[compute]\nmemory_gb = {memory_gb}\n\
         [upsampling]\nkind = \"native\"\n[upsampling.native]\nmodel = {language:?}\n\
         [moderation.classifier]\nmodel = {classifier:?}\n"
    ))
}

fn run(place: &Place, arguments: &[&str]) -> Output {
    let mut command = tintype(place.path());
    command
        .args(arguments)
        .env("TINTYPE_DATA", place.data())
        .env("TINTYPE_CONFIG", place.path().join("tintype.toml"));
    command.output().expect("the program starts")
}

#[test]
fn doctor_shows_all_that_takes_memory() {
    let told = run(&place(4.0), &["doctor"]).stdout;
    let told = String::from_utf8(told).expect("text");
    let plan = |what: &str| {
        let line = told.lines().find(|line| line.contains(what));
        let line = line.unwrap_or_else(|| panic!("{what}: {told}"));
        assert!(line.contains("memory plan"), "{line}");
        assert!(!line.contains("0.00"), "{line}");
        line.to_owned()
    };
    for what in ["the language model ", "the picture classifier "] {
        assert!(plan(what).ends_with("are set aside for it"), "{told}");
    }
    assert!(plan("nano: text encoders").contains("MiB"), "{told}");
    plan("LoRAs: ");
}

#[test]
fn what_finds_no_room_keeps_the_service_from_starting_and_doctor_says_why() {
    let place = place(0.000_02);
    let mut command = place.serve_command();
    let output = command.output().expect("the program starts");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let errors = String::from_utf8(output.stderr).expect("text");
    let expected = "there is no room for the picture classifier ";
    assert!(errors.contains(expected), "{errors}");
    assert!(errors.contains("memory_gb under [compute]"), "{errors}");
    let told = run(&place, &["doctor"]);
    assert_eq!(told.status.code(), Some(1));
    let told = String::from_utf8(told.stdout).expect("text");
    assert!(told.contains(expected), "{told}");
    assert!(
        told.contains("there is no room for the language model "),
        "{told}"
    );
}

#[test]
fn a_picture_for_which_there_is_no_memory_is_refused_with_what_to_ask_for() {
    let place = Place::with_configuration("");
    let inspected = run(&place, &["model", "inspect", "nano", "--json"]).stdout;
    let inspected: Value = serde_json::from_slice(&inspected).expect("JSON");
    let least = inspected["memory"][0]["least_bytes"].as_u64();
    // A little more than nano needs for a picture of its own size, and the eighth that is kept free.
    let limit = least.expect("a number") as f64 * 8.0 / 7.0 + 65_536.0;
    let draw = |side: &str| {
        let mut command = tintype(place.path());
        command
            .args(["generate", "a red circle", "-o", "drawn.png"])
            .args(["--width", side, "--height", side])
            .env(
                "TINTYPE_COMPUTE__MEMORY_GB",
                (limit / f64::from(1 << 30)).to_string(),
            );
        let output = command.output().expect("the program starts");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), errors)
    };
    let (code, errors) = draw("1920");
    assert_eq!(code, Some(1), "{errors}");
    for part in [
        "a picture of 1920×1920 is more than there is memory for",
        "the model nano needs",
        "Ask for a smaller picture",
    ] {
        assert!(errors.contains(part), "{errors}");
    }
    let (code, errors) = draw("64");
    assert_eq!(code, Some(0), "{errors}");
    assert!(place.path().join("drawn.png").is_file());
}
