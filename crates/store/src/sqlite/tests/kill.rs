//! `kill -9` at random moments: nothing acknowledged is lost, and work goes on afterwards.
//!
//! The test starts its own executable as the process to be killed. That child prints what the
//! store has acknowledged; the parent waits for some of these lines, never for time.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use tintype_domain::{EventKind, ProjectId, TaskId, TaskRef, TaskState};

use super::*;
use crate::conformance::{START, claim_until, new_task, success};
use crate::{Claim, Fenced, Progress};

/// Tells the child where the database is.
const DATABASE: &str = "TINTYPE_STORE_TEST_DATABASE";

/// The child's name as a test.
const CHILD: &str = "sqlite::tests::kill::child_that_is_killed";

/// Acknowledgements to wait for before each kill.
const ROUNDS: [usize; 10] = [1, 2, 5, 11, 23, 47, 95, 3, 60, 31];

/// What was acknowledged.
#[derive(Default)]
struct Acknowledged {
    submitted: BTreeSet<i64>,
    finished: BTreeSet<i64>,
}

impl Acknowledged {
    /// Takes in a line of the child; `false` if it is about something else.
    fn read(&mut self, line: &str) -> bool {
        let (set, number) = match line.trim_end().split_once(' ') {
            Some(("submitted", number)) => (&mut self.submitted, number),
            Some(("finished", number)) => (&mut self.finished, number),
            _ => return false,
        };
        let number = number.parse().expect("a whole line ends in a number");
        assert!(set.insert(number), "{line} was acknowledged twice");
        true
    }
}

/// Dies with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // SIGKILL. Neither call can fail in a way that matters: it is dead in the end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_to_kill_9() {
    let place = Place::new();
    bench(&place.open()).await;
    let mut all = Acknowledged::default();
    for lines in ROUNDS {
        run_and_kill(&place.path(), lines, &mut all);
        assert_eq!(query(&place.path(), "PRAGMA integrity_check"), "ok");
        let store = place.open();
        for id in &all.submitted {
            let task = store.detail(&TaskRef::Id(TaskId(*id)), None).await;
            let task = task.expect("detail").expect("acknowledged, so it is there");
            let finished = task.state == TaskState::Finished;
            assert!(finished || task.state == TaskState::Queued, "{task:?}");
            assert_eq!(task.outputs.len(), usize::from(finished), "{task:?}");
            assert!(finished || !all.finished.contains(id), "{task:?}");
        }
    }
    finish_the_rest(&place).await;
}

/// Runs a child until it has acknowledged so much, and kills it.
fn run_and_kill(database: &Path, lines: usize, all: &mut Acknowledged) {
    let executable = std::env::current_exe().expect("the test knows its own executable");
    let child = Command::new(executable)
        .args(["--exact", CHILD, "--ignored", "--nocapture"])
        .env(DATABASE, database)
        .stdout(Stdio::piped())
        .spawn();
    let mut child = Killed(child.expect("the child starts"));
    let output = child.0.stdout.take().expect("its output is a pipe");
    let mut output = BufReader::new(output);
    let mut read = 0;
    while read < lines {
        let mut line = String::new();
        let bytes = output.read_line(&mut line).expect("the pipe works");
        assert!(bytes > 0, "the child ended by itself");
        read += usize::from(all.read(&line));
    }
    drop(child);
    // What it said before it died counts too, but for a line that it could not finish.
    let mut line = String::new();
    while output.read_line(&mut line).expect("the pipe works") > 0 && line.ends_with('\n') {
        all.read(&line);
        line.clear();
    }
}

/// The queue goes on: everything that did not end is given out, once, and ends.
async fn finish_the_rest(place: &Place) {
    let store = place.open();
    let mut finished = BTreeSet::new();
    loop {
        let claimed = store.claim(any_number(), START).await.expect("claim");
        if claimed.is_empty() {
            break;
        }
        for task in claimed {
            assert!(finished.insert(task.id), "{} was given out twice", task.id);
            let completed = store.complete(task.id, task.epoch, success(&task), START);
            assert_eq!(completed.await.expect("complete"), Fenced::Applied);
        }
    }
    let unfinished = "SELECT count(*) FROM job WHERE state <> 'finished'";
    assert_eq!(query(&place.path(), unfinished), "0");
}

fn any_number() -> Claim {
    Claim {
        limit: 3,
        max_attempts: u32::MAX,
        ..claim_until(START.plus_millis(1_000_000))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that nothing_acknowledged_is_lost_to_kill_9 starts and kills"]
async fn child_that_is_killed() {
    let database = std::env::var_os(DATABASE).expect("the parent names the database");
    let store = SqliteStore::open(Path::new(&database)).expect("the store opens");
    let store = Arc::new(store);
    let project = store.projects().await.expect("projects")[0].id;
    let submitters = (0..3).map(|_| tokio::spawn(submit_for_ever(Arc::clone(&store), project)));
    let workers = (0..2).map(|_| tokio::spawn(work_for_ever(Arc::clone(&store))));
    for task in submitters.chain(workers).collect::<Vec<_>>() {
        task.await.expect("it goes on for ever");
    }
}

async fn submit_for_ever(store: Arc<SqliteStore>, project: ProjectId) {
    loop {
        let mut task = new_task(project);
        task.token = tintype_domain::TaskToken(uuid::Uuid::new_v4().simple().to_string());
        let task = store.submit(task, START).await.expect("submit");
        acknowledge("submitted", task.id);
    }
}

async fn work_for_ever(store: Arc<SqliteStore>) {
    loop {
        for task in store.claim(any_number(), START).await.expect("claim") {
            let started = Progress {
                task: task.id,
                epoch: task.epoch,
                at: START,
                kind: EventKind::Entered {
                    state: TaskState::Started,
                },
            };
            store.record(vec![started]).await.expect("record");
            let mut outcome = success(&task);
            make_unique(&mut outcome);
            let completed = store.complete(task.id, task.epoch, outcome, START).await;
            assert_eq!(completed.expect("complete"), Fenced::Applied);
            acknowledge("finished", task.id);
        }
        tokio::task::yield_now().await;
    }
}

/// The numbers of the checks start afresh in every process.
fn make_unique(outcome: &mut tintype_domain::Outcome) {
    if let tintype_domain::Outcome::Succeeded { outputs, .. } = outcome {
        for output in outputs {
            output.id.0 = uuid::Uuid::new_v4().simple().to_string();
            output.directory.clone_from(&output.id.0);
        }
    }
}

/// One line in one write, so that a kill cannot tear two of them apart.
fn acknowledge(what: &str, task: TaskId) {
    let line = format!("{what} {task}\n");
    let mut output = std::io::stdout().lock();
    output.write_all(line.as_bytes()).expect("the parent reads");
    output.flush().expect("the parent reads");
}
