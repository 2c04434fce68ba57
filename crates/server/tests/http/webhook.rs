//! The body of a webhook: what `Task/Detail` answers, and the most important of it on top.

use serde_json::Value;
use tintype_domain::{ExitCode, Outcome, Task};
use tintype_server::{BaseUrl, Options, webhooks};

use crate::house::{DETAIL, House};

const AS_ASKED: &str = "http://as.asked:8787";

async fn report(house: &House, base_url: BaseUrl, task: &Task) -> Value {
    let options = Options {
        base_url,
        ..Options::default()
    };
    let render = webhooks(&house.service, &options);
    let found = house.store_detail(task).await;
    let body = render(found, Some(AS_ASKED));
    serde_json::from_slice(&body).expect("JSON")
}

#[tokio::test]
async fn it_is_the_detail_answer_with_its_essence_on_top() {
    let house = House::build().await;
    let token = house.submitted().await;
    let task = house.claimed().await;
    house.succeed(&task, b"a picture").await;
    let report = report(&house, BaseUrl::Configured, &task).await;

    let body = format!(r#"{{"tasktoken": "{token}"}}"#);
    let detail = house.post(DETAIL, body).await.json();
    let told = &detail["tasklist"][0];
    for (name, value) in detail.as_object().expect("an object") {
        assert_eq!(&report[name], value, "{name}");
    }
    assert_eq!(report["taskid"], told["id"]);
    assert_eq!(report["socketaccesstoken"], token);
    assert_eq!(report["status"], "task_postprocess_end");
    assert_eq!(report["pexit"], "0");
    assert_eq!(report["outputs"], told["outputs"]);
    let names: Vec<_> = report.as_object().expect("an object").keys().collect();
    let expected = [
        "total",
        "errors",
        "tasklist",
        "result",
        "taskid",
        "socketaccesstoken",
        "status",
        "pexit",
        "outputs",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn addresses_begin_where_the_operator_says_or_where_the_client_came_in() {
    let house = House::build().await;
    house.submitted().await;
    let task = house.claimed().await;
    house.succeed(&task, b"a picture").await;
    for (base_url, start) in [
        (BaseUrl::Configured, "https://pictures.example/"),
        (BaseUrl::FromRequest, AS_ASKED),
    ] {
        let report = report(&house, base_url, &task).await;
        let url = report["outputs"][0]["url"].as_str().expect("a text");
        assert!(url.starts_with(start), "{url}");
        assert!(url.ends_with("/0.png"), "{url}");
    }
}

#[tokio::test]
async fn a_failure_is_told_with_its_number_and_no_outputs() {
    let house = House::build().await;
    house.submitted().await;
    let task = house.claimed().await;
    let outcome = Outcome::Failed {
        exit_code: ExitCode::ENGINE,
        debug_error: "no memory".to_owned(),
    };
    house.end(&task, outcome).await;
    let report = report(&house, BaseUrl::Configured, &task).await;
    assert_eq!(report["pexit"], "1");
    assert_eq!(report["outputs"], serde_json::json!([]));
    assert_eq!(report["tasklist"][0]["debugerror"], "no memory");
}
