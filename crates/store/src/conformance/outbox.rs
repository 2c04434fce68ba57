//! Reports of ended tasks: written once, handed out fairly, tried until they are delivered.

use tintype_domain::{
    AttemptAnswer, AttemptReport, UnixMillis, Webhook, WebhookAttempt, WebhookId, WebhookState,
};

use super::*;
use crate::{
    Redelivery, Standing, WebhookClaim, WebhookDelivery, WebhookNext, WebhookQuery, WebhookRef,
};

const HOOK: &str = "https://hooks.example/end?of=task";

/// As many as a check can want.
const ALL: WebhookQuery = WebhookQuery {
    project: None,
    state: None,
    task: None,
    limit: 1_000,
};

impl Bench {
    async fn submit_reported(&self, project: ProjectId, url: &str) -> Task {
        let task = NewTask {
            callback_url: Some(url.to_owned()),
            callback_base_url: Some("http://as.asked:8787".to_owned()),
            ..new_task(project)
        };
        self.store.submit(task, START).await.expect("submit")
    }

    /// A task that was cancelled at the start, so that its end is to be reported.
    async fn ended(&self, project: ProjectId, url: &str) -> Task {
        let task = self.submit_reported(project, url).await;
        self.stop(&task, Standing::Queued).await;
        task
    }

    async fn stop(&self, task: &Task, standing: Standing) {
        let name = TaskRef::Id(task.id);
        let asked = self.store.cancel(&name, task.project, standing, START);
        asked.await.expect("cancel");
    }

    async fn other_project(&self) -> ProjectId {
        let other = self.store.create_project(new_project("other"), START);
        other.await.expect("another project").id
    }

    async fn due(&self, now: UnixMillis) -> Vec<WebhookDelivery> {
        self.due_within(100, 100, now).await
    }

    async fn due_within(
        &self,
        per_receiver: usize,
        per_project: usize,
        now: UnixMillis,
    ) -> Vec<WebhookDelivery> {
        let claim = WebhookClaim {
            limit: 100,
            per_receiver,
            per_project,
            lease_until: now.plus_millis(LEASE_MS),
        };
        self.store.claim_webhooks(claim, now).await.expect("claim")
    }

    async fn answered(&self, delivery: &WebhookDelivery, status: u16, next: WebhookNext) -> Fenced {
        let recorded =
            self.store
                .record_attempt(delivery.task, delivery.attempt, answer(status), next);
        recorded.await.expect("record")
    }

    async fn webhooks(&self, query: WebhookQuery) -> Vec<Webhook> {
        self.store.webhooks(query).await.expect("list")
    }

    async fn webhook(&self, task: &Task) -> Webhook {
        let of_task = WebhookQuery {
            task: Some(task.id),
            ..ALL
        };
        let mut webhooks = self.webhooks(of_task).await;
        assert_eq!(webhooks.len(), 1);
        webhooks.remove(0)
    }
}

fn answer(status: u16) -> AttemptReport {
    AttemptReport {
        answer: AttemptAnswer::Status(status),
        duration_ms: Some(12),
    }
}

fn tasks_of(deliveries: &[WebhookDelivery]) -> Vec<TaskId> {
    deliveries.iter().map(|delivery| delivery.task).collect()
}

pub(super) async fn a_task_without_a_callback_is_not_reported(bench: &Bench) {
    let task = bench.running().await;
    bench.complete(&task, success(&task)).await;
    assert_eq!(bench.webhooks(ALL).await, []);
    assert_eq!(bench.due(after(1)).await, []);
}

