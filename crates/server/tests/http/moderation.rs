//! A moderated task as clients see it: the record, the events, the report; and a service that
//! lacks a moderator.

use std::sync::Arc;

use serde_json::json;
use tintype_moderation::RuleSet;
use tintype_server::{Options, webhooks};
use tintype_service::ServiceConfig;
use tintype_service::moderation::{Mode, Moderation};

use crate::house::{DETAIL, House, RUN};
use crate::live::{Live, by_token, types};

/// Stopped at the usual tolerance, and named nowhere but in the client's own parameters.
const PROMPT: &str = r#"{"prompt": "a nude woman", "seed": 7}"#;

fn by_the_rules(mode: Mode) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        config.moderation = Moderation {
            mode,
            texts: vec![Arc::new(RuleSet::builtin())],
            ..Moderation::off()
        };
    }
}

async fn submitted(house: &House) -> String {
    let answer = house.post(RUN, PROMPT).await.json();
    let token = answer["socketaccesstoken"].as_str();
    token.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[tokio::test]
async fn a_moderated_task_is_told_on_every_way_and_costs_nothing() {
    let options = Options::default();
    let house = House::configured(options.clone(), by_the_rules(Mode::On)).await;
    let live = Live::over(house, &options).await;
    let token = submitted(&live.house).await;
    let mut client = live.connect().await;
    client.watch(&token).await;
    let mut events = vec![client.hear().await];
    let (_worker, engine) = live.house.worker();
    events.extend(client.hear_until("task_postprocess_end").await);
    assert!(engine.jobs().is_empty(), "no engine was asked");
    let expected = [
        "task_queue",
        "task_accept",
        "task_preprocess_start",
        "task_error_full",
        "task_end",
        "task_postprocess_start",
        "task_postprocess_end",
    ];
    assert_eq!(types(&events), expected);
    assert_eq!(events.last().expect("events")["message"], json!([]));

    let body = format!(r#"{{"tasktoken": "{token}"}}"#);
    let detail = live.house.post(DETAIL, body).await.json();
    let task = &detail["tasklist"][0];
    assert_eq!(task["status"], "task_postprocess_end");
    assert_eq!(task["pexit"], "5");
    assert_eq!(task["debugerror"], "Request moderated: sexual");
    assert_eq!(task["outputs"], json!([]));
    assert_eq!(task["totalcost"], "0");
    assert_eq!(
        task["parameters"]["prompt"], "a nude woman",
        "as it was sent"
    );

    let record = live.house.ended(&by_token(&token)).await;
    let report = webhooks(&live.house.service, &options)(record, None);
    let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
    assert_eq!(
        (&report["pexit"], &report["outputs"]),
        (&json!("5"), &json!([]))
    );
    assert_eq!(
        report["tasklist"][0]["debugerror"],
        "Request moderated: sexual"
    );
}

#[tokio::test]
async fn a_service_that_lacks_a_required_moderator_says_so_and_accepts_no_run() {
    let house = House::configured(Options::default(), by_the_rules(Mode::Required)).await;
    let reason = "This service runs only what it can moderate, and pictures are not moderated. Its \
                  operator has to set a moderator up.";
    let answer = house.post(RUN, r#"{"prompt": "a red circle"}"#).await;
    assert_eq!(answer.error(), (200, 0, reason.to_owned()));
    let answer = house.get("/readyz").await;
    assert_eq!(answer.error(), (503, 0, reason.to_owned()));
}

#[tokio::test]
async fn readiness_says_what_is_not_moderated() {
    let house = House::configured(Options::default(), by_the_rules(Mode::On)).await;
    let answer = house.get("/readyz").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.bytes, b"ready\npictures are not moderated\n");
}
