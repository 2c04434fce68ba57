//! What is offered: lists of tools, one tool, and a look around.

use axum::http::Method;
use serde_json::{Value, json};
use tintype_domain::{AuthKind, ExitCode, Outcome};

use crate::house::{DETAIL, House, RUN, request};

const LIST: &str = "/v1/Tool/List";
const ONE: &str = "/v1/Tool/Detail";
const EXPLORE: &str = "/v1/Tool/Explore";
const EDIT: &str = "/v1/Run/black-forest-labs/flux-kontext-max";

/// The models on a page, and the total.
fn told(answer: &Value) -> (Vec<&str>, u64) {
    assert_eq!(
        (&answer["result"], &answer["errors"]),
        (&json!(true), &json!([])),
        "{answer}"
    );
    let tools = answer["tool"].as_array().expect("a list").iter();
    let models = tools.map(|tool| tool["cleanslugproject"].as_str().expect("a slug"));
    (
        models.collect(),
        answer["total"].as_u64().expect("a number"),
    )
}

fn about(model: &str) -> String {
    json!({"slugowner": "black-forest-labs", "slugproject": model}).to_string()
}

#[tokio::test]
async fn the_published_question_gets_cards() {
    let house = House::build().await;
    let body = json!({
        "start": "0", "limit": "20", "search": "", "categories": ["image-to-image"],
        "hideworkflows": true, "summary": true,
    });
    insta::assert_json_snapshot!(house.post(LIST, body.to_string()).await.json());
}

#[tokio::test]
async fn a_tool_is_told_with_its_form() {
    let house = House::build().await;
    insta::assert_json_snapshot!(house.post(ONE, about("flux-kontext-max")).await.json());
}

#[tokio::test]
async fn tools_are_explored_by_what_they_do() {
    let house = House::build().await;
    insta::assert_json_snapshot!(house.post(EXPLORE, "{}").await.json());
}

#[tokio::test]
async fn a_list_shows_what_the_detail_shows() {
    let house = House::build().await;
    let list = house.post(LIST, "{}").await.json();
    assert_eq!(told(&list), (vec!["flux-kontext-max", "flux-pro-1.1"], 2));
    for tool in list["tool"].as_array().expect("tools") {
        let model = tool["slugproject"].as_str().expect("a slug");
        let detail = house.post(ONE, about(model)).await.json();
        assert_eq!(&detail["tool"][0], tool);
        assert_eq!(detail["total"], Value::Null);
    }
}

