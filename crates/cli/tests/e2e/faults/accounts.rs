//! What must be true when everything has come to its end.

use std::collections::{HashMap, HashSet};

use tintype_domain::{EventKind, ExitCode, Priced, ProjectId, TaskId, TaskRef, TaskState};
use tintype_service::test_support::Receiver;
use tintype_store::{AccountChange, BalanceChange, SqliteStore, Store};

use super::ledger::Ledger;
use crate::client::Client;
use crate::server::{LOOK_AGAIN, LOOKS, Place};

/// Every acknowledged task ended once: with one picture whose bytes are those on record, or, if it
/// took part in too many deaths, with a reason. Returns how many succeeded.
pub async fn all_ended(client: &Client, ledger: &Ledger) -> usize {
    let (mut addresses, mut ids) = (HashSet::new(), HashSet::new());
    let out_of_attempts = ExitCode::ATTEMPTS.0.to_string();
    let mut succeeded = 0;
    for (order, accepted) in ledger.all() {
        let task = client.ended(&accepted.token).await;
        assert_eq!(task["id"], accepted.id, "{task}");
        assert_eq!(task["parameters"]["seed"], order.number.to_string());
        assert!(ids.insert(accepted.id), "two orders are one task");
        if task["pexit"] == out_of_attempts.as_str() {
            client.reason(&accepted.token).await;
            continue;
        }
        client.picture(&task).await;
        succeeded += 1;
        let url = task["outputs"][0]["url"].as_str().expect("a text");
        let (_, path) = url.split_once("://").expect("an absolute address");
        let (_, path) = path.split_once('/').expect("a path");
        assert!(addresses.insert(path.to_owned()), "{url} is of two tasks");
    }
    assert!(succeeded > 0, "nothing was drawn");
    succeeded
}

/// The end of every task was reported, under one id however often that had to be tried.
pub async fn all_were_reported(receiver: &Receiver, ledger: &Ledger) {
    for _ in 0..LOOKS {
        let mut reports: HashMap<String, HashSet<String>> = HashMap::new();
        for call in receiver.calls() {
            let report = call.json();
            let task = report["taskid"].as_str().expect("a text").to_owned();
            reports
                .entry(task)
                .or_default()
                .insert(call.id().to_owned());
        }
        let mut orders = ledger.all().into_iter();
        if orders.all(|(_, accepted)| reports.contains_key(&accepted.id)) {
            assert!(reports.values().all(|ids| ids.len() == 1), "{reports:?}");
            let ids: HashSet<_> = reports.values().flatten().collect();
            assert_eq!(
                ids.len(),
                reports.len(),
                "two tasks have one id: {reports:?}"
            );
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    panic!("an end was not reported");
}

/// What a run costs in these tests.
const PRICE_MICROS: i64 = 40_000;

/// What the project has before.
const BALANCE_MICROS: i64 = 1_000_000_000;

/// The store of a place where no server runs.
fn store(place: &Place) -> SqliteStore {
    SqliteStore::open(&place.data().join("tintype.db")).expect("the database opens")
}

/// Runs of the first project cost something from now on.
pub async fn put_a_price_on_runs(place: &Place) {
    let change = AccountChange {
        balance: Some(BalanceChange::Set(BALANCE_MICROS)),
        prices: vec![(Priced::Any, Some(PRICE_MICROS))],
        ..AccountChange::default()
    };
    let changed = store(place).change_account(ProjectId(1), change).await;
    changed.expect("the store takes it");
}

/// Every success was paid for once, and nothing else. Only while no server runs.
pub async fn money_adds_up(place: &Place, succeeded: usize) {
    let account = store(place).account(ProjectId(1)).await;
    let account = account.expect("the store answers").expect("a project");
    let spent = PRICE_MICROS * i64::try_from(succeeded).expect("few tasks");
    assert_eq!(account.spent_micros, spent);
    assert_eq!(account.balance_micros, Some(BALANCE_MICROS - spent));
    assert_eq!((account.active, account.reserved_micros), (0, 0));
}

/// Every task on record, asked for or not, has a history in which nothing is missing or twice.
/// Only while no server runs.
pub async fn histories_are_whole(place: &Place) -> usize {
    let store = store(place);
    let mut tasks = 0;
    for number in 1.. {
        let task = TaskRef::Id(TaskId(number));
        let Some(record) = store.detail(&task, None).await.expect("the store answers") else {
            break;
        };
        let history = store
            .history(&task, None, 0)
            .await
            .expect("the store answers");
        let history = history.expect("the task has a history");
        let numbers: Vec<u32> = history.iter().map(|event| event.number).collect();
        let expected: Vec<u32> = (1..).take(numbers.len()).collect();
        assert_eq!(numbers, expected, "task {number}: numbered without a gap");
        let states: Vec<TaskState> = history
            .iter()
            .filter_map(|event| state(&event.kind))
            .collect();
        let ends = states.iter().filter(|state| state.is_final()).count();
        assert_eq!(
            ends,
            usize::from(record.state.is_final()),
            "task {number}: {states:?}"
        );
        assert_eq!(states.last(), Some(&record.state), "task {number}");
        let times: Vec<_> = history.iter().map(|event| event.at).collect();
        assert!(times.is_sorted(), "task {number}: {history:?}");
        tasks += 1;
    }
    let stats = store.tool_stats().await.expect("the store answers");
    let runs: u64 = stats.iter().map(|(_, stats)| stats.runs).sum();
    let ends: u64 = stats
        .iter()
        .map(|(_, stats)| stats.successes + stats.failures)
        .sum();
    assert_eq!((runs, ends), (tasks, tasks), "each was counted once");
    usize::try_from(tasks).expect("few tasks")
}

fn state(kind: &EventKind) -> Option<TaskState> {
    match kind {
        EventKind::Entered { state } => Some(*state),
        EventKind::Progress { .. } => None,
    }
}