pub(super) async fn every_way_of_ending_is_reported_once(bench: &Bench) {
    let submit = || bench.submit_reported(bench.project, HOOK);
    let mut tasks = Vec::new();
    for _ in 0..5 {
        tasks.push(submit().await);
    }
    let running = bench.claim_within(1, START).await;
    assert_eq!(bench.webhooks(ALL).await, [], "nothing has ended");
    bench.complete(&running[0], success(&running[0])).await;
    bench.complete(&running[1], failure()).await;
    bench.complete(&running[2], Outcome::Cancelled).await;
    bench.stop(&running[3], Standing::Running).await;
    // Flagged and lost; lost and out of attempts.
    bench.store.reap(1, after(60)).await.expect("reap");
    tasks.push(bench.ended(bench.project, HOOK).await);

    let mut reported = tasks_of(&bench.due(after(60)).await);
    reported.sort();
    assert_eq!(
        reported,
        tasks.iter().map(|task| task.id).collect::<Vec<_>>()
    );
    for task in &tasks {
        let id = bench.webhook(task).await.id;
        assert_eq!(id, WebhookId::of_task(task.uuid));
    }
    // What comes too late changes nothing.
    assert_eq!(bench.complete(&running[0], failure()).await, Fenced::Stale);
    bench.stop(&running[0], Standing::Running).await;
    assert_eq!(bench.webhooks(ALL).await.len(), tasks.len());
}

pub(super) async fn an_end_that_is_refused_is_not_reported(bench: &Bench) {
    bench.submit_reported(bench.project, HOOK).await;
    let task = bench.claim(START).await.remove(0);
    let twins = vec![output(&task); 2];
    let outcome = Outcome::Succeeded {
        outputs: twins,
        withheld: 0,
        maker: None,
        debug_error: String::new(),
    };
    let refused = bench.store.complete(task.id, task.epoch, outcome, START);
    assert_rejected(refused.await);
    assert_eq!(bench.webhooks(ALL).await, []);
}

pub(super) async fn a_claim_puts_the_attempt_on_record(bench: &Bench) {
    let task = bench.ended(bench.project, HOOK).await;
    let waiting = bench.webhook(&task).await;
    assert_eq!(
        (waiting.state, waiting.created_at, waiting.next_attempt_at),
        (WebhookState::Pending, START, Some(START))
    );
    let delivery = bench.due(after(1)).await.remove(0);
    let expected = WebhookDelivery {
        id: waiting.id,
        task: task.id,
        project: bench.store.projects().await.expect("projects").remove(0),
        url: HOOK.to_owned(),
        base_url: Some("http://as.asked:8787".to_owned()),
        attempt: 1,
        round_attempt: 1,
        round_started_at: START,
    };
    assert_eq!(delivery, expected);
    let in_hand = bench.webhook(&task).await;
    let under_way = WebhookAttempt {
        number: 1,
        at: after(1),
        report: None,
    };
    assert_eq!(in_hand.attempts, [under_way]);
    assert_eq!((in_hand.next_attempt_at, in_hand.attempt_count), (None, 1));
    assert_eq!(bench.due(after(2)).await, [], "somebody has it");
}

pub(super) async fn a_report_is_tried_again_in_time_under_the_same_id(bench: &Bench) {
    let task = bench.ended(bench.project, HOOK).await;
    let first = bench.due(after(1)).await.remove(0);
    let applied = bench.answered(&first, 500, WebhookNext::At(after(6))).await;
    assert_eq!(applied, Fenced::Applied);
    assert_eq!(bench.due(after(5)).await, []);
    let second = bench.due(after(6)).await.remove(0);
    assert_eq!(
        (&second.id, second.attempt, second.round_attempt),
        (&first.id, 2, 2)
    );
    bench.answered(&second, 204, WebhookNext::Delivered).await;
    assert_eq!(bench.due(after(99_999)).await, []);

    let webhook = bench.webhook(&task).await;
    assert_eq!(
        (webhook.state, webhook.attempt_count),
        (WebhookState::Delivered, 2)
    );
    let attempts = [(1, after(1), 500), (2, after(6), 204)];
    let attempts = attempts.map(|(number, at, status)| WebhookAttempt {
        number,
        at,
        report: Some(answer(status)),
    });
    assert_eq!(webhook.attempts, attempts);
}

pub(super) async fn a_report_is_given_up_with_its_reason(bench: &Bench) {
    let task = bench.ended(bench.project, HOOK).await;
    let delivery = bench.due(START).await.remove(0);
    let report = AttemptReport {
        answer: AttemptAnswer::None("nobody is there".to_owned()),
        duration_ms: Some(7),
    };
    let next = WebhookNext::GivenUp;
    let recorded =
        bench
            .store
            .record_attempt(delivery.task, delivery.attempt, report.clone(), next);
    assert_eq!(recorded.await.expect("record"), Fenced::Applied);
    let webhook = bench.webhook(&task).await;
    assert_eq!(
        (webhook.state, webhook.next_attempt_at),
        (WebhookState::Failed, None)
    );
    assert_eq!(webhook.attempts[0].report, Some(report));
    assert_eq!(bench.due(after(99_999)).await, []);
}

