//! Tools that Black Forest Labs draw for: good days, bad days, and engines behind one another. The
//! provider is a stand-in within the test.

use std::fs::File;

use serde_json::{Value, json};
use tintype_engine::test_support::{Fetch, Misbehaviour, Poll, StandIn, Submit};

use crate::client::{Client, KONTEXT, PRO};
use crate::nano;
use crate::server::{LOOK_AGAIN, Place, Server, tintype};

const KEY: &str = "a-key-that-nobody-may-see";

fn place(stand_in: &StandIn, engines: &str) -> Place {
    let url = stand_in.url();
    Place::with_configuration(&format!(
        "engine = {engines}\n[bfl]\nbase_url = \"{url}\"\nkey_env = \"A_KEY\"\n"
    ))
}

fn serve(place: &Place) -> Server {
    let mut command = place.serve_command();
    command.env("A_KEY", KEY);
    Server::start(command)
}

fn maker(task: &Value) -> (&str, &str) {
    let text = |name: &str| task[name].as_str().expect("a text");
    (text("enginename"), text("modelname"))
}

/// What `tintype doctor` prints with a variable set or not.
fn doctor(place: &Place, (name, value): (&str, Option<&str>)) -> String {
    let mut command = tintype(place.path());
    command.arg("doctor").arg("--data").arg(place.data());
    match value {
        Some(value) => command.env(name, value),
        None => command.env_remove(name),
    };
    let output = command.output().expect("it ends");
    String::from_utf8(output.stdout).expect("text")
}

async fn draw(client: &Client) -> Value {
    let token = client.run(PRO, json!({ "prompt": "x" })).await;
    client.ended(&token).await
}

#[tokio::test]
async fn a_picture_of_the_provider_is_kept_as_it_was_and_the_log_shows_no_secret() {
    let stand_in = StandIn::start().await;
    let place = place(&stand_in, "\"bfl\"");
    let log = place.path().join("log");
    let mut command = place.serve_command();
    command.env("A_KEY", KEY).env("TINTYPE_LOG", "trace");
    command.stderr(File::create(&log).expect("a file"));
    let mut server = Server::start(command);
    assert!(
        server.greeting.contains("bfl (127.0.0.1)"),
        "{}",
        server.greeting
    );
    let client = server.client();
    let inputs = json!({
        "prompt": "x", "aspectRatio": "21:9", "seed": "7", "outputFormat": "jpeg",
        "safetyTolerance": "5", "promptUpsampling": "true",
    });
    let token = client.run(PRO, inputs).await;
    let drawn = client.ended(&token).await;
    assert_eq!(client.picture_file(&drawn).await, StandIn::file("jpeg"));
    assert_eq!(maker(&drawn), ("bfl", "flux-pro-1.1"));
    assert_eq!(
        stand_in.orders()[0].1,
        json!({
            "prompt": "x", "seed": 7, "width": 1408, "height": 608, "output_format": "jpeg",
            "prompt_upsampling": true, "safety_tolerance": 5,
        })
    );
    let picture = json!({ "prompt": "y", "inputImageUrl": "input-depth-to-image-4.jpg" });
    let edited = client.ended(&client.run(KONTEXT, picture).await).await;
    client.picture(&edited).await;
    assert!(stand_in.orders()[1].1["input_image"].is_string());
    server.signal("-TERM");
    server.ended().await;
    let log = std::fs::read_to_string(log).expect("a log");
    assert!(log.contains("finished"), "{log}");
    for secret in [KEY, "sig=signature", "get_result?id"] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is logged");
    }
}

