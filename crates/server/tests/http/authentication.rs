//! Who is let in, and what the others hear.

use axum::body::Body;
use axum::http::Method;
use tintype_domain::AuthKind;

use crate::house::{DETAIL, House, RUN, request, sign};

const BODY: &str = r#"{"prompt": "x"}"#;

async fn refused(house: &House, path: &str, headers: &[(&str, &str)]) -> (u16, u64, String) {
    house
        .send(request(Method::POST, path, headers, Body::from(BODY)))
        .await
        .error()
}

#[tokio::test]
async fn strangers_hear_that_their_key_is_unknown() {
    let house = House::build().await;
    let expected = (401, 0, "Project authorization is not founded.".to_owned());
    for path in [RUN, DETAIL] {
        assert_eq!(refused(&house, path, &[]).await, expected);
        assert_eq!(
            refused(&house, path, &[("x-api-key", "nobody")]).await,
            expected
        );
        assert_eq!(refused(&house, path, &[("x-api-key", "")]).await, expected);
    }
}

#[tokio::test]
async fn a_signature_is_required_and_checked() {
    let house = House::build().await;
    let key = house.keys.api_key.as_str();
    let missing = "Project requires signature authentication. \
                   x-signature and x-nonce headers are required.";
    assert_eq!(
        refused(&house, RUN, &[("x-api-key", key)]).await,
        (401, 0, missing.to_owned())
    );
    let other_nonce = sign(&house.keys, "43");
    for signature in [other_nonce.as_str(), "nonsense", &"0".repeat(64)] {
        let headers = [
            ("x-api-key", key),
            ("x-nonce", "42"),
            ("x-signature", signature),
        ];
        let expected = (401, 0, "Project authorization is not valid.".to_owned());
        assert_eq!(
            refused(&house, RUN, &headers).await,
            expected,
            "{signature}"
        );
    }
}

#[tokio::test]
async fn the_prefix_of_openssl_is_part_of_a_good_signature() {
    let house = House::build().await;
    let signature = sign(&house.keys, "1734513807");
    for header in [
        signature.clone(),
        signature.to_uppercase(),
        format!("SHA2-256(stdin)= {signature}"),
        format!("(stdin)= {signature}"),
        format!("{signature} *stdin"),
    ] {
        let headers = [
            ("x-api-key", house.keys.api_key.as_str()),
            ("x-nonce", "1734513807"),
            ("x-signature", &header),
        ];
        let answer = house
            .send(request(Method::POST, RUN, &headers, Body::from(BODY)))
            .await;
        assert_eq!(answer.json()["result"], true, "{header}");
    }
}

#[tokio::test]
async fn a_key_project_needs_nothing_else_and_ignores_more() {
    let house = House::build().await;
    let keys = house.project("by key", AuthKind::Key, &[]).await;
    assert_eq!(
        house.post_with_key(&keys, RUN, BODY).await.json()["result"],
        true
    );
    let headers = [
        ("x-api-key", keys.api_key.as_str()),
        ("x-nonce", "1"),
        ("x-signature", "no"),
    ];
    let answer = house
        .send(request(Method::POST, RUN, &headers, Body::from(BODY)))
        .await;
    assert_eq!(answer.json()["result"], true);
}

#[tokio::test]
async fn networks_are_named_when_they_are_refused() {
    let house = House::build().await;
    let keys = house
        .project("inside", AuthKind::Key, &["10.0.0.0/8"])
        .await;
    let expected = (401, 0, "Requested ip 192.0.2.7 is not allowed.".to_owned());
    assert_eq!(
        house.post_with_key(&keys, RUN, BODY).await.error(),
        expected
    );
    let keys = house
        .project("near", AuthKind::Key, &["10.0.0.0/8", "192.0.2.0/24"])
        .await;
    assert_eq!(
        house.post_with_key(&keys, RUN, BODY).await.json()["result"],
        true
    );
}

#[tokio::test]
async fn a_project_sees_its_own_tasks_only() {
    let house = House::build().await;
    let token = house.submitted().await;
    let other = house.project("other", AuthKind::Key, &[]).await;
    let unknown = (200, 1, "There is no task yet.".to_owned());
    for body in [
        format!(r#"{{"tasktoken": "{token}"}}"#),
        r#"{"taskid": "1"}"#.to_owned(),
    ] {
        assert_eq!(
            house.post_with_key(&other, DETAIL, &body).await.error(),
            unknown
        );
        assert_eq!(house.post(DETAIL, body).await.json()["total"], "1");
    }
}