pub(super) async fn an_attempt_that_was_lost_is_recorded_and_made_again(bench: &Bench) {
    let task = bench.ended(bench.project, HOOK).await;
    let lost = bench.due(START).await.remove(0);
    assert_eq!(bench.due(after(9)).await, [], "its lease is not over");
    let again = bench.due(after(10)).await.remove(0);
    assert_eq!((&again.id, again.attempt), (&lost.id, 2));
    // The one that was taken for lost speaks up: too late.
    let late = bench.answered(&lost, 200, WebhookNext::Delivered).await;
    assert_eq!(late, Fenced::Stale);
    let webhook = bench.webhook(&task).await;
    assert_eq!(webhook.state, WebhookState::Pending);
    let first = webhook.attempts[0]
        .report
        .as_ref()
        .expect("its end is told");
    assert!(matches!(&first.answer, AttemptAnswer::None(reason) if reason.contains("interrupted")));
    assert_eq!(webhook.attempts[1].report, None);

    bench.answered(&again, 200, WebhookNext::Delivered).await;
    let twice = bench.answered(&again, 500, WebhookNext::GivenUp).await;
    assert_eq!(twice, Fenced::Stale, "an attempt ends once");
    assert_eq!(bench.webhook(&task).await.state, WebhookState::Delivered);
}

pub(super) async fn no_receiver_takes_the_places_of_another(bench: &Bench) {
    let mut slow = Vec::new();
    for _ in 0..5 {
        slow.push(
            bench
                .ended(bench.project, "https://slow.example/a")
                .await
                .id,
        );
    }
    let quick = bench
        .ended(bench.project, "https://quick.example/a")
        .await
        .id;
    let port = bench
        .ended(bench.project, "https://slow.example:444/a")
        .await
        .id;
    let first = tasks_of(&bench.due_within(2, 100, START).await);
    assert_eq!(
        first,
        [slow[0], quick, port, slow[1]],
        "the first of each, then the second"
    );
    let quick = bench
        .ended(bench.project, "https://quick.example/b")
        .await
        .id;
    assert_eq!(tasks_of(&bench.due_within(2, 100, START).await), [quick]);
    // Two places of three are taken.
    let third = bench.due_within(3, 100, START).await;
    assert_eq!(tasks_of(&third), [slow[2]]);
    bench.answered(&third[0], 200, WebhookNext::Delivered).await;
    assert_eq!(tasks_of(&bench.due_within(3, 100, START).await), [slow[3]]);
}

pub(super) async fn no_project_takes_the_places_of_another(bench: &Bench) {
    let other = bench.other_project().await;
    for number in 0..5 {
        let url = format!("https://receiver-{number}.example");
        bench.ended(bench.project, &url).await;
    }
    let same = bench.ended(other, "https://receiver-0.example").await.id;
    let given = bench.due_within(1, 3, START).await;
    assert_eq!(given.len(), 4);
    assert!(tasks_of(&given).contains(&same), "a lane is of one project");
    assert_eq!(bench.due_within(1, 3, START).await, []);
}

pub(super) async fn a_claim_has_a_bound_and_takes_the_oldest_first(bench: &Bench) {
    let newer = bench.ended(bench.project, "https://a.example").await;
    let delivery = bench.due(START).await.remove(0);
    bench
        .answered(&delivery, 500, WebhookNext::At(after(1)))
        .await;
    let older = bench.ended(bench.project, "https://b.example").await;
    let claim = WebhookClaim {
        limit: 1,
        per_receiver: 1,
        per_project: 1,
        lease_until: after(5),
    };
    let given = bench.store.claim_webhooks(claim, after(2)).await;
    assert_eq!(tasks_of(&given.expect("claim")), [older.id]);
    bench
        .store
        .claim_webhooks(claim, after(2))
        .await
        .expect("claim");
    assert_eq!(
        bench.webhook(&newer).await.attempt_count,
        1,
        "no place was left"
    );
}