#[tokio::test]
async fn a_summary_keeps_every_field_and_a_detail_its_form() {
    let house = House::build().await;
    let mut question: Value = serde_json::from_str(&about("flux-pro-1.1")).expect("JSON");
    let whole = house.post(ONE, question.to_string()).await.json();
    question["summary"] = json!("true");
    let summary = house.post(ONE, question.to_string()).await.json();
    let card = house
        .post(LIST, r#"{"summary": 1, "start": 1}"#)
        .await
        .json();
    let names = |answer: &Value| -> Vec<String> {
        let tool = answer["tool"][0].as_object().expect("a tool");
        tool.keys().cloned().collect()
    };
    assert_eq!(names(&summary), names(&whole));
    assert_eq!(names(&card), names(&whole));
    let (whole, summary, card) = (&whole["tool"][0], &summary["tool"][0], &card["tool"][0]);
    assert_eq!(summary["parameters"], whole["parameters"]);
    assert_eq!(
        (&summary["readme"], &card["readme"]),
        (&json!(""), &json!(""))
    );
    assert_eq!(card["parameters"], json!([]));
    assert_ne!(whole["readme"], "");
}

#[tokio::test]
async fn lists_are_searched_filtered_ordered_and_paged_in_any_type() {
    let house = House::build().await;
    let (edit, draw) = ("flux-kontext-max", "flux-pro-1.1");
    for (body, models, total) in [
        (json!({"search": "kontext"}), vec![edit], 1),
        (json!({"search": "FLUX Pro 1.1"}), vec![draw], 1),
        (json!({"search": "elephant"}), vec![], 0),
        (json!({"search": null}), vec![edit, draw], 2),
        (json!({"categories": ["use-agent"]}), vec![draw], 1),
        (json!({"categories": "use-agent"}), vec![draw], 1),
        (
            json!({"categories": ["use-agent", "flux-max"]}),
            vec![edit, draw],
            2,
        ),
        (json!({"categories": [""], "tags": []}), vec![edit, draw], 2),
        (json!({"tags": ["image editing"]}), vec![edit], 1),
        (
            json!({"tags": ["image generation"], "search": "pro-1.1"}),
            vec![draw],
            1,
        ),
        (
            json!({"slugowner": "black-forest-labs"}),
            vec![edit, draw],
            2,
        ),
        (json!({"slugowner": "nobody"}), vec![], 0),
        (json!({"sort": "id", "order": "DESC"}), vec![draw, edit], 2),
        (json!({"order": "desc", "limit": 1}), vec![draw], 2),
        (
            json!({"sort": "relevance", "search": "flux-pro"}),
            vec![draw, edit],
            2,
        ),
        (
            json!({"sort": "relevance", "order": "ASC", "search": "flux-pro"}),
            vec![edit, draw],
            2,
        ),
        (
            json!({"sort": "popularity", "order": "sideways"}),
            vec![edit, draw],
            2,
        ),
        (json!({"start": "1", "limit": "20"}), vec![draw], 2),
        (json!({"start": [1.0], "limit": ""}), vec![draw], 2),
        (json!({"start": 2}), vec![], 2),
        (json!({"limit": 0}), vec![], 2),
        (json!({"limit": 1_000_000_000}), vec![edit, draw], 2),
    ] {
        let answer = house.post(LIST, body.to_string()).await.json();
        assert_eq!(told(&answer), (models, total), "{body}");
    }
}

#[tokio::test]
async fn forms_name_their_lists_as_forms_do() {
    let house = House::build().await;
    let keys = house.project("forms", AuthKind::Key, &[]).await;
    for body in [
        "categories[]=use-agent&categories[]=elephant",
        "categories%5B0%5D=use-agent&limit=5",
        "categories=elephant&categories=use-agent&summary=true",
    ] {
        let headers = [
            ("x-api-key", keys.api_key.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let request = request(Method::POST, LIST, &headers, body.into());
        let answer = house.send(request).await.json();
        assert_eq!(told(&answer), (vec!["flux-pro-1.1"], 1), "{body}");
    }
}

#[tokio::test]
async fn runs_are_counted_for_everyone_to_see() {
    let house = House::build().await;
    let stats = |answer: Value| answer["tool"][0]["taskstat"].clone();
    let none = json!({"runcount": 0, "successcount": "0", "errorcount": "0", "lastruntime": "0"});
    assert_eq!(
        stats(house.post(ONE, about("flux-pro-1.1")).await.json()),
        none
    );

    for _ in 0..3 {
        house.post(RUN, r#"{"prompt": "a red circle"}"#).await;
    }
    house.succeed(&house.claimed().await, b"a picture").await;
    let failure = Outcome::Failed {
        exit_code: ExitCode::ENGINE,
        debug_error: "no memory".to_owned(),
    };
    house.end(&house.claimed().await, failure).await;
    house.end(&house.claimed().await, Outcome::Cancelled).await;

    let keys = house.project("another", AuthKind::Key, &[]).await;
    house
        .post_with_key(&keys, EDIT, r#"{"prompt": "a blue circle"}"#)
        .await;
    let seen = house
        .post_with_key(&keys, ONE, &about("flux-pro-1.1"))
        .await
        .json();
    let newest = house.post(DETAIL, r#"{"taskid": 3}"#).await.json();
    let last = &newest["tasklist"][0]["createtime"];
    let three = json!({"runcount": 3, "successcount": "1", "errorcount": "1", "lastruntime": last});
    assert_eq!(stats(seen), three);
    let list = house.post(LIST, "{}").await.json();
    assert_eq!(list["tool"][0]["taskstat"]["runcount"], 1);
    assert_eq!(list["tool"][1]["taskstat"], three);
}

#[tokio::test]
async fn what_cannot_be_answered_is_told_with_status_200() {
    let house = House::build().await;
    let unknown = |body: String| (ONE, body, 1, "slug-owner-project-not-exist");
    let faulty = |path, body: &str, sentence| (path, body.to_owned(), 0, sentence);
    let invalid = "Request parameters are invalid.";
    for (path, body, code, sentence) in [
        unknown(about("flux-pro-1.0")),
        unknown(about("FLUX-PRO-1.1")),
        unknown(r#"{"slugowner": "nobody", "slugproject": "flux-pro-1.1"}"#.to_owned()),
        faulty(ONE, "{}", "Request parameter [slugowner] required"),
        faulty(
            ONE,
            r#"{"slugowner": "x", "slugproject": ""}"#,
            "Request parameter [slugproject] required",
        ),
        faulty(
            LIST,
            r#"{"start": "many"}"#,
            "Request parameter [start] must be integer or float",
        ),
        faulty(
            LIST,
            r#"{"limit": -1}"#,
            "Request parameter [limit] must be between 0 and 9007199254740992",
        ),
        faulty(LIST, "{ search: flux, }", invalid),
        faulty(ONE, "[]", invalid),
        faulty(EXPLORE, "{", invalid),
    ] {
        let told = house.post(path, body.clone()).await.error();
        assert_eq!(told, (200, code, sentence.to_owned()), "{path} {body}");
    }
}

#[tokio::test]
async fn strangers_and_large_questions_are_turned_away() {
    let house = House::build().await;
    for path in [LIST, ONE, EXPLORE] {
        let stranger = house.call(Method::POST, path, &[]).await.error();
        assert_eq!(
            stranger,
            (401, 0, "Project authorization is not founded.".to_owned())
        );
        let large = json!({"search": "x".repeat(64 << 10)});
        assert_eq!(house.post(path, large.to_string()).await.status, 413);
        let get = house.call(Method::GET, path, &[]).await.error();
        assert_eq!(get, (404, 0, "Error parsing url.".to_owned()));
    }
}
