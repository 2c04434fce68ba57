//! Limits, prices and balances.

use tintype_domain::{Account, Price, Priced, Refusal};

use super::*;
use crate::{AccountChange, BalanceChange};

/// The project of the checks, with this balance, and this price on everything.
async fn with_money(bench: &Bench, balance_micros: i64, price_micros: i64) -> Account {
    let change = AccountChange {
        balance: Some(BalanceChange::Set(balance_micros)),
        prices: vec![(Priced::Any, Some(price_micros))],
        ..AccountChange::default()
    };
    bench.change(change).await
}

fn refusal(submitted: Result<Task, Error>) -> Refusal {
    match submitted {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// As many submissions at once, and how many were refused.
async fn refused_of(bench: &Bench, submissions: usize) -> usize {
    let submit = |_| {
        let store = Arc::clone(&bench.store);
        let task = new_task(bench.project);
        tokio::spawn(async move { store.submit(task, START).await })
    };
    let mut refused = 0;
    for submitted in (0..submissions).map(submit).collect::<Vec<_>>() {
        match submitted.await.expect("the submitter is well") {
            Ok(_) => {}
            Err(Error::Refused(_)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    refused
}

pub(super) async fn a_new_project_has_no_limits(bench: &Bench) {
    assert_eq!(bench.account().await, Account::default());
    let prices = bench.store.prices(bench.project).await.expect("prices");
    assert_eq!(prices, []);
    let nobody = ProjectId(99);
    let account = bench.store.account(nobody).await.expect("account");
    assert_eq!(account, None);
    let change = bench
        .store
        .change_account(nobody, AccountChange::default())
        .await;
    assert_rejected(change);
}

pub(super) async fn a_concurrency_limit_holds_against_a_race(bench: &Bench) {
    let change = AccountChange {
        concurrency: Some(Some(5)),
        ..AccountChange::default()
    };
    bench.change(change).await;
    assert_eq!(refused_of(bench, 30).await, 25);
    assert_eq!(bench.account().await.active, 5);

    let claimed = bench.claim(after(1)).await;
    let another = bench.store.submit(new_task(bench.project), START).await;
    let expected = Refusal::ConcurrencyLimit {
        limit: 5,
        balance_micros: None,
    };
    assert_eq!(refusal(another), expected, "running tasks count as well");
    bench.complete(&claimed[0], failure()).await;
    bench.submit().await;

    let other = bench.project("second").await;
    let elsewhere = bench.store.submit(new_task(other), START).await;
    elsewhere.expect("the limit is one project's");
    let lifted = AccountChange {
        concurrency: Some(None),
        ..AccountChange::default()
    };
    bench.change(lifted).await;
    bench.submit().await;
    assert_eq!(bench.account().await.active, 6);
}

pub(super) async fn a_balance_is_never_promised_twice(bench: &Bench) {
    with_money(bench, 100, 30).await;
    assert_eq!(refused_of(bench, 20).await, 17);
    assert_eq!(bench.account().await.available_micros(), Some(10));
    let another = bench.store.submit(new_task(bench.project), START).await;
    let expected = Refusal::InsufficientBalance {
        available_micros: 10,
        price_micros: 30,
    };
    assert_eq!(refusal(another), expected);
    let funds = AccountChange {
        balance: Some(BalanceChange::Add(20)),
        ..AccountChange::default()
    };
    bench.change(funds.clone()).await;
    bench.submit().await;

    let unlimited = AccountChange {
        balance: Some(BalanceChange::Unlimited),
        ..AccountChange::default()
    };
    assert_eq!(bench.change(unlimited).await.balance_micros, None);
    assert_rejected(bench.store.change_account(bench.project, funds).await);
}

pub(super) async fn only_a_success_is_paid_for_and_once(bench: &Bench) {
    with_money(bench, 1_000, 40).await;
    let costs = async |task: &Task| bench.detail(task.id).await.cost_micros;

    let lucky = bench.running().await;
    assert_eq!(bench.account().await.available_micros(), Some(960));
    with_money(bench, 1_000, 70).await; // the price of later tasks
    bench.complete(&lucky, success(&lucky)).await;
    bench.complete(&lucky, success(&lucky)).await;
    assert_eq!(costs(&lucky).await, 40);

    let unlucky = bench.running().await;
    bench.complete(&unlucky, failure()).await;
    assert_eq!(costs(&unlucky).await, 0);
    let stopped = bench.running().await;
    bench.complete(&stopped, Outcome::Cancelled).await;
    let waiting = TaskRef::Id(bench.submit().await.id);
    let cancelled = bench
        .store
        .cancel(&waiting, bench.project, crate::Standing::Queued, START);
    cancelled.await.expect("cancel");
    let given_back = bench.running().await;
    bench.release(&given_back).await;
    let again = bench.claim(START).await.remove(0);
    bench.complete(&again, success(&again)).await;
    assert_eq!(costs(&again).await, 70, "however many attempts it took");
    bench.submit().await;
    for attempt in 1..=i64::from(MAX_ATTEMPTS) {
        bench.claim(after(attempt * 100)).await;
        bench.reap(after(attempt * 100 + 50)).await;
    }

    let account = bench.account().await;
    assert_eq!(account.balance_micros, Some(1_000 - 40 - 70));
    assert_eq!(account.spent_micros, 40 + 70);
    assert_eq!((account.active, account.reserved_micros), (0, 0));
}

pub(super) async fn each_picture_is_paid_for_but_none_that_was_withheld(bench: &Bench) {
    with_money(bench, 100, 30).await;
    let several = |pictures| NewTask {
        pictures,
        ..new_task(bench.project)
    };
    let refused = bench.store.submit(several(4), START).await;
    let expected = Refusal::InsufficientBalance {
        available_micros: 100,
        price_micros: 120,
    };
    assert_eq!(refusal(refused), expected);
    let accepted = bench.store.submit(several(3), START).await;
    accepted.expect("the store answers");
    assert_eq!(bench.account().await.available_micros(), Some(10));
    let task = bench.claim(START).await.remove(0);
    let Outcome::Succeeded { outputs, maker, .. } = success(&task) else {
        unreachable!("a success");
    };
    let outcome = Outcome::Succeeded {
        outputs,
        withheld: 2,
        maker,
        debug_error: "two were withheld".to_owned(),
    };
    bench.complete(&task, outcome).await;
    assert_eq!(bench.detail(task.id).await.cost_micros, 30);
    let account = bench.account().await;
    assert_eq!(account.balance_micros, Some(70));
    assert_eq!(account.reserved_micros, 0);
}

pub(super) async fn prices_are_each_tool_s_or_everyone_s(bench: &Bench) {
    let tool = |model| Priced::Tool(ToolSlug::new("owner", model));
    let change = AccountChange {
        prices: vec![
            (Priced::Any, Some(7)),
            (tool("other"), Some(9)),
            (tool("gone"), Some(1)),
            (tool("gone"), None),
        ],
        ..AccountChange::default()
    };
    bench.change(change).await;
    let listed = bench.store.prices(bench.project).await.expect("prices");
    let price = |of, micros| Price { of, micros };
    assert_eq!(listed, [price(Priced::Any, 7), price(tool("other"), 9)]);
    bench.submit().await;
    assert_eq!(bench.account().await.reserved_micros, 7);
    let mut other = new_task(bench.project);
    other.tool = ToolSlug::new("owner", "other");
    bench.store.submit(other, START).await.expect("submit");
    assert_eq!(bench.account().await.reserved_micros, 16);
}
