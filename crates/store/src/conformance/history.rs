//! The numbered history of each task.

use super::*;
use crate::{Cancel, HISTORY_KEPT, Standing};

/// Counts the events from a number on, and finds them in the order of time.
pub(super) fn assert_numbered_from(first: u32, events: &[Event]) {
    let numbers: Vec<_> = events.iter().map(|event| event.number).collect();
    let expected: Vec<_> = (first..).take(events.len()).collect();
    assert_eq!(numbers, expected);
    assert!(events.is_sorted_by_key(|event| event.at), "{events:?}");
}

pub(super) async fn events_are_numbered_without_a_gap_through_all_attempts(bench: &Bench) {
    use TaskState as S;
    let given_back = bench.running().await;
    bench.enter(&given_back, S::Started, after(1)).await;
    assert_eq!(bench.release(&given_back).await, Fenced::Applied);
    let lost = bench.claim(after(2)).await.remove(0);
    assert_eq!(lost.id, given_back.id);
    bench.reap(after(60)).await;
    let last = bench.claim(after(50)).await.remove(0);
    assert_eq!(bench.complete(&last, success(&last)).await, Fenced::Applied);

    let history = bench.history(last.id).await;
    assert_numbered_from(1, &history);
    let states: Vec<_> = history.iter().map(state_of).collect();
    let expected = [
        [S::Queued, S::Accepted, S::Started].as_slice(),
        &[S::Queued, S::Accepted],
        &[S::Queued, S::Accepted],
        &[S::Ended, S::PostprocessStarted, S::Finished],
    ];
    assert_eq!(states, expected.concat());
    assert!(history.iter().all(|event| event.task == last.id));

    let waiting = bench.submit().await;
    let name = TaskRef::Id(waiting.id);
    let cancelled = bench
        .store
        .cancel(&name, bench.project, Standing::Queued, after(70));
    assert!(matches!(cancelled.await, Ok(Cancel::Cancelled(_))));
    let history = bench.history(waiting.id).await;
    assert_numbered_from(1, &history);
    assert_eq!(history.last().map(|event| event.at), Some(after(70)));
}

pub(super) async fn a_history_is_read_from_any_number_and_within_its_project(bench: &Bench) {
    let task = bench.running().await;
    bench.complete(&task, failure()).await;
    let all = bench.history(task.id).await;
    assert_eq!(all.len(), 5);
    let (id, token) = (TaskRef::Id(task.id), TaskRef::Token(task.token.clone()));
    let read = async |name: &TaskRef, project, after| {
        let read = bench.store.history(name, project, after).await;
        read.expect("history")
    };
    for name in [&id, &token] {
        for after in [0, 1, 4, 5, u32::MAX] {
            let expected = all.get(after as usize..).unwrap_or_default();
            let own = Some(bench.project);
            for project in [None, own] {
                assert_eq!(read(name, project, after).await.as_deref(), Some(expected));
            }
        }
        assert_eq!(read(name, Some(ProjectId(99)), 0).await, None);
    }
    let nobody = TaskToken("no such token".to_owned());
    assert_eq!(read(&TaskRef::Token(nobody), None, 0).await, None);
    assert_eq!(read(&TaskRef::Id(TaskId(99)), None, 0).await, None);
}

pub(super) async fn a_long_history_keeps_its_end_and_its_numbers(bench: &Bench) {
    let id = bench.submit().await.id;
    let mut happened = 1;
    while happened < 2 * HISTORY_KEPT {
        let task = bench.claim(START).await.remove(0);
        bench.release(&task).await;
        happened += 2;
    }
    let history = bench.history(id).await;
    let kept = history.len();
    assert!((HISTORY_KEPT..happened).contains(&kept), "{kept} are kept");
    let first = u32::try_from(happened - kept + 1).expect("a small number");
    assert_numbered_from(first, &history);
    assert_eq!(history.last().map(state_of), Some(TaskState::Queued));
}
