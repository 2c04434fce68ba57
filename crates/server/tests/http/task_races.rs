//! Cancels, kills and a worker at the same time: one end, and every answer fits it.

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tintype_domain::{Event, EventKind, TaskRef, TaskToken};
use tintype_store::Store;

use crate::house::{DETAIL, House};

const CANCEL: &str = "/v1/Task/Cancel";
const KILL: &str = "/v1/Task/Kill";

/// Tasks that are raced for at least.
const TASKS: usize = 40;

/// Tasks at most, until both ends are met: the worker wins nineteen races of twenty.
const MOST_TASKS: usize = 1000;

/// States of a life, about; a caller waits for one of them, so that all moments are met.
const STATES: usize = 12;

/// Asks for a stop once the task has been through so many states.
async fn ask(house: &House, path: &str, token: &str, states: usize) -> Value {
    let task = TaskRef::Token(TaskToken(token.to_owned()));
    while history(house, &task).await.len() < states && !has_ended(house, &task).await {
        tokio::task::yield_now().await;
    }
    let body = json!({ "tasktoken": token }).to_string();
    house.post(path, body).await.json()
}

async fn history(house: &House, task: &TaskRef) -> Vec<Event> {
    let history = house.store.history(task, None, 0).await.expect("an answer");
    history.expect("the task is there")
}

async fn has_ended(house: &House, task: &TaskRef) -> bool {
    let found = house.store.detail(task, None).await.expect("an answer");
    found.expect("the task is there").state.is_final()
}

fn agreed(answers: &[Value]) -> usize {
    answers
        .iter()
        .filter(|answer| answer["result"] == true)
        .count()
}

#[tokio::test]
async fn a_task_that_is_raced_for_has_one_end_and_the_answers_say_which() {
    let house = House::build().await;
    let (_worker, _engine) = house.worker();
    let mut rng = StdRng::seed_from_u64(12);
    let (mut raced, mut stopped) = (0, 0);
    while raced < TASKS || (raced < MOST_TASKS && [0, raced].contains(&stopped)) {
        raced += 1;
        let token = house.submitted().await;
        let mut states = || rng.random_range(1..=STATES);
        let cancels = [states(), states()].map(|states| ask(&house, CANCEL, &token, states));
        let kills = [states(), states()].map(|states| ask(&house, KILL, &token, states));
        let (cancels, kills) = tokio::join!(join_all(cancels), join_all(kills));

        let task = TaskRef::Token(TaskToken(token.clone()));
        house.ended(&task).await;
        let body = json!({ "tasktoken": token }).to_string();
        let shown = house.post(DETAIL, body).await.json()["tasklist"][0].clone();
        let told = format!("{cancels:?} {kills:?} {shown}");
        assert!(agreed(&cancels) <= 1, "{told}");
        if agreed(&cancels) + agreed(&kills) > 0 {
            assert_eq!(
                (&shown["status"], &shown["pexit"]),
                (&json!("task_cancel"), &json!("")),
                "{told}"
            );
            assert_eq!(shown["outputs"], json!([]), "{told}");
            stopped += 1;
        } else {
            assert_eq!(shown["status"], "task_postprocess_end", "{told}");
            assert_eq!(shown["pexit"], "0", "{told}");
        }
        let history = history(&house, &task).await;
        let ends = history
            .iter()
            .filter(|event| matches!(event.kind, EventKind::Entered { state } if state.is_final()));
        assert_eq!(ends.count(), 1, "{history:?}");
    }
    println!("{stopped} of {raced} were stopped");
    assert!(
        (1..raced).contains(&stopped),
        "both ends are met: {stopped}"
    );
}
