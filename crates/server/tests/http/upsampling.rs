//! A prompt that was rewritten, as those see it who watch and those who ask.

use serde_json::{Value, json};
use tintype_domain::ToolSlug;
use tintype_server::{Options, webhooks};
use tintype_service::test_support::StandInUpsampler;
use tintype_service::upsampling::ToolUpsampling;

use crate::house::{DETAIL, House, RUN};
use crate::live::{Live, by_token};

const WISHED: &str = r#"{"prompt": "a cat", "seed": 7, "promptUpsampling": "true"}"#;

/// What the stand-in makes of it.
const REWRITTEN: &str = "a cat, rewritten 7";

#[tokio::test]
async fn the_rewriting_is_on_record_when_preprocessing_has_ended_and_events_stay_as_they_are() {
    let options = Options::default();
    let house = House::configured(options.clone(), |config| {
        let of_tool = ToolUpsampling {
            upsampler: Some(StandInUpsampler::new()),
            required: true,
        };
        let tool = ToolSlug::new("black-forest-labs", "flux-pro-1.1");
        config.upsampling = [(tool, of_tool)].into_iter().collect();
    });
    let live = Live::over(house.await, &options).await;
    let answer = live.house.post(RUN, WISHED).await.json();
    let token = answer["socketaccesstoken"].as_str().expect("a token");
    let mut client = live.connect().await;
    client.watch(token).await;
    let mut events = vec![client.hear().await];
    let (_worker, engine) = live.house.worker();
    let hold = engine.then_hold();
    events.extend(client.hear_until("task_preprocess_end").await);
    let body = json!({ "tasktoken": token }).to_string();
    let told = live.house.post(DETAIL, body).await.json();
    let task = &told["tasklist"][0];
    assert_eq!(task["upsampledprompt"], REWRITTEN, "it is drawn from this");
    assert_eq!(task["parameters"]["prompt"], "a cat", "as it was sent");
    hold.open();
    events.extend(client.hear_until("task_postprocess_end").await);
    for event in &events {
        assert!(!event.to_string().contains("rewritten"), "{event}");
    }
    let record = live.house.ended(&by_token(token)).await;
    let report = webhooks(&live.house.service, &options)(record, None);
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    assert_eq!(report["tasklist"][0]["upsampledprompt"], REWRITTEN);
}
