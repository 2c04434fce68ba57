//! Bad attempts: bounded for each address, and never a lockout of those who have good keys.

use axum::body::Body;
use axum::http::{Method, Request};
use tintype_domain::AuthKind;
use tintype_server::Options;
use tintype_service::{Networks, ProjectKeys};

use crate::house::{Answer, DETAIL, House, RUN, request};

const ELSEWHERE: &str = "198.51.100.1:40000";

/// More than an address has, however far the house's clock ticks meanwhile.
const MANY: usize = 200;

fn run_with(key: &str) -> Request<Body> {
    let body = Body::from(r#"{"prompt": "x"}"#);
    request(Method::POST, RUN, &[("x-api-key", key)], body)
}

fn is_throttled(answer: &Answer) -> bool {
    let throttled = answer.header("retry-after") == "1";
    assert_eq!(throttled, answer.header("connection") == "close");
    throttled
}

/// Tries bad keys until it is told to wait, and returns how many it took.
async fn exhaust(house: &House, remote: &str) -> usize {
    for number in 0..MANY {
        let answer = house.send_from(remote, run_with(&number.to_string())).await;
        let expected = (401, 0, "Project authorization is not founded.".to_owned());
        assert_eq!(answer.error(), expected, "the sentence stays the same");
        if is_throttled(&answer) {
            return number;
        }
    }
    panic!("never told to wait");
}

async fn accepted(house: &House, remote: &str, keys: &ProjectKeys) {
    let answer = house.send_from(remote, run_with(&keys.api_key)).await;
    assert_eq!(answer.json()["result"], true);
    assert_eq!(answer.header("retry-after"), "");
}

#[tokio::test]
async fn good_keys_pass_from_an_address_that_has_spent_its_attempts() {
    let house = House::build().await;
    let keys = house.project("by key", AuthKind::Key, &[]).await;
    assert!(exhaust(&house, ELSEWHERE).await >= 30);
    accepted(&house, ELSEWHERE, &keys).await;
    // The house's clock ticks with each look at it, so one attempt or the other is forgiven.
    assert!(exhaust(&house, ELSEWHERE).await < 10);
    let other = house.send_from("198.51.100.2:40000", run_with("no")).await;
    assert!(!is_throttled(&other), "another address has its own");
}

#[tokio::test]
async fn every_way_of_failing_counts() {
    let keys_from = async |house: &House| {
        let inside = house.project("inside", AuthKind::Key, &["10.0.0.0/8"]);
        [
            house.keys.api_key.clone(),
            inside.await.api_key,
            String::new(),
        ]
    };
    for way in 0..3 {
        let house = House::build().await;
        let key = &keys_from(&house).await[way];
        let mut throttled = false;
        for _ in 0..MANY {
            let answer = house.send_from(ELSEWHERE, run_with(key)).await;
            assert_eq!(answer.error().0, 401);
            throttled |= is_throttled(&answer);
        }
        assert!(throttled, "way {way}");
    }
}

#[tokio::test]
async fn what_good_clients_get_wrong_is_not_held_against_them() {
    let house = House::build().await;
    for _ in 0..MANY {
        let answer = house.post(DETAIL, r#"{"taskid": "9"}"#).await;
        assert_eq!(answer.error().1, 1);
        assert!(!is_throttled(&answer));
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_caller_counts_for_itself() {
    let trusted_proxies = Networks::parse(["10.0.0.1"]).expect("a network");
    let house = House::with(Options {
        trusted_proxies,
        ..Options::default()
    });
    let house = house.await;
    let near = house.project("near", AuthKind::Key, &["203.0.113.9"]).await;
    let through = async |peer: &str, caller: &str, key: &str| {
        let mut request = run_with(key);
        let value = caller.parse().expect("a header");
        request.headers_mut().insert("x-forwarded-for", value);
        house.send_from(peer, request).await
    };
    for _ in 0..MANY {
        through("10.0.0.1:9", "198.51.100.1", "no").await;
    }
    let told = async |caller| {
        let mut told = 0;
        for _ in 0..10 {
            told += u32::from(is_throttled(&through("10.0.0.1:9", caller, "no").await));
        }
        told > 0
    };
    assert!(told("198.51.100.1").await);
    assert!(
        told("6.6.6.6, 198.51.100.1").await,
        "what it made up is not believed"
    );
    assert!(!told("198.51.100.2").await);

    let answer = through("10.0.0.1:9", "203.0.113.9", &near.api_key).await;
    assert_eq!(answer.json()["result"], true);
    let answer = through("192.0.2.7:9", "203.0.113.9", &near.api_key).await;
    let expected = "Requested ip 192.0.2.7 is not allowed.";
    assert_eq!(answer.error().2, expected, "not a proxy of ours");
}