/// What goes wrong once and does not matter.
fn passing_troubles(stand_in: &StandIn) -> usize {
    let error = |status| Misbehaviour::Status(status, json!({}));
    let submits = [
        Submit::Else(Misbehaviour::Busy(None)),
        Submit::Else(Misbehaviour::Busy(Some("1"))),
        Submit::Else(error(500)),
    ];
    let polls = [
        Poll::Else(error(503)),
        Poll::Else(Misbehaviour::Malformed),
        Poll::Status("Pondering", json!({})),
        Poll::Status("Task not found", json!({})),
    ];
    let fetches = [Fetch::Truncated, Fetch::Page, Fetch::Else(error(403))];
    let tasks = submits.len() + polls.len() + fetches.len();
    submits
        .into_iter()
        .for_each(|submit| stand_in.submit(submit));
    polls.into_iter().for_each(|poll| stand_in.poll(poll));
    fetches.into_iter().for_each(|fetch| stand_in.fetch(fetch));
    tasks
}

#[tokio::test]
async fn no_task_is_lost_over_what_passes() {
    let stand_in = StandIn::start().await;
    let place = place(&stand_in, "\"bfl\"");
    let server = serve(&place);
    let client = server.client();
    let mut tokens = Vec::new();
    for _ in 0..passing_troubles(&stand_in) {
        tokens.push(client.run(PRO, json!({ "prompt": "x" })).await);
    }
    for token in &tokens {
        let task = client.ended(token).await;
        assert_eq!(client.picture_file(&task).await, StandIn::file("png"));
    }
    assert_eq!(
        stand_in.orders().len(),
        tokens.len(),
        "each was ordered once"
    );
}

#[tokio::test]
async fn what_stays_wrong_ends_with_its_reason() {
    let stand_in = StandIn::start().await;
    let place = place(&stand_in, "\"bfl\"");
    let server = serve(&place);
    let client = server.client();
    let reason = async || {
        client
            .reason(&client.run(PRO, json!({ "prompt": "x" })).await)
            .await
    };
    let violence = json!({ "details": { "Moderation Reasons": ["Violence"] } });
    for (status, expected) in [
        ("Request Moderated", "Request moderated: Violence"),
        ("Content Moderated", "Content moderated: Violence"),
    ] {
        stand_in.poll(Poll::Status(status, violence.clone()));
        assert_eq!(reason().await, expected);
    }
    let refuse = |status, detail: Value| {
        let body = json!({ "detail": detail });
        stand_in.submit(Submit::Else(Misbehaviour::Status(status, body)));
    };
    refuse(
        422,
        json!([{ "loc": ["body", "prompt"], "msg": "too long" }]),
    );
    assert_eq!(
        reason().await,
        "The provider does not accept the inputs (prompt: too long)."
    );
    stand_in.submit(Submit::AskAt("http://169.254.169.254/hush".to_owned()));
    let elsewhere = reason().await;
    assert!(
        elsewhere.contains("169.254.169.254") && !elsewhere.contains("hush"),
        "{elsewhere}"
    );
    for _ in 0..3 {
        stand_in.fetch(Fetch::Page);
    }
    let page = reason().await;
    assert!(page.contains("neither a PNG nor a JPEG"), "{page}");

    let orders = stand_in.calls().len();
    refuse(402, json!("Insufficient credits"));
    for _ in 0..2 {
        let credit = reason().await;
        assert!(credit.contains("run out of credits"), "{credit}");
    }
    assert_eq!(
        stand_in.calls().len(),
        orders + 1,
        "the second did not call"
    );
}

#[tokio::test]
async fn an_engine_stands_in_for_another_and_the_task_says_which() {
    let stand_in = StandIn::start().await;
    let place = place(&stand_in, "[\"bfl\", \"flux\"]");
    let server = serve(&place);
    let client = server.client();
    let broke = json!({ "detail": "Insufficient credits" });
    stand_in.submit(Submit::Else(Misbehaviour::Status(402, broke)));
    let task = draw(&client).await;
    client.picture(&task).await;
    let (engine, model) = maker(&task);
    assert_eq!(engine, "flux");
    assert!(model.contains("nano"), "{model}");
    let doctor = doctor(&place, ("A_KEY", Some(KEY)));
    assert!(doctor.contains("bfl is left alone"), "{doctor}");
    assert!(doctor.contains("run out of credits"), "{doctor}");
}

