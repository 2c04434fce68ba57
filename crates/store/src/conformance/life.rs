//! The states of a life, their times, events and outcomes.

use super::*;
use crate::Deletion;

const STATES_OF_A_WORKER: [TaskState; 8] = [
    TaskState::PreprocessStarted,
    TaskState::PreprocessEnded,
    TaskState::Assigned,
    TaskState::Started,
    TaskState::Output,
    TaskState::OutputFull,
    TaskState::Ended,
    TaskState::PostprocessStarted,
];

pub(super) async fn a_life_in_full_leaves_every_event_and_time(bench: &Bench) {
    let task = bench.running().await;
    for (second, state) in (1..).zip(STATES_OF_A_WORKER) {
        assert_eq!(
            bench.enter(&task, state, after(second)).await,
            Fenced::Applied
        );
        assert_eq!(bench.detail(task.id).await.state, state);
    }
    let output = output(&task);
    let outcome = Outcome::Succeeded {
        outputs: vec![output.clone()],
        withheld: 0,
        maker: Some(maker()),
        debug_error: "promptUpsampling is not done yet".to_owned(),
    };
    let completed = bench
        .store
        .complete(task.id, task.epoch, outcome, after(9))
        .await;
    assert_eq!(completed.expect("complete"), Fenced::Applied);

    let ended = bench.detail(task.id).await;
    assert_eq!(ended.state, TaskState::Finished);
    assert_eq!(ended.exit_code, Some(ExitCode::SUCCESS));
    assert_eq!(ended.debug_error, "promptUpsampling is not done yet");
    assert_eq!(ended.outputs, std::slice::from_ref(&output));
    assert_eq!(ended.maker, Some(maker()));
    assert_eq!(ended.times.preprocess_started, Some(after(1)));
    assert_eq!(ended.times.preprocess_ended, Some(after(2)));
    assert_eq!(ended.times.assigned, Some(after(3)));
    assert_eq!(ended.times.started, Some(after(4)));
    assert_eq!(ended.times.ended, Some(after(7)));
    assert_eq!(ended.times.postprocess_started, Some(after(8)));
    assert_eq!(ended.times.postprocess_ended, Some(after(9)));
    assert_eq!(ended.times.cancelled, None);
    let all_but_cancelled = &TaskState::ALL[..11];
    assert_eq!(bench.states_entered(task.id).await, all_but_cancelled);

    let found = bench.store.output_at(&output.directory, &output.name).await;
    assert_eq!(found.expect("output_at"), Some(output.clone()));
    let other = bench.store.output_at(&output.directory, "1.png").await;
    assert_eq!(other.expect("output_at"), None);
}

pub(super) async fn a_failure_passes_through_the_last_states(bench: &Bench) {
    let task = bench.running().await;
    bench
        .enter(&task, TaskState::PreprocessStarted, after(1))
        .await;
    let failed = bench
        .store
        .complete(task.id, task.epoch, failure(), after(2))
        .await;
    assert_eq!(failed.expect("complete"), Fenced::Applied);
    let ended = bench.detail(task.id).await;
    assert_eq!(ended.exit_code, Some(ExitCode::ENGINE));
    assert_eq!(ended.debug_error, "the engine ran out of memory");
    assert_eq!(ended.outputs, []);
    assert_eq!(ended.maker, None);
    assert_eq!(ended.times.ended, Some(after(2)));
    assert_eq!(ended.times.postprocess_started, Some(after(2)));
    assert_eq!(ended.times.postprocess_ended, Some(after(2)));
    let states = [
        TaskState::Queued,
        TaskState::Accepted,
        TaskState::PreprocessStarted,
        TaskState::Ended,
        TaskState::PostprocessStarted,
        TaskState::Finished,
    ];
    assert_eq!(bench.states_entered(task.id).await, states);
}

pub(super) async fn a_completion_happens_once(bench: &Bench) {
    let task = bench.running().await;
    let attempts: Vec<_> = (0..8)
        .map(|_| {
            let (store, task) = (Arc::clone(&bench.store), task.clone());
            let outcome = success(&task);
            tokio::spawn(async move { store.complete(task.id, task.epoch, outcome, START).await })
        })
        .collect();
    let mut applied = 0;
    for attempt in attempts {
        let answer = attempt
            .await
            .expect("the caller is well")
            .expect("complete");
        applied += usize::from(answer == Fenced::Applied);
    }
    assert_eq!(applied, 1);
    assert_eq!(bench.detail(task.id).await.outputs.len(), 1);
    let finished = bench.states_entered(task.id).await;
    let finals = finished.iter().filter(|state| state.is_final()).count();
    assert_eq!(finals, 1);
}

