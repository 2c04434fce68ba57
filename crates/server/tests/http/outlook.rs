//! What lies before a task.

use serde_json::json;

use crate::house::{DETAIL, House};

/// Position and seconds, as the question about a task tells them.
async fn outlook(house: &House, token: &str) -> (String, String) {
    let body = json!({ "tasktoken": token }).to_string();
    let answer = house.post(DETAIL, body).await.json();
    let task = &answer["tasklist"][0];
    let text = |name: &str| task[name].as_str().expect("a text").to_owned();
    (text("queueposition"), text("estimatedseconds"))
}

fn told(position: &str, seconds: &str) -> (String, String) {
    (position.to_owned(), seconds.to_owned())
}

/// Moves the clock, which every call does, on by more than what was seen is good for.
async fn a_second_later(house: &House) {
    for _ in 0..5 {
        house.post("/v1/Task/List", "{}").await;
    }
}

#[tokio::test]
async fn a_task_knows_its_place_and_its_time() {
    let house = House::build().await;
    let first = house.submitted().await;
    let second = house.submitted().await;
    assert_eq!(outlook(&house, &first).await, told("0", ""));
    assert_eq!(
        outlook(&house, &second).await,
        told("1", ""),
        "no run was ever measured"
    );

    // This one takes six seconds.
    let task = house.claimed().await;
    let running = outlook(&house, &first).await;
    assert_eq!(running, told("", ""));
    house.succeed(&task, b"a picture").await;
    assert_eq!(outlook(&house, &first).await, told("", ""), "it has ended");

    let third = house.submitted().await;
    a_second_later(&house).await;
    assert_eq!(outlook(&house, &second).await, told("0", "6"));
    assert_eq!(outlook(&house, &third).await, told("1", "12"));
    house.claimed().await;
    let (position, seconds) = outlook(&house, &second).await;
    assert_eq!(position, "");
    let seconds: u64 = seconds.parse().expect("it is known how long runs take");
    assert!(seconds <= 6, "{seconds}");
}
