//! No project touches what is another's, whichever endpoint it asks and however it names it.

use serde_json::{Value, json};
use tintype_domain::AuthKind;

use crate::house::{DETAIL, House};

#[tokio::test]
async fn a_project_never_touches_another_s_tasks_and_folders() {
    let house = House::build().await;
    let finished = house.submitted().await;
    let output = house.succeed(&house.claimed().await, b"a picture").await;
    let running = house.submitted().await;
    house.claimed().await;
    let queued = house.submitted().await;
    let folder = house.post("/v1/File/FolderCreate", r#"{"name": "mine"}"#);
    let folder = folder.await.json()["list"][0]["id"].clone();
    let look = async || {
        let list = house.post("/v1/Task/List", "{}").await.json();
        (
            list,
            house
                .get(&format!("/{}/0.png", output.directory))
                .await
                .bytes,
        )
    };
    let before = look().await;

    let other = house.project("other", AuthKind::Key, &[]).await;
    let tasks = [(1, &finished), (2, &running), (3, &queued)];
    for (path, sentence) in [
        (DETAIL, "There is no task yet."),
        ("/v1/Task/Cancel", "There is no task yet."),
        ("/v1/Task/Kill", "There is no task yet."),
        ("/v1/Task/InputOutputDelete", "task-not-exist"),
    ] {
        for (number, token) in tasks {
            for body in [
                json!({ "taskid": number }),
                json!({ "taskid": number.to_string() }),
                json!({ "tasktoken": token }),
                json!({ "socketaccesstoken": token }),
            ] {
                let answer = house.post_with_key(&other, path, &body.to_string()).await;
                assert_eq!(
                    answer.error(),
                    (200, 1, sentence.to_owned()),
                    "{path} {body}"
                );
            }
        }
    }
    let inner = json!({ "name": "inner", "parentid": folder }).to_string();
    let answer = house
        .post_with_key(&other, "/v1/File/FolderCreate", &inner)
        .await;
    assert_eq!(answer.error().2, "There is no such folder.");
    let listed = house
        .post_with_key(&other, "/v1/Task/List", "{}")
        .await
        .json();
    assert_eq!(
        (&listed["total"], &listed["tasklist"]),
        (&json!("0"), &Value::Array(vec![]))
    );
    assert_eq!(look().await, before);
}