pub(super) async fn a_report_is_sent_again_on_demand_under_the_same_id(bench: &Bench) {
    let task = bench.ended(bench.project, HOOK).await;
    let id = bench.webhook(&task).await.id;
    let names = [WebhookRef::Id(id.clone()), WebhookRef::Task(task.id)];
    for name in &names {
        let pending = bench.store.redeliver_webhook(name, after(1)).await;
        assert!(matches!(pending, Ok(Redelivery::Pending(_))), "{pending:?}");
    }
    for (round, next) in [(1, WebhookNext::Delivered), (2, WebhookNext::GivenUp)] {
        let delivery = bench.due(after(round)).await.remove(0);
        bench.answered(&delivery, 200, next).await;
        let name = &names[round as usize - 1];
        let again = bench.store.redeliver_webhook(name, after(round + 1)).await;
        let Ok(Redelivery::Due(webhook)) = again else {
            panic!("{again:?}")
        };
        assert_eq!(*webhook, bench.webhook(&task).await);
        assert_eq!((&webhook.id, webhook.state), (&id, WebhookState::Pending));
        assert_eq!(
            webhook.attempts.len(),
            round as usize,
            "earlier ones stay listed"
        );
    }
    let delivery = bench.due(after(3)).await.remove(0);
    assert_eq!((delivery.attempt, delivery.round_attempt), (3, 1));
    assert_eq!((delivery.id, delivery.round_started_at), (id, after(3)));

    for unknown in [
        WebhookRef::Id(WebhookId("msg_0".to_owned())),
        WebhookRef::Task(TaskId(99)),
    ] {
        let answer = bench.store.redeliver_webhook(&unknown, after(1)).await;
        assert_eq!(answer.expect("redeliver"), Redelivery::Unknown);
    }
}

pub(super) async fn reports_are_listed_newest_first_and_filtered(bench: &Bench) {
    let other = bench.other_project().await;
    let delivered = bench.ended(bench.project, HOOK).await.id;
    let failed = bench.ended(bench.project, HOOK).await.id;
    let pending = bench.ended(other, HOOK).await.id;
    let due = bench.due(START).await;
    let of = |task| {
        due.iter()
            .find(|delivery| delivery.task == task)
            .expect("claimed")
    };
    bench
        .answered(of(delivered), 200, WebhookNext::Delivered)
        .await;
    bench.answered(of(failed), 410, WebhookNext::GivenUp).await;
    let listed = async |query: WebhookQuery| -> Vec<TaskId> {
        let webhooks = bench.webhooks(query).await;
        webhooks.into_iter().map(|webhook| webhook.task).collect()
    };
    assert_eq!(listed(ALL).await, [pending, failed, delivered]);
    assert_eq!(
        listed(WebhookQuery { limit: 2, ..ALL }).await,
        [pending, failed]
    );
    let of_project = |project| WebhookQuery {
        project: Some(project),
        ..ALL
    };
    assert_eq!(listed(of_project(bench.project)).await, [failed, delivered]);
    for (state, task) in [
        (WebhookState::Pending, pending),
        (WebhookState::Delivered, delivered),
        (WebhookState::Failed, failed),
    ] {
        let standing = WebhookQuery {
            state: Some(state),
            ..ALL
        };
        assert_eq!(listed(standing.clone()).await, [task]);
        let none = WebhookQuery {
            task: Some(TaskId(99)),
            ..standing
        };
        assert_eq!(listed(none).await, []);
    }
}

pub(super) async fn the_attempts_that_are_kept_are_bounded(bench: &Bench) {
    let task = bench.ended(bench.project, HOOK).await;
    let many = crate::outbox::MAX_ATTEMPTS_KEPT + 2;
    for _ in 0..many {
        let delivery = bench.due(START).await.remove(0);
        bench.answered(&delivery, 500, WebhookNext::At(START)).await;
    }
    let webhook = bench.webhook(&task).await;
    assert_eq!(webhook.attempt_count, many);
    let kept: Vec<u32> = webhook
        .attempts
        .iter()
        .map(|attempt| attempt.number)
        .collect();
    assert_eq!(kept, (3..=many).collect::<Vec<_>>());
}
