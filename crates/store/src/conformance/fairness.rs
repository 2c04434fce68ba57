//! Who goes next.

use tintype_domain::ToolSlug;

use super::*;
use crate::AccountChange;

/// Tasks that a greedy project queues.
const FLOOD: usize = 20_000;

/// Submissions under way at the same time.
const AT_ONCE: usize = 500;

async fn flood(bench: &Bench, project: ProjectId, tasks: usize) {
    let mut left = tasks;
    while left > 0 {
        let some = left.min(AT_ONCE);
        let submit = |_| {
            let store = Arc::clone(&bench.store);
            let task = new_task(project);
            tokio::spawn(async move { store.submit(task, START).await.map(drop) })
        };
        for submitted in (0..some).map(submit).collect::<Vec<_>>() {
            submitted.await.expect("it is well").expect("submit");
        }
        left -= some;
    }
}

async fn submit_to(bench: &Bench, project: ProjectId) -> TaskId {
    let task = bench.store.submit(new_task(project), START).await;
    task.expect("submit").id
}

/// Claims one task after the other, and completes each.
async fn claim_one(bench: &Bench) -> Task {
    let claimed = bench.store.claim(claim_until(after(10)), START).await;
    let task = claimed.expect("claim").pop().expect("a task is queued");
    bench.complete(&task, failure()).await;
    task
}

async fn weigh(bench: &Bench, project: ProjectId, weight: u32) {
    let change = AccountChange {
        weight: Some(weight),
        ..AccountChange::default()
    };
    let changed = bench.store.change_account(project, change).await;
    assert_eq!(changed.expect("change").weight, weight);
}

async fn rank(bench: &Bench, project: ProjectId, priority: i32) {
    let change = AccountChange {
        priority: Some(priority),
        ..AccountChange::default()
    };
    let changed = bench.store.change_account(project, change).await;
    assert_eq!(changed.expect("change").priority, priority);
}

/// A project that floods delays another's first task by less than ten tasks.
pub(super) async fn a_flood_delays_another_s_first_task_by_less_than_ten(bench: &Bench) {
    let other = bench.project("modest").await;
    flood(bench, bench.project, FLOOD).await;
    for _ in 0..100 {
        assert_eq!(claim_one(bench).await.project, bench.project);
    }
    let modest = submit_to(bench, other).await;
    let mut before_it = 0;
    while claim_one(bench).await.id != modest {
        before_it += 1;
    }
    assert!(before_it < 10, "{before_it} tasks went first");
    let second = submit_to(bench, other).await;
    submit_to(bench, bench.project).await;
    let next: Vec<_> = [claim_one(bench).await.id, claim_one(bench).await.id].into();
    assert!(next.contains(&second), "they take turns");
}

pub(super) async fn shares_follow_the_weights(bench: &Bench) {
    let (double, half) = (bench.project("double").await, bench.project("half").await);
    weigh(bench, bench.project, 2).await;
    weigh(bench, double, 4).await;
    for project in [bench.project, double, half] {
        flood(bench, project, 80).await;
    }
    let mut counts = [0; 3];
    for _ in 0..70 {
        let task = claim_one(bench).await;
        let place = [bench.project, double, half]
            .iter()
            .position(|id| *id == task.project);
        counts[place.expect("one of the three")] += 1;
    }
    assert!((19..=21).contains(&counts[0]), "{counts:?}");
    assert!((39..=41).contains(&counts[1]), "{counts:?}");
    assert!((9..=11).contains(&counts[2]), "{counts:?}");
}

pub(super) async fn a_slow_tool_uses_up_more_of_a_share(bench: &Bench) {
    let slow = bench.project("slow").await;
    let tool = |project, model| NewTask {
        tool: ToolSlug::new("owner", model),
        ..new_task(project)
    };
    for (model, duration_seconds) in [("quick", 1), ("slow", 9)] {
        let task = tool(bench.project, model);
        bench.store.submit(task, START).await.expect("submit");
        let task = bench.claim(START).await.remove(0);
        let outcome = success(&task);
        let now = after(duration_seconds);
        let completed = bench.store.complete(task.id, task.epoch, outcome, now);
        assert_eq!(completed.await.expect("complete"), Fenced::Applied);
    }
    for _ in 0..40 {
        for (project, model) in [(bench.project, "quick"), (slow, "slow")] {
            let task = tool(project, model);
            bench.store.submit(task, START).await.expect("submit");
        }
    }
    let mut slow_ones = 0;
    for _ in 0..30 {
        slow_ones += usize::from(claim_one(bench).await.project == slow);
    }
    assert!((2..=5).contains(&slow_ones), "{slow_ones} of 30");
}

pub(super) async fn a_higher_priority_always_goes_first(bench: &Bench) {
    let urgent = bench.project("urgent").await;
    rank(bench, urgent, 5).await;
    flood(bench, bench.project, 5).await;
    claim_one(bench).await;
    flood(bench, urgent, 3).await;
    for _ in 0..3 {
        assert_eq!(claim_one(bench).await.project, urgent);
    }
    assert_eq!(claim_one(bench).await.project, bench.project);

    // A class that was passed over for long is still fair within itself.
    let newcomer = bench.project("newcomer").await;
    let its_first = submit_to(bench, newcomer).await;
    let next: Vec<_> = [claim_one(bench).await.id, claim_one(bench).await.id].into();
    assert!(next.contains(&its_first), "{next:?}");
}

pub(super) async fn a_new_priority_is_that_of_the_waiting_tasks_too(bench: &Bench) {
    let other = bench.project("second").await;
    for _ in 0..3 {
        submit_to(bench, other).await;
    }
    flood(bench, bench.project, 3).await;
    rank(bench, bench.project, 1).await;
    let last = submit_to(bench, bench.project).await;
    let claimed = bench.claim(START).await;
    let order: Vec<_> = claimed.iter().map(|task| task.id.0).collect();
    assert_eq!(order, [4, 5, 6, last.0, 1, 2, 3]);
}

pub(super) async fn a_task_that_is_queued_again_keeps_its_place(bench: &Bench) {
    let other = bench.project("second").await;
    flood(bench, bench.project, 3).await;
    let running = bench.claim_one_of_many().await;
    for _ in 0..3 {
        submit_to(bench, other).await;
    }
    bench.release(&running).await;
    assert_eq!(claim_one(bench).await.id, running.id);
}

pub(super) async fn the_front_of_the_queue_is_what_is_claimed_next(bench: &Bench) {
    let (other, urgent) = (bench.project("second").await, bench.project("urgent").await);
    rank(bench, urgent, 1).await;
    for project in [bench.project, bench.project, other, urgent, other] {
        submit_to(bench, project).await;
    }
    let front = async |limit| bench.store.queue_front(limit).await.expect("front");
    let all = front(100).await;
    assert_eq!(all.len(), 5);
    assert_eq!(front(2).await, all[..2]);
    for expected in &all {
        assert_eq!(claim_one(bench).await.id, *expected);
    }
    assert_eq!(front(100).await, []);
}