pub(super) async fn times_never_run_backwards(bench: &Bench) {
    let submitted = bench.submit_at(after(100)).await;
    let task = bench.claim(after(90)).await.remove(0);
    assert_eq!(task.times.accepted, Some(submitted.times.created));
    bench.enter(&task, TaskState::Started, after(200)).await;
    bench.enter(&task, TaskState::Ended, after(150)).await;
    let completed = bench
        .store
        .complete(task.id, task.epoch, failure(), after(1))
        .await;
    assert_eq!(completed.expect("complete"), Fenced::Applied);
    let times = bench.detail(task.id).await.times;
    assert_eq!(times.ended, Some(after(200)));
    assert_eq!(times.postprocess_ended, Some(after(200)));
    let events = bench.history(task.id).await;
    assert!(events.is_sorted_by_key(|event| event.at), "{events:?}");
}

pub(super) async fn a_new_attempt_starts_its_times_afresh(bench: &Bench) {
    let first = bench.running().await;
    bench.enter(&first, TaskState::Started, after(5)).await;
    bench.reap(after(10)).await;
    let second = bench.claim(after(11)).await.remove(0);
    assert_eq!(second.times.created, first.times.created);
    assert_eq!(second.times.accepted, Some(after(11)));
    assert_eq!(second.times.started, None);
}

pub(super) async fn recorded_states_only_go_forward(bench: &Bench) {
    let task = bench.running().await;
    for state in [TaskState::Started, TaskState::Output] {
        bench.enter(&task, state, after(1)).await;
    }
    let before = bench.record(task.id).await;
    for state in [
        TaskState::PreprocessStarted,
        TaskState::Started,
        TaskState::Output,
    ] {
        assert_eq!(bench.enter(&task, state, after(2)).await, Fenced::Applied);
    }
    let now = bench.record(task.id).await;
    assert_eq!(now, before, "what was passed is passed");
}

pub(super) async fn a_refused_record_undoes_its_whole_batch(bench: &Bench) {
    let task = bench.running().await;
    let before = bench.record(task.id).await;
    let not_for_record = [
        TaskState::Queued,
        TaskState::Accepted,
        TaskState::Finished,
        TaskState::Cancelled,
    ];
    for state in not_for_record {
        let started = EventKind::Entered {
            state: TaskState::Started,
        };
        let batch = vec![
            progress(&task, started, after(1)),
            progress(&task, EventKind::Entered { state }, after(1)),
        ];
        assert_rejected(bench.store.record(batch).await);
    }
    let now = bench.record(task.id).await;
    assert_eq!(now, before);
}

pub(super) async fn a_failure_with_exit_code_zero_is_refused(bench: &Bench) {
    let task = bench.running().await;
    let outcome = Outcome::Failed {
        exit_code: ExitCode::SUCCESS,
        debug_error: String::new(),
    };
    let completed = bench.store.complete(task.id, task.epoch, outcome, START);
    assert_rejected(completed.await);
    assert_eq!(bench.detail(task.id).await, task);
}

pub(super) async fn a_completion_with_a_taken_address_is_refused_whole(bench: &Bench) {
    let first = bench.running().await;
    let second = bench.running().await;
    let output = output(&first);
    let outcome = Outcome::Succeeded {
        outputs: vec![output],
        withheld: 0,
        maker: None,
        debug_error: String::new(),
    };
    assert_eq!(
        bench.complete(&first, outcome.clone()).await,
        Fenced::Applied
    );
    let before = bench.record(second.id).await;
    let completed = bench
        .store
        .complete(second.id, second.epoch, outcome, START);
    assert_rejected(completed.await);
    assert_eq!(bench.record(second.id).await, before);
}

pub(super) async fn outputs_are_forgotten_once_and_the_task_is_kept(bench: &Bench) {
    let other = bench
        .store
        .create_project(new_project("second"), START)
        .await;
    let other = other.expect("a second project").id;
    let delete = async |task: &Task, project| {
        let name = TaskRef::Token(task.token.clone());
        let deleted = bench.store.delete_outputs(&name, project).await;
        deleted.expect("delete_outputs")
    };
    let deleted = |task: &Task, blob_keys| Deletion::Deleted {
        task: task.id,
        blob_keys,
    };
    let waiting = bench.submit().await;
    assert_eq!(delete(&waiting, bench.project).await, Deletion::Unfinished);
    let task = bench.running().await;
    assert_eq!(delete(&task, bench.project).await, Deletion::Unfinished);
    bench.complete(&task, success(&task)).await;
    let ended = bench.detail(task.id).await;
    assert_eq!(delete(&task, other).await, Deletion::Unknown);
    assert_eq!(bench.detail(task.id).await, ended);

    let keys = vec![ended.outputs[0].blob_key.clone()];
    assert_eq!(delete(&task, bench.project).await, deleted(&task, keys));
    let output = &ended.outputs[0];
    let found = bench.store.output_at(&output.directory, &output.name).await;
    assert_eq!(found.expect("output_at"), None);
    let without = Task {
        outputs: vec![],
        ..ended.clone()
    };
    assert_eq!(bench.detail(task.id).await, without);
    assert_eq!(delete(&task, bench.project).await, deleted(&task, vec![]));
    assert_eq!(bench.detail(task.id).await, without);
}
