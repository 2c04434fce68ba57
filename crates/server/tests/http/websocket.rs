//! The websocket, over real sockets: lives, late comers, reconnects, slow and broken clients.

use serde_json::{Value, json};
use tintype_domain::{EventKind, ExitCode, Outcome, TaskId, TaskState, UnixMillis};
use tintype_server::{Limits, Options};
use tintype_service::test_support::Behaviour;
use tintype_store::{Progress, Store};

use crate::house::{DETAIL, House, RUN};
use crate::live::{Client, Live, fields, types};

/// The types of a life without trouble, from the queue on.
const LIFE: [&str; 13] = [
    "task_queue",
    "task_accept",
    "task_preprocess_start",
    "task_preprocess_end",
    "task_assign",
    "task_start",
    "task_output",
    "task_output",
    "task_output",
    "task_output_full",
    "task_end",
    "task_postprocess_start",
    "task_postprocess_end",
];

/// A task that has ended well, and its token.
async fn ended(live: &Live) -> String {
    let token = live.house.submitted().await;
    let (_worker, _) = live.house.worker();
    live.house.ended(&crate::live::by_token(&token)).await;
    token
}

#[tokio::test]
async fn a_watched_life_has_every_event_in_order_and_the_record_is_there_at_its_end() {
    let live = Live::start(Options::default()).await;
    let token = live.house.submitted().await;
    let mut client = live.connect().await;
    client.watch(&token).await;
    let mut events = vec![client.hear().await];
    let (_worker, _) = live.house.worker();
    events.extend(client.hear_until("task_postprocess_end").await);
    assert_eq!(types(&events), LIFE);
    let detail = live
        .house
        .post(DETAIL, format!(r#"{{"tasktoken":"{token}"}}"#));
    let task = detail.await.json()["tasklist"][0].clone();
    let last = events.last().expect("events");
    assert_eq!(last["message"], task["outputs"]);
    assert_eq!(last["message"][0]["contenttype"], "image/png");
    assert_eq!(task["pexit"], "0");
    for event in &events {
        assert_eq!(event["id"], task["id"]);
        assert_eq!(event["tasktoken"], token.as_str());
        assert_eq!(event["result"], true);
        assert_eq!(event.get("missed"), None, "{event}");
    }
    // The three outputs share a number: they happen within one state.
    let numbers = [
        "1", "2", "3", "4", "5", "6", "7", "7", "7", "8", "9", "10", "11",
    ];
    assert_eq!(fields(&events, "number"), numbers);
}

#[tokio::test]
async fn messages_are_as_documented() {
    let live = Live::start(Options::default()).await;
    let token = live.house.submitted().await;
    let mut client = live.connect().await;
    client.watch(&token).await;
    client.hear().await;
    let (_worker, _) = live.house.worker();
    let events = client.hear_until("task_postprocess_end").await;
    for event in &events {
        let message = &event["message"];
        match event["type"].as_str().expect("a type") {
            "task_output" => {
                let fields: Vec<_> = message.as_object().expect("an object").keys().collect();
                let expected = [
                    "type",
                    "task",
                    "percentage",
                    "stepCurrent",
                    "stepTotal",
                    "speed",
                    "speedType",
                    "elapsedTime",
                    "remainingTime",
                ];
                assert_eq!(fields, expected);
                assert!(
                    message
                        .as_object()
                        .into_iter()
                        .flatten()
                        .all(|(_, v)| v.is_string())
                );
                assert_eq!(message["type"], "progressGenerate");
                assert_eq!(message["stepTotal"], "3");
            }
            "task_output_full" => assert_eq!(message, &json!({"raw": ""})),
            "task_postprocess_end" => assert_eq!(message.as_array().map(Vec::len), Some(1)),
            _ => assert_eq!(message, &Value::Null, "{event}"),
        }
    }
    let progress = events.iter().filter(|e| e["type"] == "task_output");
    let percentages: Vec<_> = progress
        .map(|e| e["message"]["percentage"].clone())
        .collect();
    assert_eq!(percentages, ["33", "66", "100"]);
}

#[tokio::test]
async fn a_failure_says_why_and_ends_without_outputs() {
    let live = Live::start(Options::default()).await;
    let token = live.house.submitted().await;
    let mut client = live.connect().await;
    client.watch(&token).await;
    client.hear().await;
    let (_worker, engine) = live.house.worker();
    engine.then(Behaviour::Fail("out of paint".to_owned()));
    let events = client.hear_until("task_postprocess_end").await;
    let expected = [
        "task_accept",
        "task_preprocess_start",
        "task_preprocess_end",
        "task_assign",
        "task_start",
        "task_output",
        "task_error_full",
        "task_end",
        "task_postprocess_start",
        "task_postprocess_end",
    ];
    assert_eq!(types(&events), expected);
    let raw = events[6]["message"]["raw"].as_str().expect("a text");
    assert!(raw.contains("out of paint"), "{raw}");
    assert_eq!(events[9]["message"], json!([]));
}

#[tokio::test]
async fn a_failure_before_the_engine_says_why_too() {
    let live = Live::start(Options::default()).await;
    let token = live.house.submitted().await;
    let mut client = live.connect().await;
    client.watch(&token).await;
    client.hear().await;
    let task = live.house.claimed().await;
    let outcome = Outcome::Failed {
        exit_code: ExitCode::INPUT,
        debug_error: "The picture cannot be read.".to_owned(),
    };
    live.house.end(&task, outcome).await;
    let events = client.hear_until("task_postprocess_end").await;
    let expected = [
        "task_accept",
        "task_error_full",
        "task_end",
        "task_postprocess_start",
        "task_postprocess_end",
    ];
    assert_eq!(types(&events), expected);
    assert_eq!(
        events[1]["message"],
        json!({"raw": "The picture cannot be read."})
    );
}

#[tokio::test]
async fn a_cancelled_task_says_so() {
    let live = Live::start(Options::default()).await;
    let token = live.house.submitted().await;
    let mut client = live.connect().await;
    client.watch(&token).await;
    let body = format!(r#"{{"tasktoken":"{token}"}}"#);
    live.house.post("/v1/Task/Cancel", body).await;
    let events = client.hear_until("task_cancel").await;
    assert!(types(&events).ends_with(&["task_cancel"]));
    client.hears_nothing_more().await;
}

#[tokio::test]
async fn a_killed_task_says_so() {
    let live = Live::start(Options::default()).await;
    let (_worker, engine) = live.house.worker();
    let hold = engine.then_hold();
    let token = live.house.submitted().await;
    hold.reached().await;
    let mut client = live.connect().await;
    client.watch(&token).await;
    client.hear().await;
    let body = format!(r#"{{"tasktoken":"{token}"}}"#);
    live.house.post("/v1/Task/Kill", body).await;
    let events = client.hear_until("task_cancel").await;
    let life_cycle: Vec<_> = types(&events);
    assert_eq!(life_cycle.last(), Some(&"task_cancel"), "{life_cycle:?}");
    client.hears_nothing_more().await;
}

#[tokio::test]
async fn who_comes_in_the_middle_hears_where_it_stands_and_then_the_rest() {
    let live = Live::start(Options::default()).await;
    let (_worker, engine) = live.house.worker();
    let hold = engine.then_hold();
    let token = live.house.submitted().await;
    hold.reached().await;
    live.house.reached(&token, TaskState::Output).await;
    let mut client = live.connect().await;
    client.watch(&token).await;
    let first = client.hear().await;
    assert_eq!(
        (&first["type"], &first["number"]),
        (&json!("task_output"), &json!("7"))
    );
    assert_eq!(first["message"], "");
    hold.open();
    let rest = client.hear_until("task_postprocess_end").await;
    assert_eq!(types(&rest), LIFE[7..]);
}

#[tokio::test]
async fn who_comes_after_the_end_hears_the_end() {
    let live = Live::start(Options::default()).await;
    let token = ended(&live).await;
    let mut client = live.connect().await;
    client.watch(&token).await;
    let event = client.hear().await;
    assert_eq!(
        (&event["type"], &event["number"]),
        (&json!("task_postprocess_end"), &json!("11"))
    );
    assert_eq!(event["message"].as_array().map(Vec::len), Some(1));
    client.hears_nothing_more().await;
    client.watch(&token).await;
    assert_eq!(client.hear().await, event, "and again when asked again");
}

#[tokio::test]
async fn who_reconnects_hears_everything_once() {
    let live = Live::start(Options::default()).await;
    let token = live.house.submitted().await;
    let mut first = live.connect().await;
    first.watch(&token).await;
    let mut events = vec![first.hear().await];
    let (_worker, engine) = live.house.worker();
    let hold = engine.then_hold();
    events.extend(first.hear_until("task_assign").await);
    drop(first);
    hold.reached().await;
    let mut second = live.connect().await;
    let after = events.last().expect("events")["number"].clone();
    second
        .say(&json!({"type": "task_info", "tasktoken": token, "after": after}))
        .await;
    hold.open();
    events.extend(second.hear_until("task_postprocess_end").await);
    second.hears_nothing_more().await;
    let mut numbers: Vec<u32> = fields(&events, "number")
        .iter()
        .map(|number| number.parse().expect("a number"))
        .collect();
    numbers.dedup();
    assert_eq!(numbers, (1..=11).collect::<Vec<_>>());
    let states: Vec<_> = types(&events)
        .into_iter()
        .filter(|t| *t != "task_output")
        .collect();
    let expected: Vec<_> = LIFE.into_iter().filter(|t| *t != "task_output").collect();
    assert_eq!(states, expected);
}

#[tokio::test]
async fn a_place_after_the_end_or_beyond_it_is_no_trouble() {
    let live = Live::start(Options::default()).await;
    let token = ended(&live).await;
    let mut client = live.connect().await;
    let resume = |after: u32| json!({"type": "task_info", "tasktoken": token, "after": after});
    client.say(&resume(11)).await;
    client.hears_nothing_more().await;
    client.say(&resume(10)).await;
    assert_eq!(client.hear().await["type"], "task_postprocess_end");
    // A number that was never given out is not believed.
    client.say(&resume(4_000_000_000)).await;
    assert_eq!(client.hear().await["type"], "task_postprocess_end");
    client.say(&resume(0)).await;
    let events = client.hear_until("task_postprocess_end").await;
    assert_eq!(events.len(), 11, "the whole history: {events:?}");
}

#[tokio::test]
async fn one_socket_watches_several_tasks() {
    let live = Live::start(Options::default()).await;
    let tokens = [live.house.submitted().await, live.house.submitted().await];
    let mut client = live.connect().await;
    for token in &tokens {
        client.watch(token).await;
        assert_eq!(client.hear().await["tasktoken"], token.as_str());
    }
    let (_worker, _) = live.house.worker();
    let mut events = client.hear_until("task_postprocess_end").await;
    events.extend(client.hear_until("task_postprocess_end").await);
    for token in &tokens {
        let own: Vec<_> = events
            .iter()
            .filter(|e| e["tasktoken"] == token.as_str())
            .collect();
        let types: Vec<_> = own.iter().filter_map(|e| e["type"].as_str()).collect();
        assert_eq!(types, LIFE[1..]);
    }
}

#[tokio::test]
async fn a_queued_task_is_told_how_many_go_before_it_and_how_long_it_takes() {
    let live = Live::start(Options::default()).await;
    // What a run takes is known from those before.
    ended(&live).await;
    let tokens = [live.house.submitted().await, live.house.submitted().await];
    let mut client = live.connect().await;
    for (token, position) in tokens.iter().zip(["0", "1"]) {
        client.watch(token).await;
        let event = client.hear().await;
        assert_eq!(event["type"], "task_queue");
        assert_eq!(event["queueposition"], position, "{event}");
        let seconds = event["estimatedseconds"].as_str().expect("a text");
        assert!(seconds.parse::<u64>().is_ok(), "{event}");
    }
    let (_worker, _) = live.house.worker();
    let events = client.hear_until("task_postprocess_end").await;
    assert!(
        events
            .iter()
            .all(|event| event.get("queueposition").is_none())
    );
}

#[tokio::test]
async fn several_sockets_watch_one_task() {
    let live = Live::start(Options::default()).await;
    let token = live.house.submitted().await;
    let mut clients = [live.connect().await, live.connect().await];
    for client in &mut clients {
        client.watch(&token).await;
        client.hear().await;
    }
    let (_worker, _) = live.house.worker();
    for client in &mut clients {
        let events = client.hear_until("task_postprocess_end").await;
        assert_eq!(types(&events), LIFE[1..]);
    }
}

#[tokio::test]
async fn a_socket_watches_so_many_tasks_and_no_more() {
    let live = Live::start(Options::default()).await;
    let mut client = live.connect().await;
    for _ in 0..128 {
        let token = live.house.submitted().await;
        client.watch(&token).await;
        assert_eq!(client.hear().await["type"], "task_queue");
    }
    let token = live.house.submitted().await;
    client.watch(&token).await;
    let refused = client.hear().await;
    assert_eq!(
        (&refused["type"], &refused["result"]),
        (&json!("error"), &json!(false))
    );
    let message = refused["message"].as_str().expect("a sentence");
    assert!(message.contains("open another"), "{message}");
}

#[tokio::test]
async fn only_a_token_opens_a_task() {
    let live = Live::start(Options::default()).await;
    live.house.submitted().await;
    let mut client = live.connect().await;
    let required = json!({"type": "error", "message": "tasktoken-required", "result": false});
    for message in [
        json!({"type": "task_info"}),
        json!({"type": "task_info", "tasktoken": ""}),
        json!({"type": "task_info", "taskid": "1"}),
    ] {
        client.say(&message).await;
        assert_eq!(client.hear().await, required, "{message}");
    }
    for token in ["1", "eDcCm5yyUfIvMFspTwww49OUfgXkQt"] {
        client.watch(token).await;
        let refused = json!({
            "type": "error", "message": "task-not-exist", "tasktoken": token, "result": false
        });
        assert_eq!(client.hear().await, refused);
    }
}

#[tokio::test]
async fn nonsense_is_answered_and_harms_nothing() {
    let live = Live::start(Options::default()).await;
    let token = live.house.submitted().await;
    let mut client = live.connect().await;
    for text in [
        "",
        "{",
        "[1]",
        "\"task_info\"",
        "{\"type\":\"task_info\",",
        "\u{0}",
    ] {
        client.say_text(text).await;
        let answer = client.hear().await;
        assert_eq!(
            (&answer["type"], &answer["result"]),
            (&json!("error"), &json!(false)),
            "{text}"
        );
    }
    client.say(&json!({"type": "hello"})).await;
    client.say_binary(b"\xff\xfe").await;
    client.watch(&token).await;
    assert_eq!(client.hear().await["type"], "task_queue");
    client
        .say_text(&format!("{{\"a\":\"{}\"}}", "x".repeat(5_000)))
        .await;
    client.is_closed().await;
    let mut other = live.connect().await;
    other.watch(&token).await;
    assert_eq!(other.hear().await["type"], "task_queue");
}

#[tokio::test]
async fn previews_go_to_those_who_asked_and_to_nobody_else() {
    let live = Live::start(Options::default()).await;
    let (_worker, engine) = live.house.worker();
    let hold = engine.then_hold();
    let token = live.house.submitted().await;
    hold.reached().await;
    let other = live.house.submitted().await;
    let (mut curious, mut plain) = (live.connect().await, live.connect().await);
    curious
        .say(&json!({"type": "task_info", "tasktoken": token, "preview": true}))
        .await;
    plain.watch(&token).await;
    // Previews are a matter of the task, not of the socket.
    plain
        .say(&json!({"type": "task_info", "tasktoken": other, "preview": true}))
        .await;
    plain.hear().await;
    plain.hear().await;
    curious.hear().await;
    let (header, jpeg) = curious.see().await;
    hold.open();
    let id = header["id"].clone();
    assert_eq!(header["tasktoken"], token.as_str());
    assert_eq!(header["contenttype"], "image/jpeg");
    let picture = image::load_from_memory(&jpeg).expect("a picture");
    assert!(picture.width().max(picture.height()) <= 256);
    let frames = plain.frames_until_ended(&token).await;
    assert!(
        frames.iter().all(|header| header["id"] != id),
        "nothing binary of the task that was not asked for: {frames:?}"
    );
}

#[tokio::test]
async fn a_reader_that_is_slow_loses_progress_only_and_is_told_how_much() {
    const BATCHES: u32 = 250;
    const BATCH: u32 = 200;
    let live = Live::start(Options::default()).await;
    let token = live.house.submitted().await;
    let mut client = live.connect_small().await;
    client.watch(&token).await;
    let mut events = vec![client.hear().await];
    let task = live.house.claimed().await;
    let record = async |kinds: Vec<EventKind>| {
        let progress = kinds.into_iter().map(|kind| Progress {
            task: task.id,
            epoch: task.epoch,
            at: UnixMillis(1_734_513_812_000),
            kind,
        });
        live.house
            .store
            .record(progress.collect())
            .await
            .expect("recorded");
    };
    record(vec![EventKind::Entered {
        state: TaskState::Output,
    }])
    .await;
    for batch in 0..BATCHES {
        let steps = batch * BATCH + 1..=(batch + 1) * BATCH;
        let kinds = steps.map(|step| EventKind::Progress {
            step,
            steps: BATCHES * BATCH,
            elapsed_millis: 1_000,
        });
        record(kinds.collect()).await;
    }
    live.house.succeed(&task, b"picture").await;
    events.extend(client.hear_until("task_postprocess_end").await);
    let steps: Vec<u64> = events
        .iter()
        .filter_map(|event| event["message"]["stepCurrent"].as_str()?.parse().ok())
        .collect();
    assert!(steps.is_sorted_by(|a, b| a < b));
    let missed: u64 = events
        .iter()
        .filter_map(|event| event["missed"].as_str()?.parse::<u64>().ok())
        .sum();
    let total = u64::from(BATCHES * BATCH);
    assert!(missed > 0, "the reader was not slow enough for this test");
    assert_eq!(steps.len() as u64 + missed, total);
    let states: Vec<_> = types(&events)
        .into_iter()
        .filter(|t| *t != "task_output")
        .collect();
    let expected = [
        "task_queue",
        "task_accept",
        "task_end",
        "task_postprocess_start",
        "task_postprocess_end",
    ];
    assert_eq!(states, expected);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_stops_nothing() {
    let live = Live::start(Options::default()).await;
    let (_worker, engine) = live.house.worker();
    let hold = engine.then_hold();
    let token = live.house.submitted().await;
    hold.reached().await;
    let mut client = live.connect().await;
    client
        .say(&json!({"type": "task_info", "tasktoken": token, "preview": true}))
        .await;
    client.hear().await;
    let job = engine.jobs().pop().expect("a job");
    assert!(job.previews.is_raised());
    drop(client);
    // The socket has gone when nobody looks any more.
    while job.previews.is_raised() {
        tokio::task::yield_now().await;
    }
    hold.open();
    let task = live.house.ended(&crate::live::by_token(&token)).await;
    assert_eq!(task.exit_code, Some(ExitCode::SUCCESS));
}

#[tokio::test]
async fn the_door_says_what_it_is() {
    let house = House::build().await;
    for path in ["/v1", "/v1/"] {
        let answer = house.get(path).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (426, 0), "{path}");
        assert!(message.contains("websocket"), "{message}");
    }
    assert_eq!(house.post("/v1", "{}").await.status, 404);
    assert_eq!(house.get("/v1/Task").await.status, 404);
}

#[tokio::test]
async fn both_spellings_of_the_door_open() {
    let live = Live::start(Options::default()).await;
    for path in ["/v1", "/v1/"] {
        Client::connect(live.address, path).await;
    }
}

#[tokio::test]
async fn there_are_so_many_sockets_and_no_more() {
    let limits = Limits {
        sockets: 1,
        ..Limits::default()
    };
    let live = Live::start(Options {
        limits,
        ..Options::default()
    })
    .await;
    let first = live.connect().await;
    assert_eq!(Client::refused(live.address).await, 503);
    drop(first);
    while Client::refused(live.address).await == 503 {}
}

#[tokio::test]
async fn a_client_that_shows_no_life_is_dropped_and_one_that_does_is_not() {
    let limits = Limits {
        socket_life_seconds: 1,
        ..Limits::default()
    };
    let live = Live::start(Options {
        limits,
        ..Options::default()
    })
    .await;
    let token = live.house.submitted().await;
    let mut alive = live.connect().await;
    let dead = tokio::spawn(Client::read_without_answering(live.address));
    for _ in 0..6 {
        alive.hear_ping().await;
    }
    assert!(
        dead.await.expect("no panic") > 0,
        "it was told something, then closed"
    );
    alive.watch(&token).await;
    assert_eq!(alive.hear().await["type"], "task_queue");
}

#[tokio::test]
async fn a_stop_closes_sockets_and_does_not_wait_for_them() {
    let live = Live::start(Options::default()).await;
    let mut client = live.connect().await;
    let token = live.house.submitted().await;
    client.watch(&token).await;
    client.hear().await;
    let server = live.stop();
    assert_eq!(client.close_code().await, Some(1001));
    server.await.expect("the server ends by itself");
}

#[tokio::test]
async fn a_task_that_goes_back_to_the_queue_is_followed_there() {
    let live = Live::start(Options::default()).await;
    let answer = live
        .house
        .post(RUN, r#"{"prompt": "a red circle"}"#)
        .await
        .json();
    let token = answer["socketaccesstoken"]
        .as_str()
        .expect("a token")
        .to_owned();
    let mut client = live.connect().await;
    client.watch(&token).await;
    assert_eq!(client.hear().await["type"], "task_queue");
    let task = live.house.claimed().await;
    assert_eq!(
        TaskId(
            answer["taskid"]
                .as_str()
                .expect("an id")
                .parse()
                .expect("a number")
        ),
        task.id
    );
    let now = UnixMillis(1_734_513_812_000);
    live.house
        .store
        .release(task.id, task.epoch, now)
        .await
        .expect("released");
    let (_worker, _) = live.house.worker();
    let events = client.hear_until("task_postprocess_end").await;
    let mut expected = vec!["task_accept"];
    expected.extend(LIFE);
    assert_eq!(types(&events), expected);
}
