//! What those hear who follow.

use std::collections::HashMap;

use super::history::assert_numbered_from;
use super::*;
use crate::follow::FOLLOWED_BATCHES;
use crate::{FollowError, Follower, Standing};

/// Hears all until a task has ended.
async fn until_the_end_of(follower: &mut Follower, task: TaskId) -> Vec<Event> {
    let mut heard = Vec::new();
    loop {
        let batch = follower.next().await.expect("it keeps up");
        heard.extend_from_slice(&batch);
        if batch
            .iter()
            .any(|event| event.task == task && is_end(event))
        {
            return heard;
        }
    }
}

fn is_end(event: &Event) -> bool {
    matches!(event.kind, EventKind::Entered { state } if state.is_final())
}

pub(super) async fn a_follower_hears_each_history_in_order(bench: &Bench) {
    const TASKS: usize = 20;
    let mut follower = bench.store.follow();
    let lives: Vec<_> = (0..TASKS)
        .map(|_| {
            let (store, project) = (Arc::clone(&bench.store), bench.project);
            tokio::spawn(async move { Bench { store, project }.whole_life().await })
        })
        .collect();
    for life in lives {
        life.await.expect("the caller is well");
    }
    let last = bench.running().await;
    bench.complete(&last, failure()).await;

    let heard = until_the_end_of(&mut follower, last.id).await;
    let mut by_task: HashMap<TaskId, Vec<Event>> = HashMap::new();
    for event in heard {
        by_task.entry(event.task).or_default().push(event);
    }
    assert_eq!(by_task.len(), TASKS + 1);
    for (task, events) in by_task {
        assert_numbered_from(1, &events);
        assert_eq!(events, bench.history(task).await);
    }
}

impl Bench {
    /// Queues a task, then takes any through two attempts.
    async fn whole_life(&self) {
        self.submit().await;
        let one = || claim_until(after(10));
        let task = self.store.claim(one(), START).await.expect("claim");
        self.release(&task[0]).await;
        let task = self.store.claim(one(), START).await.expect("claim");
        self.enter(&task[0], TaskState::Started, after(1)).await;
        self.complete(&task[0], success(&task[0])).await;
    }
}

pub(super) async fn what_is_heard_is_on_record_already(bench: &Bench) {
    let mut follower = bench.store.follow();
    let store = Arc::clone(&bench.store);
    let listener = tokio::spawn(async move {
        let mut ends = 0;
        while ends < 10 {
            for event in follower.next().await.expect("it keeps up").iter() {
                let name = TaskRef::Id(event.task);
                let task = store.detail(&name, None).await.expect("detail");
                let task = task.expect("the task is there");
                assert!(task.state >= state_of(event), "{event:?} before {task:?}");
                assert_eq!(task.outputs.len(), usize::from(task.state.is_final()));
                let history = store.history(&name, None, event.number - 1).await;
                let history = history.expect("history").expect("the task is there");
                assert_eq!(history.first(), Some(event));
                ends += usize::from(is_end(event));
            }
        }
    });
    for _ in 0..10 {
        let task = bench.running().await;
        bench.complete(&task, success(&task)).await;
    }
    listener.await.expect("all was there");
}

pub(super) async fn what_changes_nothing_is_not_heard(bench: &Bench) {
    let task = bench.running().await;
    let other = bench.running().await;
    bench.enter(&task, TaskState::Started, after(1)).await;
    let taken = success(&other);
    bench.complete(&other, taken.clone()).await;

    let mut follower = bench.store.follow();
    bench.enter(&task, TaskState::Started, after(2)).await;
    bench.complete(&stale(&task), failure()).await;
    bench.complete(&other, failure()).await;
    assert_rejected(bench.store.submit(new_task(ProjectId(99)), START).await);
    let completed = bench.store.complete(task.id, task.epoch, taken, START);
    assert_rejected(completed.await);
    let progress = vec![
        progress(&task, step(1), after(2)),
        progress(&stale(&task), step(2), after(2)),
    ];
    bench.store.record(progress).await.expect("record");
    let claims = [(task.id, task.epoch)];
    let heartbeat = bench.store.heartbeat(&claims, after(20), after(3)).await;
    heartbeat.expect("heartbeat");
    let name = TaskRef::Id(task.id);
    let cancel = bench
        .store
        .cancel(&name, bench.project, Standing::Running, after(4));
    cancel.await.expect("cancel");
    bench.complete(&task, Outcome::Cancelled).await;

    let heard = until_the_end_of(&mut follower, task.id).await;
    let kinds: Vec<_> = heard.into_iter().map(|event| event.kind).collect();
    let state = TaskState::Cancelled;
    assert_eq!(kinds, [step(1), EventKind::Entered { state }]);
}

pub(super) async fn progress_is_heard_in_its_place_and_kept_nowhere(bench: &Bench) {
    let task = bench.running().await;
    let mut follower = bench.store.follow();
    let entered = |state| EventKind::Entered { state };
    let kinds = [
        entered(TaskState::Output),
        step(1),
        step(2),
        entered(TaskState::OutputFull),
        step(3),
    ];
    let progress = kinds
        .iter()
        .map(|kind| progress(&task, kind.clone(), after(1)))
        .collect();
    let recorded = bench.store.record(progress).await.expect("record");
    assert_eq!(recorded, [Fenced::Applied; 5]);

    let heard = follower.next().await.expect("it keeps up");
    let expected: Vec<_> = [3, 3, 3, 4, 4]
        .into_iter()
        .zip(kinds)
        .map(|(number, kind)| Event {
            task: task.id,
            number,
            at: after(1),
            kind,
        })
        .collect();
    assert_eq!(*heard, *expected);
    let states = bench.states_entered(task.id).await;
    assert_eq!(states[2..], [TaskState::Output, TaskState::OutputFull]);
    assert_eq!(bench.detail(task.id).await.state, TaskState::OutputFull);
}

pub(super) async fn a_follower_that_lags_is_told_and_goes_on(bench: &Bench) {
    let task = bench.running().await;
    let mut slow = bench.store.follow();
    let steps = FOLLOWED_BATCHES as u32 + 10;
    for number in 1..=steps {
        let progress = progress(&task, step(number), after(1));
        bench.store.record(vec![progress]).await.expect("record");
    }
    bench.complete(&task, failure()).await;
    let lagged = slow.next().await.expect_err("it missed some");
    let FollowError::Lagged { batches } = lagged else {
        panic!("the store is open, yet {lagged:?}")
    };
    assert!(batches >= 11, "{batches}");
    let heard = until_the_end_of(&mut slow, task.id).await;
    assert!(heard.len() < steps as usize, "the newest are still there");

    // Whoever starts again reads the record first, and then hears what is new.
    let mut again = bench.store.follow();
    assert_eq!(bench.history(task.id).await.len(), 5);
    let next = bench.submit().await;
    for follower in [&mut slow, &mut again] {
        let heard = follower.next().await.expect("it keeps up");
        assert_eq!(heard[0].task, next.id);
    }
}
