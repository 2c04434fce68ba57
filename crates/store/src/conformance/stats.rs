//! Counts of the runs of each tool.

use tintype_domain::ToolStats;

use super::*;

async fn stats(bench: &Bench) -> Vec<(ToolSlug, ToolStats)> {
    bench.store.tool_stats().await.expect("stats")
}

/// The counts of the tool `owner/model`: runs, successes, failures.
async fn counts(bench: &Bench) -> (u64, u64, u64) {
    let all = stats(bench).await;
    let (_, stats) = all.first().expect("the tool was run");
    (stats.runs, stats.successes, stats.failures)
}

pub(super) async fn runs_are_counted_by_how_they_ended(bench: &Bench) {
    assert_eq!(stats(bench).await, []);

    let lucky = bench.running().await;
    bench.complete(&lucky, success(&lucky)).await;
    let unlucky = bench.running().await;
    bench.complete(&unlucky, failure()).await;
    let stopped = bench.running().await;
    bench.complete(&stopped, Outcome::Cancelled).await;
    let again = bench.running().await;
    bench.release(&again).await;
    let again = bench.claim(after(1)).await.remove(0);
    bench.complete(&again, success(&again)).await;
    assert_eq!(counts(bench).await, (4, 2, 1));

    // Of a tool by itself, in another project, while it waits; by a clock that ran backwards.
    let other = bench
        .store
        .create_project(new_project("second"), START)
        .await;
    let mut another = new_task(other.expect("a second project").id);
    another.tool = ToolSlug::new("another", "model");
    for now in [after(9), after(5)] {
        let task = NewTask {
            token: new_task(bench.project).token,
            ..another.clone()
        };
        bench.store.submit(task, now).await.expect("submit");
    }
    let all = stats(bench).await;
    let waiting = ToolStats {
        runs: 2,
        last_run: Some(after(9)),
        ..ToolStats::default()
    };
    assert_eq!(all.len(), 2);
    assert_eq!(all[0], (another.tool, waiting));
    assert_eq!(all[1].0, ToolSlug::new("owner", "model"));
    assert_eq!(all[1].1.last_run, Some(START));
}

pub(super) async fn what_is_refused_or_stale_is_not_counted(bench: &Bench) {
    let nobody = ProjectId(99);
    assert_rejected(bench.store.submit(new_task(nobody), START).await);
    assert_eq!(stats(bench).await, []);

    let task = bench.running().await;
    let without_reason = Outcome::Failed {
        exit_code: ExitCode::SUCCESS,
        debug_error: String::new(),
    };
    let refused = bench
        .store
        .complete(task.id, task.epoch, without_reason, START);
    assert_rejected(refused.await);
    bench.complete(&stale(&task), failure()).await;
    assert_eq!(counts(bench).await, (1, 0, 0));
    bench.complete(&task, success(&task)).await;
    bench.complete(&task, failure()).await;
    assert_eq!(counts(bench).await, (1, 1, 0), "it ended once");

    // A task that nobody finishes fails in the end, once.
    bench.submit().await;
    for second in 0..10 {
        bench.claim(after(second * 1000)).await;
        bench.reap(after(second * 1000 + 999)).await;
    }
    assert_eq!(counts(bench).await, (2, 1, 1));
}
