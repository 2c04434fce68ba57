//! A database of the first program, and servers that die while they bring it up to date.

use std::path::Path;

use rusqlite::Connection;

use super::{ABORT_AT, serve};
use crate::client::Client;
use crate::server::{Place, Server};

/// More steps than there are migrations: the loop ends by itself.
const MANY: u32 = 100;

/// What the first program left: a task that had ended, one that waits and one that was running.
const FIRST_PROGRAM: &str = r#"
    INSERT INTO task (id, uuid, token, project, tool_owner, tool_model, parameters, output_folder,
        warnings)
    SELECT value, '00000000-0000-4000-8000-00000000000' || value, 'token' || value, 1,
        'black-forest-labs', 'flux-pro-1.1',
        '{"prompt": "a red circle", "seed": "7", "aspectRatio": "1:1"}', 'folder' || value, '[]'
    FROM json_each('[1, 2, 3]');
    INSERT INTO job (task, state, epoch, attempts, created_at, accepted_at, ended_at,
        postprocess_started_at, postprocess_ended_at, exit_code, worker, lease_until) VALUES
        (1, 'finished', 1, 1, 10, 11, 12, 13, 14, 1, NULL, NULL),
        (2, 'queued', 0, 0, 20, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        (3, 'accepted', 1, 1, 30, 31, NULL, NULL, NULL, NULL, 'first', 99);
    PRAGMA user_version = 1;
"#;

/// Puts a database of the first program in the place of the one that is there, with its project.
fn go_back(database: &Path) {
    let old = database.with_extension("old");
    let first = Connection::open(&old).expect("a file");
    let schema = include_str!("../../../../store/src/sqlite/migrations/0001_first.sql");
    first.execute_batch(schema).expect("the first schema");
    first
        .execute("ATTACH ?1 AS now", [database.to_str().expect("a text")])
        .expect("the database of today");
    let columns =
        "id, name, api_key, sealed_secret, auth, allowed_networks, strict_nonce, created_at";
    let copy = format!("INSERT INTO project ({columns}) SELECT {columns} FROM now.project");
    first.execute_batch(&copy).expect("the project");
    first.execute_batch("DETACH now").expect("done with it");
    first.execute_batch(FIRST_PROGRAM).expect("its tasks");
    drop(first);
    for side_file in ["db-wal", "db-shm"] {
        let _ = std::fs::remove_file(database.with_extension(side_file));
    }
    std::fs::rename(old, database).expect("in its place");
}

fn version(database: &Path) -> u32 {
    let database = Connection::open(database).expect("the file opens");
    let sound: String = database
        .query_row("PRAGMA integrity_check", (), |row| row.get(0))
        .expect("a check");
    assert_eq!(sound, "ok");
    database
        .query_row("PRAGMA user_version", (), |row| row.get(0))
        .expect("a version")
}

/// Dies before the commit of each step, and after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_is_killed_at_any_step_goes_on_at_the_next_start() {
    let place = Place::new();
    let first = Server::start(serve(&place));
    let keys = first.keys.clone().expect("a first start");
    first.kill();
    let database = place.data().join("tintype.db");
    let newest = version(&database);
    go_back(&database);
    let mut deaths = 0;
    for death in 0..MANY {
        let before = version(&database);
        // Each start takes one step further: dead before the step's commit, then after it.
        let moment = ["migrating:1", "migrated:1"][death as usize % 2];
        let mut command = serve(&place);
        command.env(ABORT_AT, moment);
        let Some(server) = Server::try_start(command) else {
            deaths += 1;
            let expected = before + u32::from(death % 2 == 1);
            assert_eq!(
                version(&database),
                expected,
                "a step is taken whole or not at all"
            );
            continue;
        };
        server.kill();
        break;
    }
    assert_eq!(version(&database), newest);
    assert_eq!(deaths, 2 * (newest - 1), "every step was died in");
    let server = Server::start(serve(&place));
    let client = Client::new(&server.url, keys);
    assert_eq!(client.detail("token1").await["pexit"], "1");
    for token in ["token2", "token3"] {
        client.picture(&client.ended(token).await).await;
    }
}
