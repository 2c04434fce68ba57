//! Models that cannot be used, beside those that can.

use serde_json::json;

use crate::client::{KONTEXT, PRO};
use crate::nano;
use crate::server::{Place, Server};

async fn readiness(server: &Server) -> String {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build();
    let answer = client
        .expect("a client")
        .get(format!("{}/readyz", server.url));
    let answer = answer.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.text().await.expect("text")
}

#[tokio::test]
async fn a_broken_model_fails_its_tasks_with_the_reason_and_leaves_the_other_tool_alone() {
    let place = Place::with_configuration(
        "[tools.\"black-forest-labs/flux-kontext-max\"]\nmodel = \"/no/such/kontext\"",
    );
    let server = place.serve();
    let warning = "/no/such/kontext (NOT available: cannot open the model /no/such/kontext: ";
    assert!(server.greeting.contains(warning), "{}", server.greeting);
    let ready = readiness(&server).await;
    assert!(ready.starts_with("ready\n"), "{ready}");
    assert!(
        ready.contains("nothing can draw for black-forest-labs/flux-kontext-max;"),
        "{ready}"
    );
    assert!(!ready.contains("/no/such"), "{ready}");
    let client = server.client();
    let inputs = || json!({ "prompt": "a red circle", "seed": "1" });
    for _ in 0..2 {
        let reason = client.reason_of_failure(KONTEXT, inputs()).await;
        assert!(
            reason.contains("there is no model /no/such/kontext"),
            "{reason}"
        );
        let token = client.run(PRO, inputs()).await;
        let task = client.ended(&token).await;
        assert_eq!(task["pexit"], "0", "{task}");
    }
}

#[tokio::test]
async fn a_server_without_a_model_starts_and_says_so() {
    let place = Place::new();
    let mut command = place.serve_command();
    command.args(["--model", "/no/such/model"]);
    let server = Server::start(command);
    assert!(
        server.greeting.contains("/no/such/model (NOT available"),
        "{}",
        server.greeting
    );
    let ready = readiness(&server).await;
    assert!(
        ready.contains("nothing can draw for black-forest-labs/flux-pro-1.1;"),
        "{ready}"
    );
}

#[tokio::test]
async fn a_model_that_was_put_there_later_draws_without_a_restart() {
    let place = Place::new();
    let model = place.path().join("model");
    let mut command = place.serve_command();
    command
        .arg("--model")
        .arg(&model)
        .env("TINTYPE_COMPUTE__PRELOAD", "true");
    let server = Server::start(command);
    let golden =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../flux/tests/golden/schnell/model");
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([golden, model])
        .status();
    assert!(copied.expect("cp").success());
    let client = server.client();
    let token = client
        .run(PRO, json!({ "prompt": "a red circle", "seed": "1" }))
        .await;
    let task = client.ended(&token).await;
    assert_eq!(task["pexit"], "0", "{task}");
    assert!(
        !readiness(&server).await.contains("nothing can draw"),
        "it draws"
    );
}

#[tokio::test]
async fn a_limit_below_any_model_says_what_it_needs() {
    let place = Place::with_configuration("[compute]\nmemory_gb = 0.001");
    let server = place.serve();
    let client = server.client();
    let reason = client
        .reason_of_failure(PRO, json!({ "prompt": "x", "seed": "1" }))
        .await;
    let side = nano::side();
    let expected =
        format!("the model nano does not fit into memory: for a picture of {side}×{side} it needs");
    assert!(reason.contains(&expected), "{reason}");
}
