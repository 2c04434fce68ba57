//! Prompts that are rewritten before they are drawn, through the whole program.

use std::fs::{self, File};
use std::path::Path;

use serde_json::{Value, json};
use tintype_service::test_support::{Answer, Receiver};

use crate::client::{Client, KONTEXT, PRO};
use crate::server::{Place, Server, tintype};

const KEY: &str = "a-key-that-nobody-may-see";

fn wished(prompt: &str, seed: u64) -> Value {
    json!({ "prompt": prompt, "seed": seed, "promptUpsampling": "true", "aspectRatio": "1:1" })
}

async fn drawn(client: &Client, tool: &str, inputs: Value) -> Value {
    let task = client.ended(&client.run(tool, inputs).await).await;
    assert_eq!(task["pexit"], "0", "{task}");
    task
}

/// A chat server whose answer with this number, from zero, is this text.
async fn chat_server(text: impl Fn(usize) -> String + Send + Sync + 'static) -> Receiver {
    Receiver::start(move |number| {
        let choice = json!({ "message": { "content": text(number) }, "finish_reason": "stop" });
        Answer::Says(200, json!({ "choices": [choice] }).to_string())
    })
    .await
}

fn configuration(server: &Receiver, more: &str) -> Place {
    let url = server.url.trim_end_matches("/hook");
    Place::with_configuration(&format!(
        "[upsampling]\nkind = \"endpoint\"\n[upsampling.endpoint]\nbase_url = \"{url}\"\n\
         model = \"small\"\nkey_env = \"A_KEY\"\ntimeout_seconds = 5\n{more}"
    ))
}

#[tokio::test]
async fn the_bundled_model_says_what_a_prompt_leaves_open() {
    let place = Place::new();
    let server = place.serve();
    let client = server.client();
    let task = drawn(&client, PRO, wished("a circle", 7)).await;
    let expected = "a large pink circle in the top on a gray background";
    assert_eq!(task["upsampledprompt"], expected);
    assert_eq!(
        task["parameters"]["prompt"], "a circle",
        "what was sent stays"
    );
    assert_eq!(task["parameters"]["promptUpsampling"], "true");
    assert_eq!(task["debugerror"], "");
    let again = drawn(&client, PRO, wished("a circle", 7)).await;
    assert_eq!(client.picture(&again).await, client.picture(&task).await);
    let as_said = json!({ "prompt": expected, "seed": 7, "aspectRatio": "1:1" });
    let as_said = drawn(&client, PRO, as_said).await;
    assert_eq!(client.picture(&as_said).await, client.picture(&task).await);
    assert_eq!(as_said["upsampledprompt"], "", "nobody asked for one");

    let list = json!({"type": "model", "start": "0", "limit": "1", "order": "ASC", "sort": "id"});
    let (_, list) = client.send("Task/List", list.to_string()).await;
    assert_eq!(list["tasklist"][0]["upsampledprompt"], expected);

    let foreign = drawn(&client, PRO, wished("a cat", 7)).await;
    assert_eq!(foreign["upsampledprompt"], "");
    assert_eq!(
        foreign["debugerror"],
        "The prompt was not rewritten: the upsampler knows the bundled model's own language alone. \
         The picture was drawn from the prompt as it was sent."
    );
    let mut edit = wished("Make the circle green", 7);
    edit["inputImageUrl"] = "input-depth-to-image-4.jpg".into();
    let edited = drawn(&client, KONTEXT, edit).await;
    assert_eq!(edited["upsampledprompt"], "Make the circle green");
}

#[tokio::test]
async fn a_chat_server_rewrites_and_each_tool_may_require_it() {
    let chat = chat_server(|number| match number {
        0 => "<think>hm</think>\"a cat at dawn\"".to_owned(),
        1 => "Make the \"Bar\" sign green; all else stays.".to_owned(),
        _ => "I'm sorry, I can't help with that.".to_owned(),
    })
    .await;
    let more = format!("[tools.\"{KONTEXT}\".upsampling]\nrequired = true\n");
    let place = configuration(&chat, &more);
    let log = place.path().join("log");
    let mut command = place.serve_command();
    command.env("A_KEY", KEY).env("TINTYPE_LOG", "trace");
    command.stderr(File::create(&log).expect("a file"));
    let mut server = Server::start(command);
    let client = server.client();
    let task = drawn(&client, PRO, wished("a cat", 1)).await;
    assert_eq!(task["upsampledprompt"], "a cat at dawn");
    let mut edit = wished("make the \"Bar\" sign green", 1);
    edit["inputImageUrl"] = "input-depth-to-image-4.jpg".into();
    let edited = drawn(&client, KONTEXT, edit.clone()).await;
    assert_eq!(
        edited["upsampledprompt"],
        "Make the \"Bar\" sign green; all else stays."
    );
    let systems: Vec<_> = chat
        .calls()
        .iter()
        .map(|call| call.json()["messages"][0]["content"].clone())
        .collect();
    assert_ne!(
        systems[0], systems[1],
        "an instruction is not a description"
    );

    let refused = drawn(&client, PRO, wished("a cat", 1)).await;
    assert_eq!(refused["upsampledprompt"], "");
    let remark = refused["debugerror"].as_str().expect("a text");
    assert!(
        remark.contains("the upsampler declined to rewrite it"),
        "{remark}"
    );
    let reason = client.reason_of_failure(KONTEXT, edit).await;
    assert!(
        reason.starts_with("The prompt could not be rewritten, which this tool requires"),
        "{reason}"
    );
    server.signal("-TERM");
    server.ended().await;
    let log = fs::read_to_string(log).expect("a log");
    assert!(log.contains("prompt upsampling"), "{log}");
    assert!(!log.contains(KEY) && !log.contains("a cat at dawn"));
}

