//! The log of a whole life, with everything switched on that can be logged, holds no secret.

use std::fs::File;

use serde_json::json;

use crate::client::{Client, KONTEXT, Keys, PRO};
use crate::server::{Place, Server};

const PROMPT: &str = "a prompt that nobody else may read";

/// The life: two good pictures, a failure, a kill, wrong keys and signatures, an upload.
async fn live(server: &Server) -> Vec<(&'static str, String)> {
    let keys = server.keys.clone().expect("a first start");
    let client = server.client();
    let run = async |tool, inputs| client.run(tool, inputs).await;
    let token = run(PRO, json!({ "prompt": PROMPT })).await;
    let done = client.ended(&token).await;
    client.picture(&done).await;
    let output = done["outputs"][0].clone();
    let again = run(
        KONTEXT,
        json!({ "prompt": PROMPT, "inputImageUrl": output["url"] }),
    )
    .await;
    client.picture(&client.ended(&again).await).await;
    let inside = json!({ "prompt": PROMPT, "inputImageUrl": "http://u:hush@127.0.0.1/hush?hush" });
    client.reason_of_failure(KONTEXT, inside).await;
    client
        .send("Task/Kill", json!({ "tasktoken": token }).to_string())
        .await;
    client
        .send("Task/Detail", format!("{{ tasktoken: {token}, }}"))
        .await;
    let wrong = Keys {
        api_secret: "hush".to_owned(),
        ..keys.clone()
    };
    Client::new(&server.url, wrong)
        .send("Task/List", "{}")
        .await;
    let unknown = Keys {
        api_key: "hush".to_owned(),
        api_secret: "hush".to_owned(),
    };
    Client::new(&server.url, unknown)
        .send("Task/List", "{}")
        .await;
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let url = text(&output["url"]);
    let directory = url.rsplit('/').nth(1).expect("a directory").to_owned();
    vec![
        ("the signature", keys.signature()),
        ("the key", keys.api_key),
        ("the secret", keys.api_secret),
        ("a token", token),
        ("another token", again),
        ("a file's key", text(&output["accesskey"])),
        ("a file's directory", directory),
        ("a secret in an address", "hush".to_owned()),
    ]
}

async fn log_of_a_life(filter: &str) -> (String, Vec<(&'static str, String)>) {
    let place = Place::new();
    let log = place.path().join("log");
    let mut command = place.serve_command();
    command.env("TINTYPE_LOG", filter);
    command.stderr(File::create(&log).expect("a file"));
    let mut server = Server::start(command);
    let secrets = live(&server).await;
    server.signal("-TERM");
    server.ended().await;
    let log = std::fs::read(log).expect("a log");
    (String::from_utf8_lossy(&log).into_owned(), secrets)
}

/// The lines of a log that hold a text.
fn lines_with<'a>(log: &'a str, text: &str) -> Vec<&'a str> {
    log.lines()
        .filter(|line| line.contains(text))
        .take(3)
        .collect()
}

#[tokio::test]
async fn no_log_level_shows_secrets_and_info_shows_no_prompt() {
    let none: [&str; 0] = [];
    let (log, secrets) = log_of_a_life("trace").await;
    let polls_are_logged = log
        .lines()
        .any(|line| line.contains("DEBUG") && line.contains("Task/Detail"));
    assert!(polls_are_logged, "{log}");
    for (name, secret) in secrets {
        assert_eq!(lines_with(&log, &secret), none, "{name} is logged");
    }
    let (log, secrets) = log_of_a_life("info").await;
    assert!(log.contains("answered a request"), "{log}");
    assert_eq!(lines_with(&log, PROMPT), none, "the prompt is logged");
    for (name, secret) in secrets {
        assert_eq!(lines_with(&log, &secret), none, "{name} is logged");
    }
}
