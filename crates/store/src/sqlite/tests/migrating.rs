//! Databases of earlier programs.

use tintype_domain::{ToolSlug, ToolStats, UnixMillis};

use super::*;

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

#[tokio::test]
async fn the_runs_of_earlier_programs_are_counted() {
    let place = Place::new();
    let first = rusqlite::Connection::open(place.path()).expect("the file opens");
    first
        .execute_batch(include_str!("../migrations/0001_first.sql"))
        .expect("the first schema");
    first.execute_batch(FIRST_PROGRAM).expect("its rows");
    drop(first);

    let stats = place.open().tool_stats().await.expect("stats");
    let of_first = ToolStats {
        runs: 5,
        successes: 2,
        failures: 1,
        last_run: Some(UnixMillis(30)),
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