#[tokio::test]
async fn a_server_that_dies_between_rewriting_and_drawing_keeps_the_rewriting() {
    let chat = chat_server(|number| format!("rewriting {number}")).await;
    let place = configuration(&chat, "");
    let mut command = place.serve_command();
    command.env("A_KEY", KEY);
    command.env(tintype_store::moments::VARIABLE, "upsampled:1");
    let mut server = Server::start(command);
    let keys = server.keys.clone().expect("a first start");
    let token = server.client().run(PRO, wished("a cat", 1)).await;
    assert!(!server.ended().await.success(), "it died");
    let mut command = place.serve_command();
    command.env("A_KEY", KEY);
    let server = Server::start(command);
    let client = Client::new(&server.url, keys);
    let task = client.ended(&token).await;
    assert_eq!(task["upsampledprompt"], "rewriting 0");
    client.picture(&task).await;
    assert_eq!(chat.calls().len(), 1, "nobody was asked again");
}

fn install_language_model(place: &Place) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../language/tests/golden/tied/model");
    let folder = place.data().join("models/tiny");
    fs::create_dir_all(&folder).expect("created");
    for file in fs::read_dir(golden).expect("golden files") {
        let file = file.expect("an entry").path();
        let name = file.file_name().expect("a name");
        fs::copy(&file, folder.join(name)).expect("copied");
    }
    // Any word of a random model is as likely as another: many of them end an answer.
    let generation = json!({
        "do_sample": true, "temperature": 1.0, "top_k": 0, "top_p": 1.0,
        "eos_token_id": (11..=417).step_by(14).collect::<Vec<_>>(),
    });
    fs::write(
        folder.join("generation_config.json"),
        generation.to_string(),
    )
    .expect("written");
}

#[tokio::test]
async fn a_language_model_of_this_machine_rewrites_by_the_seed() {
    let place = Place::with_configuration(
        "[upsampling]\nkind = \"native\"\n[upsampling.native]\nmodel = \"tiny\"\nmax_tokens = 60\n\
         temperature = 1.0\nthreads = 1\n",
    );
    install_language_model(&place);
    let server = place.serve();
    let client = server.client();
    let mut rewritten = Vec::new();
    for seed in 0..6 {
        let task = drawn(&client, PRO, wished("a cat", seed)).await;
        let text = task["upsampledprompt"].as_str().expect("a text").to_owned();
        assert_eq!(text.is_empty(), task["debugerror"] != "", "{task}");
        if !text.is_empty() {
            rewritten.push((seed, text));
        }
    }
    let (seed, text) = rewritten.first().expect("some seeds end").clone();
    let again = drawn(&client, PRO, wished("a cat", seed)).await;
    assert_eq!(again["upsampledprompt"], text);
    let mut doctor = tintype(place.path());
    doctor.arg("doctor").arg("--data").arg(place.data());
    let doctor = doctor.output().expect("it ends").stdout;
    let doctor = String::from_utf8(doctor).expect("text");
    assert!(
        doctor.contains("rewritten by tiny on this machine"),
        "{doctor}"
    );
}

#[test]
fn commands_show_what_is_used_and_settings_that_do_not_fit_are_said() {
    let place = Place::new();
    let run = |arguments: &[&str]| {
        let output = tintype(place.path()).args(arguments).output();
        let output = output.expect("the program starts");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (text(output.stdout), text(output.stderr))
    };
    let circle = "a large pink circle in the top on a gray background\n";
    assert_eq!(run(&["upsample", "a circle", "--seed", "7"]).0, circle);
    let (_, told) = run(&["upsample", "a cat"]);
    assert!(told.contains("the bundled model's own language"), "{told}");
    let (_, told) = run(&["upsample", "a cat", "--model", "/models/dev"]);
    assert!(told.contains("no upsampler is set up"), "{told}");
    let draw = [
        "generate",
        "a circle",
        "--upsample",
        "--seed",
        "7",
        "--steps",
        "1",
    ];
    let (told, errors) = run(&draw);
    assert!(
        told.starts_with(&format!("prompt: {circle}")),
        "{told}{errors}"
    );
    let json = [&draw[..], &["--json"]].concat();
    let report: Value = serde_json::from_str(&run(&json).0).expect("JSON");
    assert_eq!(report["upsampled_prompt"], circle.trim_end());

    let broken = Place::with_configuration("[upsampling]\nkind = \"endpoint\"\n");
    let output = broken.serve_command().output().expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("needs [upsampling.endpoint]"), "{errors}");
}
