//! Bodies as clients really send them, through the whole border.

use axum::body::Body;
use axum::http::Method;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tintype_domain::AuthKind;
use tintype_server::{Limits, Options};

use crate::house::{Answer, DETAIL, House, RUN, request};

async fn post_as(house: &House, path: &str, content_type: &str, body: impl Into<Body>) -> Answer {
    let keys = house.project("bodies", AuthKind::Key, &[]).await;
    let headers = [
        ("x-api-key", keys.api_key.as_str()),
        ("content-type", content_type),
    ];
    house
        .send(request(Method::POST, path, &headers, body.into()))
        .await
}

#[tokio::test]
async fn raw_json_under_a_multipart_header_runs() {
    let house = House::build().await;
    let body = r#"{ "prompt": "x", "callbackUrl": "You can provide a callback URL" }"#;
    let answer = post_as(&house, RUN, "multipart/form-data", body).await;
    assert_eq!(answer.json()["result"], true);
}

#[tokio::test]
async fn real_multipart_with_a_picture_runs() {
    let house = House::build().await;
    let body = "--b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\nx\r\n\
                --b\r\nContent-Disposition: form-data; name=\"inputImage\"; filename=\"a.png\"\r\n\
                Content-Type: application/octet-stream\r\n\r\nnot looked at yet\r\n--b--\r\n";
    let path = "/v1/Run/black-forest-labs/flux-kontext-max";
    let answer = post_as(&house, path, "multipart/form-data; boundary=b", body).await;
    assert_eq!(answer.json()["result"], true, "{}", answer.json());
}

#[tokio::test]
async fn the_unquoted_token_of_the_documented_line_is_understood() {
    let house = House::build().await;
    let token = house.submitted().await;
    let body = format!("{{\n  \"tasktoken\": {token},\n}}");
    assert_eq!(house.post(DETAIL, body).await.json()["total"], "1");
    let not_for_runs = house.post(RUN, "{ \"prompt\": x, }").await.error();
    assert_eq!(
        not_for_runs,
        (200, 0, "Request parameters are invalid.".to_owned())
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let limits = Limits {
        body_bytes: 1000,
        ..Limits::default()
    };
    let house = House::with(Options {
        limits,
        ..Options::default()
    })
    .await;
    let body = format!("{{\"prompt\": \"{}\"}}", "x".repeat(1000));
    let expected = (
        413,
        0,
        "The request body is larger than 1000 bytes.".to_owned(),
    );
    assert_eq!(house.post(RUN, body).await.error(), expected);
    let long_question = format!("{{\"tasktoken\": \"{}\"}}", "x".repeat(100_000));
    assert_eq!(house.post(DETAIL, long_question).await.error().0, 413);
}

/// Bodies put together from pieces that mean something, in an order that does not.
#[tokio::test]
async fn no_body_whatever_is_the_fault_of_the_server() {
    const PIECES: [&[u8]; 22] = [
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b":",
        b",",
        b"\"prompt\"",
        b"\"seed\"",
        b"x",
        b"=",
        b"&",
        b"--b\r\n",
        b"--b--",
        b"\r\n\r\n",
        b"Content-Disposition: form-data; name=\"prompt\"\r\n",
        b"; filename=\"",
        b"\xff\xfe",
        b"\0",
        b"1e999",
        b"null",
        b"\\u12",
    ];
    const HEADERS: [&str; 6] = [
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=b",
        "multipart/form-data; boundary=",
        "application/x-www-form-urlencoded",
        "\u{7f}",
    ];
    let house = House::build().await;
    let keys = house.project("noise", AuthKind::Key, &[]).await;
    let mut rng = StdRng::seed_from_u64(7);
    for _ in 0..600 {
        let length = rng.random_range(0..12);
        let body: Vec<u8> = (0..length)
            .flat_map(|_| PIECES[rng.random_range(0..PIECES.len())])
            .copied()
            .collect();
        let header = HEADERS[rng.random_range(0..HEADERS.len())];
        let path = [RUN, DETAIL][rng.random_range(0..2)];
        let mut request = request(
            Method::POST,
            path,
            &[("x-api-key", &keys.api_key)],
            Body::from(body.clone()),
        );
        if let Ok(value) = header.parse() {
            request.headers_mut().insert("content-type", value);
        }
        let answer = house.send(request).await;
        let shown = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(answer.status, 200, "{header} {shown}");
        assert!(answer.json()["result"].is_boolean(), "{header} {shown}");
    }
}
