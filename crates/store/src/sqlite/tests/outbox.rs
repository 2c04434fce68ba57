//! The outbox over restarts.

use tintype_domain::{AttemptAnswer, TaskRef};

use super::*;
use crate::conformance::{START, after, new_task};
use crate::{Standing, WebhookClaim, WebhookDelivery, WebhookQuery};

async fn due(store: &Arc<SqliteStore>) -> Vec<WebhookDelivery> {
    let claim = WebhookClaim {
        limit: 10,
        per_receiver: 10,
        per_project: 10,
        lease_until: after(3_600),
    };
    let claimed = store.claim_webhooks(claim, after(1)).await;
    claimed.expect("claim")
}

#[tokio::test]
async fn a_restart_makes_what_was_in_hand_due_again_under_the_same_id() {
    let place = Place::new();
    let first = {
        let store = place.open();
        let bench = bench(&store).await;
        let mut task = new_task(bench.project);
        task.callback_url = Some("https://hooks.example/".to_owned());
        let task = store.submit(task, START).await.expect("submit").id;
        let task = TaskRef::Id(task);
        let ended = store.cancel(&task, bench.project, Standing::Queued, START);
        ended.await.expect("cancel");
        due(&store).await.remove(0)
    };
    let store = place.open();
    let again = due(&store).await.remove(0);
    assert_eq!((&again.id, again.attempt), (&first.id, 2));
    let all = WebhookQuery {
        limit: 10,
        ..WebhookQuery::default()
    };
    let webhooks = store.webhooks(all).await.expect("list");
    assert_eq!(webhooks.len(), 1);
    let report = webhooks[0].attempts[0].report.clone();
    let answer = report.expect("the first one's end is told").answer;
    assert!(matches!(answer, AttemptAnswer::None(reason) if reason.contains("interrupted")));
}

#[tokio::test]
async fn a_command_beside_the_server_leaves_what_is_in_hand_alone() {
    let place = Place::new();
    let store = place.open();
    let bench = bench(&store).await;
    let mut task = new_task(bench.project);
    task.callback_url = Some("https://hooks.example/".to_owned());
    let task = store.submit(task, START).await.expect("submit").id;
    let task = TaskRef::Id(task);
    let ended = store.cancel(&task, bench.project, Standing::Queued, START);
    ended.await.expect("cancel");
    assert_eq!(due(&store).await.len(), 1);
    let beside = SqliteStore::open_beside(&place.path()).expect("it opens");
    assert_eq!(due(&Arc::new(beside)).await, []);
}
