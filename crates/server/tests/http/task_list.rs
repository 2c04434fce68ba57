//! Lists of tasks.

use serde_json::{Value, json};
use tintype_domain::AuthKind;

use crate::house::{House, RUN};

const LIST: &str = "/v1/Task/List";
const EDIT: &str = "/v1/Run/black-forest-labs/flux-kontext-max";

/// A house with the tasks 1 to 5; the even ones edit.
async fn house_of_five() -> House {
    let house = House::build().await;
    for number in 1..=5 {
        let path = if number % 2 == 0 { EDIT } else { RUN };
        house.post(path, r#"{"prompt": "a red circle"}"#).await;
    }
    house
}

/// The numbers in an answer, and the total.
fn told(answer: &Value) -> (Vec<&str>, &str) {
    assert_eq!(answer["result"], true, "{answer}");
    let tasks = answer["tasklist"].as_array().expect("a list").iter();
    let ids = tasks.map(|task| task["id"].as_str().expect("an id"));
    (ids.collect(), answer["total"].as_str().expect("a text"))
}

#[tokio::test]
async fn the_published_question_gets_the_newest_first() {
    let house = house_of_five().await;
    let body = json!({"type": "model", "sort": "id", "order": "DESC", "start": "0", "limit": "2"});
    let answer = house.post(LIST, body.to_string()).await.json();
    assert_eq!(told(&answer), (vec!["5", "4"], "5"));
    insta::assert_json_snapshot!(answer, {
        ".tasklist[].uuid" => "[uuid]",
        ".tasklist[].socketaccesstoken" => "[token]",
        ".tasklist[].outputfolderid" => "[folder]",
        ".tasklist[].parameters" => "[parameters]",
        ".tasklist[].modeldescription" => "[description]",
    });
}

#[tokio::test]
async fn pages_orders_and_tools_are_chosen_in_any_type() {
    let house = house_of_five().await;
    for (body, ids, total) in [
        (json!({}), vec!["5", "4", "3", "2", "1"], "5"),
        (json!({"order": "asc", "limit": 2}), vec!["1", "2"], "5"),
        (
            json!({"start": ["3"], "limit": 9, "sort": "createtime"}),
            vec!["2", "1"],
            "5",
        ),
        (json!({"start": 5}), vec![], "5"),
        (json!({"limit": "0"}), vec![], "5"),
        (
            json!({"limit": 1_000_000_000, "start": ""}),
            vec!["5", "4", "3", "2", "1"],
            "5",
        ),
        (
            json!({"modelName": "flux-kontext-max"}),
            vec!["4", "2"],
            "2",
        ),
        (
            json!({"modelName": "black-forest-labs/flux-pro-1.1", "limit": 1}),
            vec!["5"],
            "3",
        ),
        (json!({"modelName": "nothing"}), vec![], "0"),
        (json!({"modelName": "somebody/flux-pro-1.1"}), vec![], "0"),
        (json!({"modelName": ""}), vec!["5", "4", "3", "2", "1"], "5"),
    ] {
        let answer = house.post(LIST, body.to_string()).await.json();
        assert_eq!(told(&answer), (ids, total), "{body}");
    }
    let answer = house.post(LIST, "").await.json();
    assert_eq!(told(&answer).1, "5", "a question without a body");
}

#[tokio::test]
async fn a_page_has_a_bound() {
    let house = House::build().await;
    for _ in 0..102 {
        house.submitted().await;
    }
    let answer = house.post(LIST, r#"{"limit": 1000}"#).await.json();
    let (ids, total) = told(&answer);
    assert_eq!((ids.len(), total), (100, "102"));
}

#[tokio::test]
async fn what_is_no_number_is_refused_by_name() {
    let house = House::build().await;
    let told = async |body: Value| house.post(LIST, body.to_string()).await.error();
    let not_a_number = "Request parameter [start] must be integer or float".to_owned();
    assert_eq!(told(json!({"start": "x"})).await, (200, 0, not_a_number));
    let (status, code, sentence) = told(json!({"limit": -1})).await;
    assert_eq!((status, code), (200, 0));
    assert!(sentence.starts_with("Request parameter [limit] must be between 0 and "));
}

#[tokio::test]
async fn a_project_lists_its_own_tasks_only() {
    let house = house_of_five().await;
    let other = house.project("other", AuthKind::Key, &[]).await;
    let answer = house.post_with_key(&other, LIST, "{}").await.json();
    assert_eq!(told(&answer), (vec![], "0"));
    house.post_with_key(&other, RUN, r#"{"prompt": "x"}"#).await;
    let answer = house.post_with_key(&other, LIST, "{}").await.json();
    assert_eq!(told(&answer), (vec!["6"], "1"));
}
