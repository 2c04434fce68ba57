//! Runs that are sent again under their `Idempotency-Key`.

use axum::body::Body;
use axum::http::Method;
use futures::StreamExt;
use futures::future::join_all;
use object_store::ObjectStore;
use serde_json::{Value, json};
use tintype_domain::AuthKind;
use tintype_service::ProjectKeys;
use tintype_store::Store;

use crate::house::{Answer, House, RUN, request};

const EDIT: &str = "/v1/Run/black-forest-labs/flux-kontext-max";
const PICTURE: &[u8] = include_bytes!("../../../service/samples/input-depth-to-image-4.jpg");

async fn send(house: &House, keys: &ProjectKeys, key: &str, body: &Value) -> Answer {
    let headers = [
        ("x-api-key", keys.api_key.as_str()),
        ("idempotency-key", key),
    ];
    let body = Body::from(body.to_string());
    house.send(request(Method::POST, RUN, &headers, body)).await
}

/// A form with a prompt and a picture, between boundaries of this name.
async fn send_picture(house: &House, keys: &ProjectKeys, boundary: &str, prompt: &str) -> Answer {
    let head = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"prompt\"\r\n\r\n{prompt}\r\n\
         --{boundary}\r\ncontent-disposition: form-data; name=\"inputImage\"; \
         filename=\"a.jpg\"\r\ncontent-type: image/jpeg\r\n\r\n"
    );
    let end = format!("\r\n--{boundary}--\r\n");
    let content_type = format!("multipart/form-data; boundary={boundary}");
    let headers = [
        ("x-api-key", keys.api_key.as_str()),
        ("idempotency-key", "picture"),
        ("content-type", &content_type),
    ];
    let body = Body::from([head.as_bytes(), PICTURE, end.as_bytes()].concat());
    house
        .send(request(Method::POST, EDIT, &headers, body))
        .await
}

async fn tasks(house: &House, keys: &ProjectKeys) -> String {
    let list = house
        .post_with_key(keys, "/v1/Task/List", "{}")
        .await
        .json();
    list["total"].as_str().expect("a text").to_owned()
}

fn reused() -> (u16, u64, String) {
    let sentence = "The Idempotency-Key was used for another request in the last 24 hours. Send a \
                    new key with a new request.";
    (200, 0, sentence.to_owned())
}

#[tokio::test]
async fn the_same_request_gives_the_first_answer_again() {
    let house = House::build().await;
    let keys = house.project("shop", AuthKind::Key, &[]).await;
    let body = json!({"prompt": "a red circle", "seed": ""});
    let first = send(&house, &keys, "one", &body).await;
    assert_eq!(first.json()["result"], true);
    let reordered = json!({"seed": "", "prompt": "a red circle"});
    for body in [&body, &reordered] {
        let again = send(&house, &keys, "one", body).await;
        assert_eq!((again.status, again.json()), (first.status, first.json()));
    }
    assert_eq!(tasks(&house, &keys).await, "1", "its seed was drawn once");

    // It is the answer for every state that the task is in.
    let task = house.claimed().await;
    house.succeed(&task, b"a picture").await;
    let again = send(&house, &keys, "one", &body).await;
    assert_eq!(again.json(), first.json());
}

#[tokio::test]
async fn another_request_with_the_same_key_is_refused() {
    let house = House::build().await;
    let keys = house.project("shop", AuthKind::Key, &[]).await;
    let body = json!({"prompt": "a red circle"});
    send(&house, &keys, "one", &body).await;
    let other = json!({"prompt": "a blue circle"});
    let refused = send(&house, &keys, "one", &other).await;
    assert_eq!(refused.error(), reused());
    let headers = [
        ("x-api-key", keys.api_key.as_str()),
        ("idempotency-key", "one"),
    ];
    let other_tool = request(Method::POST, EDIT, &headers, Body::from(body.to_string()));
    assert_eq!(house.send(other_tool).await.error(), reused());
    assert_eq!(tasks(&house, &keys).await, "1");

    let stranger = house.project("other", AuthKind::Key, &[]).await;
    let answer = send(&house, &stranger, "one", &other).await.json();
    assert_eq!(answer["taskid"], "2", "keys are a project's own");
}

