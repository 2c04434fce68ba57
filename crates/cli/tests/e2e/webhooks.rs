//! Webhooks of the whole program: to a receiver on this machine, through deaths of the server, and
//! as the operator sees them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tintype_service::test_support::{Answer, Call, Receiver};

use crate::client::{Client, PRO};
use crate::server::{LOOK_AGAIN, LOOKS, Place};

/// Lets reports go to this machine.
const LOOPBACK: &str = "allowed_private_targets = [\"127.0.0.1\"]";

async fn run(client: &Client, callback: &str) -> String {
    let inputs = json!({"prompt": "a red circle", "aspectRatio": "1:1", "callbackUrl": callback});
    client.run(PRO, inputs).await
}

fn secret(place: &Place) -> String {
    let shown = place.printed(&["project", "show", "default", "--json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    shown["webhook_secret"].as_str().expect("a text").to_owned()
}

fn verify(call: &Call, secret: &str) {
    let key = secret.strip_prefix("whsec_").expect("the prefix");
    let key = STANDARD.decode(key).expect("base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
    let signed = [call.id(), call.header("webhook-timestamp"), &call.body].join(".");
    mac.update(signed.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    assert_eq!(call.header("webhook-signature"), format!("v1,{signature}"));
}

/// The newest report of a place, as `webhook list` tells it.
fn listed(place: &Place) -> Value {
    let listed = [
        "webhook",
        "list",
        "--project",
        "default",
        "--limit",
        "1",
        "--json",
    ];
    let line = place.printed(&listed);
    // No task has ended yet.
    if line.is_empty() {
        return Value::Null;
    }
    serde_json::from_str(&line).expect("JSON")
}

async fn listed_when(place: &Place, done: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..LOOKS {
        let webhook = listed(place);
        if done(&webhook) {
            return webhook;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    panic!("the report did not get there: {}", listed(place));
}

fn is(state: &'static str) -> impl Fn(&Value) -> bool {
    move |webhook| webhook["state"] == state
}

#[tokio::test]
async fn a_finished_task_is_reported_and_again_on_demand() {
    let place = Place::with_configuration(LOOPBACK);
    let server = place.serve();
    let client = server.client();
    let receiver = Receiver::always(200).await;
    let token = run(&client, &receiver.url).await;
    let call = receiver.called(1).await.remove(0);
    verify(&call, &secret(&place));

    let report = call.json();
    let task = client.ended(&token).await;
    assert_eq!(report["tasklist"][0], task, "what Detail answers");
    assert_eq!(report["status"], "task_postprocess_end");
    assert_eq!(report["outputs"], task["outputs"]);
    assert_eq!(report["socketaccesstoken"], token);
    client.picture(&report["tasklist"][0]).await;

    let webhook = listed_when(&place, is("delivered")).await;
    let id = webhook["id"].as_str().expect("a text");
    assert_eq!(
        (id, &webhook["attempts"][0]["status"]),
        (call.id(), &json!(200))
    );
    let told = place.printed(&["webhook", "redeliver", id]);
    assert!(told.contains(id), "{told}");
    let again = receiver.called(2).await.remove(1);
    assert_eq!((again.id(), again.json()), (call.id(), report));
    verify(&again, &secret(&place));
    let text = place.printed(&["webhook", "list", "--task", "1"]);
    assert!(text.contains(id) && text.contains(&receiver.url), "{text}");
    let failed = place.printed(&["webhook", "list", "--state", "failed"]);
    assert!(failed.starts_with("no reports"), "{failed}");
}

#[tokio::test]
async fn a_server_that_dies_in_the_middle_of_a_report_sends_it_again_under_the_same_id() {
    let place = Place::with_configuration(LOOPBACK);
    let receiver = Receiver::start(|call| match call {
        0 | 1 => Answer::Silence,
        _ => Answer::Status(200),
    });
    let receiver = receiver.await;
    let first = place.serve();
    run(&first.client(), &receiver.url).await;
    receiver.called(1).await;
    first.kill();
    let second = place.serve();
    receiver.called(2).await;
    second.kill();
    let _last = place.serve();
    let webhook = listed_when(&place, is("delivered")).await;
    let calls = receiver.calls();
    assert_eq!(calls.len(), 3);
    assert!(calls.iter().all(|call| webhook["id"] == call.id()));
    let attempts = webhook["attempts"].as_array().expect("a list");
    let errors: Vec<_> = attempts
        .iter()
        .map(|attempt| attempt["error"].as_str())
        .collect();
    assert!(
        errors[..2]
            .iter()
            .all(|error| error.is_some_and(|e| e.contains("interrupted")))
    );
    assert_eq!(attempts[2]["status"], 200);
}

#[tokio::test]
async fn a_receiver_on_this_machine_is_refused_unless_the_operator_allows_it() {
    let place = Place::new();
    let server = place.serve();
    let receiver = Receiver::always(200).await;
    run(&server.client(), &receiver.url).await;
    let webhook = listed_when(&place, is("failed")).await;
    let error = webhook["attempts"][0]["error"].as_str().expect("a text");
    assert!(error.contains("private address"), "{error}");
    assert!(receiver.calls().is_empty());
}

/// The example receiver of `tools/webhooks`, which verifies with the library of PyPI.
struct LibraryReceiver {
    process: Child,
    output: BufReader<ChildStdout>,
    url: String,
}

impl LibraryReceiver {
    fn start(secret: &str) -> Self {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/webhooks");
        let mut process = Command::new(tools.join("python"))
            .arg(tools.join("receive.py"))
            .args(["--secret", secret])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script starts");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let mut receiver = Self {
            process,
            output,
            url: String::new(),
        };
        receiver.url = receiver.line();
        receiver
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        line.trim().to_owned()
    }
}

impl Drop for LibraryReceiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
#[ignore = "needs the standardwebhooks library of PyPI: ./check --long runs it"]
async fn the_standardwebhooks_library_verifies_what_is_sent() {
    let place = Place::with_configuration(LOOPBACK);
    let server = place.serve();
    let client = server.client();
    let secret = secret(&place);
    let mut receiver = LibraryReceiver::start(&secret);
    let token = run(&client, &receiver.url).await;
    let verified = receiver.line();
    let webhook = listed_when(&place, is("delivered")).await;
    let id = webhook["id"].as_str().expect("a text");
    assert_eq!(
        verified,
        format!("verified {id} task_postprocess_end {token}")
    );

    // With another project's secret it refuses the same report.
    let mut stranger = LibraryReceiver::start("whsec_c29tZWJvZHkgZWxzZQ==");
    run(&client, &stranger.url).await;
    assert!(stranger.line().starts_with("refused "));
}
