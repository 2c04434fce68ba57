//! Prompts rewritten by a chat server, and servers that misbehave.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tintype_domain::Task;
use tintype_engine::upsampling::SystemPrompts;
use tintype_service::test_support::{Answer, Receiver};
use tintype_service::upsampling::{ChatEndpoint, ChatEndpointConfig};

use crate::bench::Bench;
use crate::upsampling::{run, upsampled_by};

const KEY: &str = "a-key-that-nobody-may-see";

/// Long for an answer of this machine, short for a test of a server that says nothing.
const TIMEOUT: Duration = Duration::from_secs(1);

fn endpoint(server: &Receiver, extra: Value) -> Arc<ChatEndpoint> {
    let url = server.url.trim_end_matches("/hook");
    let config = ChatEndpointConfig {
        url: url.parse().expect("an address"),
        model: "small".to_owned(),
        key: Some(KEY.to_owned().into()),
        timeout: TIMEOUT,
        temperature: 0.5,
        max_tokens: 300,
        system_prompts: SystemPrompts {
            picture: "Make it vivid.".to_owned(),
            ..SystemPrompts::default()
        },
        extra: extra.as_object().cloned().unwrap_or_default(),
    };
    Arc::new(ChatEndpoint::new(config).expect("an endpoint"))
}

fn says(text: &str) -> Answer {
    let choice =
        json!({ "message": { "role": "assistant", "content": text }, "finish_reason": "stop" });
    Answer::Says(200, json!({ "choices": [choice] }).to_string())
}

async fn bench(endpoint: &Arc<ChatEndpoint>) -> Bench {
    Bench::with(|config| config.upsampling = upsampled_by(endpoint, false)).await
}

async fn drawn(bench: &Bench) -> Task {
    let _worker = bench.worker();
    let fields = json!({ "prompt": "a cat", "seed": u64::MAX, "promptUpsampling": true });
    run(bench, fields).await
}

#[tokio::test]
async fn a_chat_server_is_asked_with_the_seed_and_its_answer_is_tidied_up() {
    let server = Receiver::start(|_| says("<think>cats</think>\n\"A cat at dawn\"")).await;
    let extra = json!({ "chat_template_kwargs": { "enable_thinking": false } });
    let bench = bench(&endpoint(&server, extra)).await;
    let task = drawn(&bench).await;
    assert_eq!(task.upsampled_prompt.as_deref(), Some("A cat at dawn"));
    let [call] = server.calls().try_into().expect("one call");
    assert_eq!(call.header("authorization"), format!("Bearer {KEY}"));
    let expected = json!({
        "model": "small",
        "messages": [
            { "role": "system", "content": "Make it vivid." },
            { "role": "user", "content": "a cat" },
        ],
        "seed": 0, "temperature": 0.5, "max_tokens": 300, "stream": false,
        "chat_template_kwargs": { "enable_thinking": false },
    });
    assert_eq!(call.json(), expected);
    let again = drawn(&bench).await;
    assert_eq!(again.upsampled_prompt, task.upsampled_prompt);
    assert_eq!(
        server.calls()[1].json(),
        expected,
        "the same wish, the same call"
    );
}

/// What comes of a server that answers twice like this.
async fn remark(answer: fn() -> Answer) -> String {
    let server = Receiver::start(move |_| answer()).await;
    let bench = bench(&endpoint(&server, Value::Object(Map::new()))).await;
    let task = drawn(&bench).await;
    assert_eq!(task.upsampled_prompt, None);
    assert_eq!(bench.engine.jobs()[0].prompt, "a cat");
    assert!(!task.debug_error.contains(KEY), "{}", task.debug_error);
    assert!(server.calls().len() <= 2, "one attempt and one retry");
    let remark = task
        .debug_error
        .strip_prefix("The prompt was not rewritten: the upsampler ");
    let remark = remark.unwrap_or_else(|| panic!("{}", task.debug_error));
    let (why, _) = remark.split_once(". The picture").expect("what was done");
    format!("{why} ({} calls)", server.calls().len())
}

#[tokio::test]
async fn a_server_that_misbehaves_costs_the_rewriting_and_no_task() {
    let elsewhere = || {
        Answer::With(
            307,
            "location: http://127.0.0.1:9/v1/chat/completions".to_owned(),
        )
    };
    type Reply = fn() -> Answer;
    let cases: [(&str, Reply); 11] = [
        ("slow", || Answer::Silence),
        ("429", || Answer::Status(429)),
        ("500", || Answer::Status(500)),
        ("401", || Answer::Status(401)),
        ("redirect", elsewhere),
        ("broken JSON", || {
            Answer::Says(200, "{\"choices\": [".to_owned())
        }),
        ("breaks off", || Answer::BreaksOff),
        ("empty", || says("")),
        ("huge", || Answer::Says(200, " ".repeat(600 * 1024))),
        ("refusal", || says("I'm sorry, I can't help with that.")),
        ("wrong type", || {
            Answer::Says(
                200,
                json!({"choices": [{"message": {"content": 7}}]}).to_string(),
            )
        }),
    ];
    let mut found = Vec::new();
    for (name, answer) in cases {
        found.push(format!("{name}: {}", remark(answer).await));
    }
    insta::assert_snapshot!("misbehaviour", found.join("\n"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_left_alone_after_a_while() {
    let server = Receiver::always(500).await;
    let bench = bench(&endpoint(&server, json!({}))).await;
    for _ in 0..3 {
        drawn(&bench).await;
    }
    let task = drawn(&bench).await;
    assert!(
        task.debug_error.contains("left alone for a while"),
        "{}",
        task.debug_error
    );
    assert_eq!(server.calls().len(), 5, "five failures in a row are enough");
}