#[tokio::test]
async fn a_model_that_is_not_there_stops_nobody_if_another_engine_draws() {
    let stand_in = StandIn::start().await;
    let place = place(&stand_in, "[\"flux\", \"bfl\"]");
    let mut command = place.serve_command();
    command.env("A_KEY", KEY).args(["--model", "/nowhere/flux"]);
    let server = Server::start(command);
    let warned = "/nowhere/flux (NOT available: cannot open the model /nowhere/flux";
    assert!(server.greeting.contains(warned), "{}", server.greeting);
    let client = server.client();
    let moderated = Poll::Status("Request Moderated", json!({}));
    assert_eq!(maker(&draw(&client).await).0, "bfl");
    stand_in.poll(moderated);
    let reason = client
        .reason_of_failure(PRO, json!({ "prompt": "x" }))
        .await;
    assert_eq!(reason, "Request moderated: category not named");
}

#[tokio::test]
async fn a_model_that_does_not_fit_is_not_opened_if_another_engine_draws() {
    let stand_in = StandIn::start().await;
    let place = place(&stand_in, "[\"flux\", \"bfl\"]");
    let mut command = place.serve_command();
    command
        .env("A_KEY", KEY)
        .env("TINTYPE_COMPUTE__MEMORY_GB", "0.001");
    let server = Server::start(command);
    let side = nano::side();
    let expected = format!("does not fit into memory: for a picture of {side}×{side} it needs");
    assert!(server.greeting.contains(&expected), "{}", server.greeting);
    assert_eq!(maker(&draw(&server.client()).await).0, "bfl");
}

#[tokio::test]
async fn without_a_key_and_without_another_engine_it_does_not_start() {
    let stand_in = StandIn::start().await;
    let place = place(&stand_in, "\"bfl\"");
    let mut command = place.serve_command();
    command.env_remove("A_KEY");
    let output = command.output().expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains("environment variable A_KEY"), "{errors}");
}

async fn is_polled(stand_in: &StandIn) {
    while !stand_in
        .calls()
        .iter()
        .any(|call| call.path == "/v1/get_result")
    {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

#[tokio::test]
async fn a_task_survives_the_death_of_the_server_that_was_asking_for_it() {
    let stand_in = StandIn::start().await;
    let place = place(&stand_in, "\"bfl\"");
    let server = serve(&place);
    let keys = server.keys.clone().expect("a first start");
    stand_in.keep_pending(true);
    let token = server.client().run(PRO, json!({ "prompt": "x" })).await;
    is_polled(&stand_in).await;
    server.kill();
    stand_in.keep_pending(false);
    let server = serve(&place);
    let task = Client::new(&server.url, keys).ended(&token).await;
    assert_eq!((&task["pexit"], maker(&task).0), (&"0".into(), "bfl"));
    assert_eq!(
        stand_in.orders().len(),
        2,
        "what was given out died with the server"
    );
}

#[tokio::test]
async fn a_task_that_is_killed_stops_asking() {
    let stand_in = StandIn::start().await;
    let place = place(&stand_in, "\"bfl\"");
    let server = serve(&place);
    let client = server.client();
    stand_in.keep_pending(true);
    let token = client.run(PRO, json!({ "prompt": "x" })).await;
    is_polled(&stand_in).await;
    let kill = json!({ "tasktoken": token }).to_string();
    assert_eq!(client.send("Task/Kill", kill).await.0, 200);
    assert_eq!(client.ended(&token).await["status"], "task_cancel");
}

#[test]
fn doctor_tells_which_engines_draw_and_never_the_key() {
    let place = Place::with_configuration("engine = [\"flux\", \"bfl\"]");
    let with = doctor(&place, ("BFL_API_KEY", Some(KEY)));
    assert!(
        with.contains("flux-pro-1.1 draws with nano, then bfl"),
        "{with}"
    );
    assert!(
        with.contains("api.bfl.ai, the key in BFL_API_KEY is set"),
        "{with}"
    );
    assert!(!with.contains(KEY), "{with}");
    let without = doctor(&place, ("BFL_API_KEY", None));
    assert!(
        without.contains("NOT set") && without.contains("the other engine draws"),
        "{without}"
    );
}
