//! Posting: what a webhook needs.

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use super::*;

fn post(address: &str) -> Post {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("webhook-id", HeaderValue::from_static("msg_1"));
    Post {
        address: address.to_owned(),
        headers,
        body: Bytes::from_static(b"{\"a\":1}"),
    }
}

async fn posted(address: &str) -> (u16, Option<String>) {
    let answer = client().post(post(address), PATIENCE).await;
    let answer = answer.expect("an answer");
    (answer.status, answer.retry_after)
}

#[tokio::test]
async fn the_receiver_gets_headers_and_body() {
    let (listener, address) = listen().await;
    let receiver = async {
        let (mut connection, _) = listener.accept().await.expect("a call");
        let head = read_head(&mut connection).await.to_lowercase();
        let mut body = [0; 7];
        connection.read_exact(&mut body).await.expect("a body");
        let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 12\r\n\r\nthank you so";
        connection.write_all(answer).await.expect("sent");
        (head, body)
    };
    let address = address + "/hook";
    let ((head, body), answer) = tokio::join!(receiver, posted(&address));
    assert_eq!(answer, (202, None));
    assert!(head.starts_with("post /hook http/1.1\r\n"), "{head}");
    assert!(head.contains("webhook-id: msg_1\r\n"), "{head}");
    assert!(
        head.contains("content-type: application/json\r\n"),
        "{head}"
    );
    assert!(head.contains("content-length: 7\r\n"), "{head}");
    assert_eq!(&body, b"{\"a\":1}");
}

#[tokio::test]
async fn failures_are_answers_too_and_redirects_are_not_followed() {
    let broken =
        server("HTTP/1.1 503 No\r\nretry-after: 120\r\ncontent-length: 4\r\n\r\noops").await;
    assert_eq!(posted(&broken).await, (503, Some("120".to_owned())));
    let gone = server("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(posted(&gone).await, (410, None));
    let moved = server(redirect(&broken)).await;
    assert_eq!(posted(&moved).await, (302, None));
}

#[tokio::test]
async fn a_receiver_behind_the_guard_is_not_called() {
    let (listener, address) = listen().await;
    let guarded = client_for(&[]);
    for address in [address.as_str(), "http://localhost/", "http://[::1]/"] {
        let error = guarded.post(post(address), PATIENCE).await;
        let error = error.expect_err("refused");
        assert!(matches!(error, GuardedError::Refused(_)), "{error}");
    }
    let error = guarded.post(post("ftp://192.0.2.1/"), PATIENCE).await;
    assert!(matches!(error, Err(GuardedError::Address)));
    drop(listener);
}

#[tokio::test]
async fn a_status_stands_even_if_the_body_never_ends() {
    let (listener, address) = listen().await;
    let receiver = async {
        let (mut connection, _) = listener.accept().await.expect("a call");
        read_head(&mut connection).await;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\nok";
        connection.write_all(answer).await.expect("sent");
        connection
    };
    let client = client();
    let (_open, answer) = tokio::join!(receiver, client.post(post(&address), PATIENCE));
    assert_eq!(answer.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_receiver_that_says_nothing_is_given_up() {
    let (silent, address) = listen().await;
    let limit = Duration::from_millis(50);
    let error = client().post(post(&address), limit).await;
    assert_eq!(
        error.expect_err("given up").to_string(),
        "127.0.0.1 did not answer in full within 50ms."
    );
    drop(silent);
}
