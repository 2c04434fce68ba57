//! Databases of earlier programs.

use tintype_domain::{Account, TaskId, TaskState, ToolSlug, ToolStats, UnixMillis};

use super::*;
use crate::conformance::{state_of, success};

/// What the first program could have left: tasks in every way of ending, of two tools.
const FIRST_PROGRAM: &str = "
    INSERT INTO project VALUES (1, 'first', 'key', x'00', 'key', '[]', 0, 1);
    INSERT INTO task (id, uuid, token, project, tool_owner, tool_model, parameters, output_folder,
        warnings)
    SELECT value, '00000000-0000-0000-0000-000000000000', 'token ' || value, 1, 'owner',
        iif(value = 6, 'second', 'first'), '{}', 'folder', '[]'
    FROM json_each('[1, 2, 3, 4, 5, 6]');
    INSERT INTO job (task, state, created_at, exit_code) VALUES
        (1, 'finished', 10, 0), (2, 'finished', 30, 0), (3, 'finished', 20, 4),
        (4, 'cancelled', 5, NULL), (5, 'queued', 6, NULL), (6, 'queued', 7, NULL);
    PRAGMA user_version = 1;
";

/// Leaves a database of the first program, with these rows.
fn first_program(place: &Place, rows: &str) {
    let first = rusqlite::Connection::open(place.path()).expect("the file opens");
    first
        .execute_batch(include_str!("../migrations/0001_first.sql"))
        .expect("the first schema");
    first.execute_batch(FIRST_PROGRAM).expect("its rows");
    first.execute_batch(rows).expect("more of its rows");
}

#[tokio::test]
async fn the_runs_of_earlier_programs_are_counted() {
    let place = Place::new();
    first_program(&place, "");

    let store = place.open();
    let account = store.account(ProjectId(1)).await.expect("account");
    let expected = Account {
        active: 2,
        ..Account::default()
    };
    assert_eq!(account, Some(expected), "its unfinished tasks are counted");
    let stats = store.tool_stats().await.expect("stats");
    let of_first = ToolStats {
        runs: 5,
        successes: 2,
        failures: 1,
        last_run: Some(UnixMillis(30)),
        mean_ms: None,
    };
    let of_second = ToolStats {
        runs: 1,
        last_run: Some(UnixMillis(7)),
        ..ToolStats::default()
    };
    let expected = [("first", of_first), ("second", of_second)];
    assert_eq!(
        stats,
        expected.map(|(model, stats)| (ToolSlug::new("owner", model), stats))
    );
}

/// A log that still has the whole of the tasks 1 and 5, and only the end of 3.
const FIRST_LOG: &str = "
    UPDATE job SET accepted_at = 22, ended_at = 25, postprocess_started_at = 26,
        postprocess_ended_at = 27 WHERE task = 3;
    UPDATE job SET cancelled_at = 9 WHERE task = 4;
    UPDATE job SET state = 'output', epoch = 1, attempts = 1, accepted_at = 8, started_at = 12,
        worker = 'first', lease_until = 99 WHERE task = 6;
    INSERT INTO output VALUES ('id', 1, '0.png', 'image/png', 'folder', 9, 13, 13, 'key', 'directory',
        'blob');
    INSERT INTO event (task, at, state, step, steps) VALUES
        (3, 26, 'postprocess_started', NULL, NULL), (3, 27, 'finished', NULL, NULL),
        (1, 10, 'queued', NULL, NULL), (5, 6, 'queued', NULL, NULL),
        (1, 11, 'accepted', NULL, NULL), (1, 11, 'output', NULL, NULL), (1, 12, NULL, 4, 4),
        (5, 14, 'accepted', NULL, NULL), (5, 13, 'queued', NULL, NULL),
        (1, 12, 'ended', NULL, NULL), (1, 13, 'finished', NULL, NULL);
";

#[tokio::test]
async fn the_event_log_of_earlier_programs_becomes_histories() {
    use TaskState as S;
    let place = Place::new();
    first_program(&place, FIRST_LOG);
    let bench = place.reopen(ProjectId(1));
    let expected: [&[(TaskState, i64)]; 6] = [
        &[
            (S::Queued, 10),
            (S::Accepted, 11),
            (S::Output, 11),
            (S::Ended, 12),
            (S::Finished, 13),
        ],
        &[(S::Queued, 30), (S::Finished, 30)],
        &[
            (S::Queued, 20),
            (S::Accepted, 22),
            (S::Ended, 25),
            (S::PostprocessStarted, 26),
            (S::Finished, 27),
        ],
        &[(S::Queued, 5), (S::Cancelled, 9)],
        &[(S::Queued, 6), (S::Accepted, 14), (S::Queued, 14)],
        // It was running: the start has taken it back.
        &[
            (S::Queued, 7),
            (S::Accepted, 8),
            (S::Started, 12),
            (S::Output, 12),
            (S::Queued, 12),
        ],
    ];
    for (task, expected) in (1..).zip(expected) {
        let history = bench.history(TaskId(task)).await;
        let found: Vec<_> = history.iter().map(|e| (state_of(e), e.at.0)).collect();
        assert_eq!(found, expected, "task {task}");
        let numbers: Vec<_> = history.iter().map(|event| event.number).collect();
        assert_eq!(numbers, (1..).take(expected.len()).collect::<Vec<_>>());
    }

    let output = bench.store.output_at("directory", "0.png").await;
    let output = output.expect("output_at").expect("it is still there");
    assert_eq!(bench.detail(TaskId(1)).await.outputs, [output]);

    let again = bench.claim(UnixMillis(50)).await.remove(0);
    assert_eq!(again.id, TaskId(5));
    bench.complete(&again, success(&again)).await;
    let history = bench.history(again.id).await;
    let last = history.last().expect("it goes on");
    assert_eq!((last.number, state_of(last)), (7, S::Finished));
}
