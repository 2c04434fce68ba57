//! The measurement itself: it measures something, here and on a server that runs. What it finds
//! depends on the machine and is no matter for a test.

use std::process::Command;

use crate::server::{Place, tintype};

fn bench(place: &Place) -> Command {
    let mut command = tintype(place.path());
    command.args(["bench", "api", "--seconds", "0.2", "--clients", "2"]);
    command
}

fn printed(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn every_layer_is_measured_at_every_size() {
    let place = Place::new();
    let folder = place.path().join("bench");
    let mut command = bench(&place);
    command
        .args(["--finished", "20,40", "--folder"])
        .arg(&folder);
    let text = printed(&mut command);
    for size in ["20", "40"] {
        for layer in ["store", "service", "HTTP"] {
            let row = format!("| {size} | {layer} | ");
            assert_eq!(text.matches(&row).count(), 2, "tasks and questions: {text}");
        }
    }
    assert!(!text.contains("NaN"), "{text}");
}

#[test]
fn a_server_that_runs_is_measured() {
    let place = Place::new();
    let server = place.serve();
    let keys = server.keys.clone().expect("a first start");
    let mut command = bench(&place);
    command
        .args(["--url", &server.url, "--key", &keys.api_key])
        .env("API_SECRET", &keys.api_secret)
        .args(["--pid", &server.id().to_string()]);
    let text = printed(&mut command);
    assert_eq!(text.matches("| HTTP | ").count(), 2, "{text}");
    assert!(!text.contains("NaN") && !text.contains('–'), "{text}");
}
