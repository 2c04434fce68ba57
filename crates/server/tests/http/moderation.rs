//! A moderated task as clients see it: the record, the events, the report; and a service that
//! lacks a moderator.

use std::sync::Arc;

use serde_json::{Value, json};
use tintype_domain::Priced;
use tintype_moderation::{Category, RuleSet};
use tintype_server::{Options, webhooks};
use tintype_service::ServiceConfig;
use tintype_service::moderation::{Mode, Moderation};
use tintype_service::test_support::StandInJudge;
use tintype_store::AccountChange;

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
    accepted(house, PROMPT).await
}

async fn accepted(house: &House, body: &'static str) -> String {
    let answer = house.post(RUN, body).await.json();
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
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    assert_eq!(
        (&report["pexit"], &report["outputs"]),
        (&json!("5"), &json!([]))
    );
    assert_eq!(
        report["tasklist"][0]["debugerror"],
        "Request moderated: sexual"
    );
}

/// Three pictures, whose first pixels begin with 250, 251 and 252.
const SEVERAL: &str = r#"{"prompt": "x", "seed": 250, "numOutputs": 3, "aspectRatio": "1:1"}"#;

/// A house whose judge of pictures lets none of these through, and where a picture costs 4 cents.
async fn gallery(stopped: &[u8]) -> Live {
    let judge = StandInJudge::new();
    for &red in stopped {
        judge.sees([red, 0, 0], Category::Sexual, 0.9);
    }
    let options = Options::default();
    let judged = |config: &mut ServiceConfig| {
        config.moderation = Moderation {
            mode: Mode::On,
            pictures: vec![judge],
            ..Moderation::off()
        };
    };
    let house = House::configured(options.clone(), judged).await;
    let prices = AccountChange {
        prices: vec![(Priced::Any, Some(40_000))],
        ..AccountChange::default()
    };
    let priced = house.service.change_project("default", prices).await;
    priced.expect("changed");
    Live::over(house, &options).await
}

async fn detail(house: &House, token: &str) -> Value {
    let body = format!(r#"{{"tasktoken": "{token}"}}"#);
    house.post(DETAIL, body).await.json()["tasklist"][0].clone()
}

async fn report(house: &House, token: &str) -> Value {
    let record = house.ended(&by_token(token)).await;
    let report = webhooks(&house.service, &Options::default())(record, None);
    serde_json::from_slice(&report).expect("JSON")
}

#[tokio::test]
async fn one_of_several_pictures_is_withheld_and_the_others_are_a_success() {
    let live = gallery(&[251]).await;
    let token = accepted(&live.house, SEVERAL).await;
    let mut client = live.connect().await;
    client.watch(&token).await;
    let mut events = vec![client.hear().await];
    let _worker = live.house.worker();
    events.extend(client.hear_until("task_postprocess_end").await);

    let task = detail(&live.house, &token).await;
    assert_eq!(
        (&task["status"], &task["pexit"]),
        (&json!("task_postprocess_end"), &json!("0"))
    );
    let remark = "Picture 1 was withheld. Content moderated: sexual.";
    assert_eq!(task["debugerror"], remark);
    let outputs = task["outputs"].as_array().expect("a list");
    let names: Vec<_> = outputs.iter().map(|output| &output["name"]).collect();
    assert_eq!(names, ["0.png", "2.png"], "each keeps its number");
    assert_eq!(
        task["totalcost"], "0.080000000000",
        "what there is, is paid"
    );

    let mut bytes = 0;
    for (output, red) in outputs.iter().zip([250, 252]) {
        let url = output["url"].as_str().expect("a text");
        let path = url.strip_prefix("https://pictures.example").expect("ours");
        let answer = live.house.get(path).await;
        assert_eq!(output["size"], answer.bytes.len().to_string());
        bytes += answer.bytes.len();
        let picture = image::load_from_memory(&answer.bytes).expect("a picture");
        assert_eq!(picture.into_rgb8().get_pixel(0, 0).0, [red, 0, 0]);
        let withheld = path.replace(output["name"].as_str().expect("a text"), "1.png");
        assert_eq!(live.house.get(&withheld).await.status, 404);
    }
    assert_eq!(task["size"], bytes.to_string());

    // A success: nothing that clients take for an error is among the events.
    assert!(!types(&events).contains(&"task_error_full"), "{events:?}");
    assert_eq!(events.last().expect("events")["message"], task["outputs"]);
    let report = report(&live.house, &token).await;
    assert_eq!(report["tasklist"][0], task);
    assert_eq!(
        (&report["pexit"], &report["outputs"]),
        (&json!("0"), &task["outputs"])
    );
}

#[tokio::test]
async fn a_task_is_moderated_when_none_of_its_pictures_is_left() {
    let live = gallery(&[250, 251, 252]).await;
    let token = accepted(&live.house, SEVERAL).await;
    let _worker = live.house.worker();
    let report = report(&live.house, &token).await;
    let task = detail(&live.house, &token).await;
    assert_eq!(report["tasklist"][0], task);
    assert_eq!(
        (&task["pexit"], &task["debugerror"], &task["totalcost"]),
        (
            &json!("5"),
            &json!("Content moderated: sexual"),
            &json!("0")
        )
    );
    assert_eq!((&task["outputs"], &task["size"]), (&json!([]), &json!("0")));
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
