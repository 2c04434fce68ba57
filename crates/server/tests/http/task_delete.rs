//! Deleting the pictures of a task.

use object_store::ObjectStoreExt;
use serde_json::json;
use tintype_domain::AuthKind;

use crate::house::{DETAIL, House};

const DELETE: &str = "/v1/Task/InputOutputDelete";

#[tokio::test]
async fn the_pictures_go_and_the_record_stays() {
    let house = House::build().await;
    let token = house.submitted().await;
    let body = json!({ "tasktoken": token }).to_string();
    let unfinished = "Task must be completed or cancelled before deleting files".to_owned();
    let expected = (200, 0, unfinished);
    assert_eq!(house.post(DELETE, body.clone()).await.error(), expected);
    let task = house.claimed().await;
    assert_eq!(house.post(DELETE, body.clone()).await.error(), expected);
    let output = house.succeed(&task, b"a picture").await;
    let path = format!("/{}/{}", output.directory, output.name);
    assert_eq!(house.get(&path).await.status, 200);

    for _ in 0..2 {
        let answer = house.post(DELETE, body.clone()).await;
        assert_eq!(answer.json(), json!({"result": true, "errors": []}));
        let detail = house.post(DETAIL, body.clone()).await.json();
        let task = &detail["tasklist"][0];
        assert_eq!((&task["outputs"], &task["size"]), (&json!([]), &json!("0")));
        assert_eq!(
            (&task["status"], &task["pexit"]),
            (&json!("task_postprocess_end"), &json!("0"))
        );
        assert_eq!(house.get(&path).await.status, 404);
        let blob = house.blobs.head(&output.blob_key.as_str().into()).await;
        assert!(matches!(blob, Err(object_store::Error::NotFound { .. })));
    }
}

#[tokio::test]
async fn what_an_earlier_call_left_goes_with_the_next_and_nothing_else() {
    let house = House::build().await;
    let token = house.submitted().await;
    house
        .post("/v1/Task/Cancel", json!({ "tasktoken": token }).to_string())
        .await;
    for key in ["tasks/1/1/0", "tasks/1/2/0", "tasks/11/1/0"] {
        house
            .blobs
            .put(&key.into(), "left".into())
            .await
            .expect("put");
    }
    let answer = house.post(DELETE, r#"{"taskid": 1}"#).await.json();
    assert_eq!(answer["result"], true, "a cancelled task has ended");
    for (key, there) in [
        ("tasks/1/1/0", false),
        ("tasks/1/2/0", false),
        ("tasks/11/1/0", true),
    ] {
        assert_eq!(house.blobs.head(&key.into()).await.is_ok(), there, "{key}");
    }
}

#[tokio::test]
async fn pictures_of_another_project_stay() {
    let house = House::build().await;
    let token = house.submitted().await;
    let output = house.succeed(&house.claimed().await, b"a picture").await;
    let other = house.project("other", AuthKind::Key, &[]).await;
    let unknown = (200, 1, "task-not-exist".to_owned());
    for body in [
        json!({ "tasktoken": token }),
        json!({ "taskid": 1 }),
        json!({ "taskid": 99 }),
    ] {
        let answer = house.post_with_key(&other, DELETE, &body.to_string()).await;
        assert_eq!(answer.error(), unknown, "{body}");
    }
    let unnamed = (200, 0, "taskid or socketaccesstoken is required".to_owned());
    assert_eq!(house.post(DELETE, "{}").await.error(), unnamed);
    let path = format!("/{}/{}", output.directory, output.name);
    assert_eq!(house.get(&path).await.status, 200);
}