#[tokio::test]
async fn duplicates_at_the_same_time_give_one_task() {
    let house = House::build().await;
    let keys = house.project("shop", AuthKind::Key, &[]).await;
    let body = json!({"prompt": "a red circle"});
    let sent = (0..12).map(|_| send(&house, &keys, "one", &body));
    let answers: Vec<Value> = join_all(sent).await.iter().map(Answer::json).collect();
    assert_eq!(answers[0]["result"], true);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(tasks(&house, &keys).await, "1");
}

#[tokio::test]
async fn a_picture_that_is_sent_again_is_kept_once() {
    let house = House::build().await;
    let keys = house.project("shop", AuthKind::Key, &[]).await;
    let sent = ["x", "y", "x", "z"].map(|edge| send_picture(&house, &keys, edge, "brighter"));
    let answers: Vec<Value> = join_all(sent).await.iter().map(Answer::json).collect();
    assert_eq!(answers[0]["result"], true);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    let later = send_picture(&house, &keys, "later", "brighter").await;
    assert_eq!(later.json(), answers[0]);
    let other = send_picture(&house, &keys, "later", "darker").await;
    assert_eq!(other.error(), reused());
    assert_eq!(house.blobs.list(None).count().await, 1);
}

#[tokio::test]
async fn a_request_that_is_refused_uses_up_no_key() {
    let house = House::build().await;
    let keys = house.project("shop", AuthKind::Key, &[]).await;
    let wrong = send(&house, &keys, "one", &json!({"seed": "no number"})).await;
    assert_eq!(wrong.json()["result"], false);
    let right = send(&house, &keys, "one", &json!({"prompt": "a red circle"})).await;
    assert_eq!(right.json()["taskid"], "1");
}

#[tokio::test]
async fn unusable_keys_are_refused() {
    let house = House::build().await;
    let keys = house.project("shop", AuthKind::Key, &[]).await;
    let body = json!({"prompt": "a red circle"});
    let expected = "Request parameters are invalid. [Idempotency-Key] must have 1 to 255 visible \
                    ASCII characters";
    for key in ["", "two words", &"x".repeat(256)] {
        let refused = send(&house, &keys, key, &body).await;
        assert_eq!(refused.error(), (200, 0, expected.to_owned()), "{key}");
    }
    let twice = [
        ("x-api-key", keys.api_key.as_str()),
        ("idempotency-key", "one"),
        ("idempotency-key", "two"),
    ];
    let twice = request(Method::POST, RUN, &twice, Body::from(body.to_string()));
    assert_eq!(house.send(twice).await.error().1, 0);
    assert_eq!(tasks(&house, &keys).await, "0");
    let longest = send(&house, &keys, &"x".repeat(255), &body).await;
    assert_eq!(longest.json()["result"], true);
}

#[tokio::test]
async fn a_repetition_is_answered_whatever_the_limits_say() {
    let house = House::build().await;
    let keys = house.project("shop", AuthKind::Key, &[]).await;
    let body = json!({"prompt": "a red circle"});
    let first = send(&house, &keys, "one", &body).await;
    let project = house.store.project_by_key(&keys.api_key).await;
    let change = tintype_store::AccountChange {
        concurrency: Some(Some(0)),
        ..Default::default()
    };
    let project = project.expect("asked").expect("there").id;
    let changed = house.store.change_account(project, change).await;
    changed.expect("changed");
    let again = send(&house, &keys, "one", &body).await;
    assert_eq!(again.json(), first.json());
    assert_eq!(send(&house, &keys, "two", &body).await.error().1, 96);
}
