//! Stopping tasks.

use serde_json::json;
use tintype_domain::AuthKind;

use crate::house::{DETAIL, House};

const CANCEL: &str = "/v1/Task/Cancel";
const KILL: &str = "/v1/Task/Kill";

fn not_cancellable() -> (u16, u64, String) {
    (200, 1, "Task is not in a cancellable state.".to_owned())
}

#[tokio::test]
async fn a_queued_task_is_cancelled_at_once_and_shown() {
    let house = House::build().await;
    let token = house.submitted().await;
    let body = json!({ "tasktoken": token }).to_string();
    let answer = house.post(CANCEL, body.clone()).await.json();
    let detail = house.post(DETAIL, body.clone()).await.json();
    assert_eq!(answer["tasklist"], detail["tasklist"]);
    insta::assert_json_snapshot!(answer, {
        ".tasklist[].uuid" => "[uuid]",
        ".tasklist[].socketaccesstoken" => "[token]",
        ".tasklist[].outputfolderid" => "[folder]",
        ".tasklist[].parameters" => "[parameters]",
        ".tasklist[].modeldescription" => "[description]",
    });
    assert_eq!(house.post(CANCEL, body).await.error(), not_cancellable());
}

#[tokio::test]
async fn only_a_queued_task_is_cancelled() {
    let house = House::build().await;
    let token = house.submitted().await;
    let body = json!({ "tasktoken": token }).to_string();
    let task = house.claimed().await;
    assert_eq!(
        house.post(CANCEL, body.clone()).await.error(),
        not_cancellable()
    );
    house.succeed(&task, b"a picture").await;
    let finished = house.post(DETAIL, body.clone()).await.json();
    assert_eq!(
        house.post(CANCEL, body.clone()).await.error(),
        not_cancellable()
    );
    assert_eq!(house.post(DETAIL, body).await.json(), finished);
    assert_eq!(finished["tasklist"][0]["status"], "task_postprocess_end");
}

#[tokio::test]
async fn any_of_the_three_names_the_task_that_is_stopped() {
    let house = House::build().await;
    for name in ["tasktoken", "socketaccesstoken", "taskid"] {
        let token = house.submitted().await;
        let answer = house.post(CANCEL, json!({ name: token }).to_string()).await;
        assert_eq!(
            answer.json()["tasklist"][0]["status"],
            "task_cancel",
            "{name}"
        );
    }
    house.submitted().await;
    let answer = house.post(CANCEL, r#"{"taskid": 4}"#).await.json();
    assert_eq!(answer["tasklist"][0]["id"], "4");
    let token = house.submitted().await;
    let as_a_shell_sends_it = format!("{{ \"tasktoken\": {token}, }}");
    let answer = house.post(CANCEL, as_a_shell_sends_it).await.json();
    assert_eq!(answer["tasklist"][0]["id"], "5");
}

#[tokio::test]
async fn a_stop_of_nothing_or_of_another_project_s_task_is_refused() {
    let house = House::build().await;
    let token = house.submitted().await;
    let other = house.project("other", AuthKind::Key, &[]).await;
    let unnamed = "taskid or socketaccesstoken is required".to_owned();
    let unknown = "There is no task yet.".to_owned();
    for path in [CANCEL, KILL] {
        assert_eq!(
            house.post(path, "{}").await.error(),
            (200, 0, unnamed.clone())
        );
        for body in [json!({ "tasktoken": token }), json!({ "taskid": "1" })] {
            let answer = house.post_with_key(&other, path, &body.to_string()).await;
            assert_eq!(answer.error(), (200, 1, unknown.clone()), "{path} {body}");
        }
        let nobodys = house.post(path, r#"{"taskid": 99}"#).await;
        assert_eq!(nobodys.error(), (200, 1, unknown.clone()), "{path}");
    }
    let body = json!({ "tasktoken": token }).to_string();
    let task = &house.post(DETAIL, body).await.json()["tasklist"][0];
    assert_eq!(task["status"], "task_queue");
}

fn not_killed(reason: &str) -> (u16, u64, String) {
    (200, 1, format!("Task could not be killed: {reason}"))
}

#[tokio::test]
async fn a_running_task_is_killed_at_its_next_step_and_shown() {
    let house = House::build().await;
    let (_worker, engine) = house.worker();
    let hold = engine.then_hold();
    let token = house.submitted().await;
    hold.reached().await;
    let body = json!({ "socketaccesstoken": token }).to_string();
    let answer = house.post(KILL, body.clone()).await.json();
    let detail = house.post(DETAIL, body.clone()).await.json();
    assert_eq!(answer, detail);
    let task = &answer["tasklist"][0];
    assert_eq!(
        (&task["status"], &task["pexit"]),
        (&json!("task_cancel"), &json!(""))
    );
    assert_eq!(
        (&task["outputs"], &task["totalcost"]),
        (&json!([]), &json!("0"))
    );
    assert_ne!(task["canceltime"], "0");
    let again = house.post(KILL, body).await.error();
    assert_eq!(again, not_killed("it has ended already"));
}

#[tokio::test]
async fn only_a_running_task_is_killed() {
    let house = House::build().await;
    let token = house.submitted().await;
    let body = json!({ "tasktoken": token }).to_string();
    let queued = house.post(KILL, body.clone()).await.error();
    assert_eq!(
        queued,
        not_killed("it is still in the queue; cancel it instead")
    );
    let task = house.claimed().await;
    house.succeed(&task, b"a picture").await;
    let finished = house.post(DETAIL, body.clone()).await.json();
    let killed = house.post(KILL, body.clone()).await.error();
    assert_eq!(killed, not_killed("it has ended already"));
    assert_eq!(house.post(DETAIL, body).await.json(), finished);
}

#[tokio::test]
async fn a_kill_that_is_not_heard_yet_is_answered_with_the_running_task() {
    let house = House::build().await;
    let token = house.submitted().await;
    house.claimed().await;
    let body = json!({ "tasktoken": token }).to_string();
    let answer = house.post(KILL, body).await.json();
    assert_eq!(answer["tasklist"][0]["status"], "task_accept");
}
