//! Concurrency limits, balances and prices.

use futures::future::join_all;
use serde_json::{Value, json};
use tintype_domain::{AuthKind, ExitCode, Outcome, Priced, ToolSlug};
use tintype_service::ProjectKeys;
use tintype_store::{AccountChange, BalanceChange};

use crate::house::{DETAIL, House, RUN};

const BODY: &str = r#"{"prompt": "a red circle", "seed": 7}"#;

/// A project with these limits.
async fn shop(house: &House, change: AccountChange) -> ProjectKeys {
    let keys = house.project("shop", AuthKind::Key, &[]).await;
    set(house, change).await;
    keys
}

async fn set(house: &House, change: AccountChange) {
    let changed = house.service.change_project("shop", change).await;
    changed.expect("changed");
}

async fn task(house: &House, keys: &ProjectKeys, id: &Value) -> Value {
    let body = json!({ "taskid": id }).to_string();
    house.post_with_key(keys, DETAIL, &body).await.json()["tasklist"][0].clone()
}

#[tokio::test]
async fn the_concurrency_limit_is_told_as_published() {
    let house = House::build().await;
    let limits = AccountChange {
        concurrency: Some(Some(5)),
        balance: Some(BalanceChange::Set(50_000_000)),
        ..AccountChange::default()
    };
    let keys = shop(&house, limits).await;
    let runs = (0..12).map(|_| house.post_with_key(&keys, RUN, BODY));
    let answers = join_all(runs).await;
    let (accepted, refused): (Vec<_>, Vec<_>) =
        (answers.iter()).partition(|answer| answer.json()["result"] == true);
    assert_eq!(accepted.len(), 5, "no race overshoots it");
    let sentence = "You have reached your concurrent task limit. With your current balance of \
                    $50.00, you can run up to 5 tasks at the same time. Add funds to increase \
                    your limit.";
    for answer in refused {
        assert_eq!(answer.error(), (200, 96, sentence.to_owned()));
    }
    let running = house.claimed().await;
    let still = house.post_with_key(&keys, RUN, BODY).await;
    assert_eq!(still.error().1, 96, "a running task counts");
    house.succeed(&running, b"a picture").await;
    let next = house.post_with_key(&keys, RUN, BODY).await;
    assert_eq!(next.json()["result"], true);
}

#[tokio::test]
async fn a_success_is_charged_and_nothing_else() {
    let house = House::build().await;
    let limits = AccountChange {
        balance: Some(BalanceChange::Set(100_000)),
        prices: vec![(Priced::Any, Some(40_000))],
        ..AccountChange::default()
    };
    let keys = shop(&house, limits).await;
    let first = house.post_with_key(&keys, RUN, BODY).await.json();
    house.post_with_key(&keys, RUN, BODY).await;
    let sentence = "Insufficient balance. A run costs $0.04, and $0.02 of your balance is \
                    available. Add funds, or wait until running tasks have ended.";
    let refused = house.post_with_key(&keys, RUN, BODY).await;
    assert_eq!(refused.error(), (200, 97, sentence.to_owned()));

    let running = house.claimed().await;
    house.succeed(&running, b"a picture").await;
    assert_eq!(
        task(&house, &keys, &first["taskid"]).await["totalcost"],
        "0.040000000000"
    );
    let unlucky = house.claimed().await;
    let failed = Outcome::Failed {
        exit_code: ExitCode::ENGINE,
        debug_error: "no memory".to_owned(),
    };
    house.end(&unlucky, failed).await;
    assert_eq!(task(&house, &keys, &json!("2")).await["totalcost"], "0");
    let report = &house.service.project_reports().await.expect("reports")[1];
    assert_eq!(report.account.available_micros(), Some(60_000));
}

#[tokio::test]
async fn tools_show_the_asking_project_s_prices() {
    let house = House::build().await;
    let tool = ToolSlug::new("black-forest-labs", "flux-pro-1.1");
    let limits = AccountChange {
        prices: vec![
            (Priced::Any, Some(80_000)),
            (Priced::Tool(tool), Some(40_000)),
        ],
        ..AccountChange::default()
    };
    let keys = shop(&house, limits).await;
    let prices = |answer: Value| {
        let tools = answer["tool"].as_array().expect("a list").clone();
        let price = |tool: &Value| {
            let list: Value = serde_json::from_str(tool["dynamicprice"].as_str().expect("a text"))
                .expect("JSON in a text");
            let of = (tool["slugproject"].clone(), list[0]["price"].clone());
            (of, tool["approximatelycost"].clone())
        };
        tools.iter().map(price).collect::<Vec<_>>()
    };
    let told = |model: &str, price: &str| {
        let number: Value = serde_json::from_str(price).expect("a number");
        ((json!(model), number), json!(price))
    };
    let mut listed = prices(
        house
            .post_with_key(&keys, "/v1/Tool/List", "{}")
            .await
            .json(),
    );
    listed.sort_by_key(|((model, _), _)| model.to_string());
    let expected = [
        told("flux-kontext-max", "0.08"),
        told("flux-pro-1.1", "0.04"),
    ];
    assert_eq!(listed, expected);
    let body = json!({"slugowner": "black-forest-labs", "slugproject": "flux-pro-1.1"});
    let detail = house
        .post_with_key(&keys, "/v1/Tool/Detail", &body.to_string())
        .await;
    assert_eq!(prices(detail.json()), [told("flux-pro-1.1", "0.04")]);
    let free = house.post("/v1/Tool/Detail", body.to_string()).await.json();
    assert_eq!(
        prices(free),
        [told("flux-pro-1.1", "0")],
        "another project's are its own"
    );
}
