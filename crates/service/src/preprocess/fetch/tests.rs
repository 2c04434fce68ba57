//! Fetching from servers on this machine that answer as badly as servers can.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Long enough for a busy machine; tests that need the limit set their own.
fn limits() -> FetchLimits {
    FetchLimits {
        danger_allow_private_addresses: true,
        ..FetchLimits::default()
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, format!("http://{address}"))
}

/// Answers every connection with the same bytes, then closes it.
async fn server(answer: impl Into<Vec<u8>>) -> String {
    let (listener, address) = listen().await;
    let answer = answer.into();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            read_head(&mut connection).await;
            // The client may hang up first, once it has seen enough.
            drop(connection.write_all(&answer).await);
            drop(connection.shutdown().await);
        }
    });
    address
}

async fn read_head(connection: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.expect("a request"));
    }
}

fn redirect(location: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")
}

async fn fetched(url: &str) -> Result<Bytes, String> {
    Fetcher::new(limits())
        .fetch(url)
        .await
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_picture_is_fetched_also_behind_a_redirect() {
    let there = server("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    assert_eq!(fetched(&there).await, Ok(Bytes::from_static(b"hello")));
    let elsewhere = server(redirect(&there)).await;
    assert_eq!(fetched(&elsewhere).await, Ok(Bytes::from_static(b"hello")));
}

#[tokio::test]
async fn private_addresses_are_refused_however_they_are_written() {
    let fetcher = Fetcher::new(FetchLimits::default());
    for url in [
        "http://127.0.0.1:9/a.png",
        "http://localhost:9/a.png",
        "http://2130706433:9/a.png",
        "http://0x7f.1:9/a.png",
        "http://[::1]:9/a.png",
        "http://[::ffff:10.0.0.1]/a.png",
        "http://169.254.169.254/latest/meta-data",
        "https://192.168.1.1/a.png",
    ] {
        let error = fetcher.fetch(url).await.expect_err("refused");
        assert!(matches!(error, FetchError::Private(_)), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_redirect_does_not_lead_to_where_the_client_may_not_go() {
    let elsewhere = server(redirect("http://127.0.0.2:9/secret")).await;
    let mut fetcher = Fetcher::new(FetchLimits::default());
    fetcher.admits = |address| address == IpAddr::V4(Ipv4Addr::LOCALHOST);
    let error = fetcher.fetch(&elsewhere).await.expect_err("refused");
    assert!(
        matches!(&error, FetchError::Private(host) if host == "127.0.0.2"),
        "{error}"
    );
}

#[tokio::test]
async fn redirects_stay_with_http_and_come_to_an_end() {
    let to_a_file = server(redirect("file:///etc/passwd")).await;
    assert_eq!(
        fetched(&to_a_file).await,
        Err(FetchError::Address.to_string())
    );
    let in_a_circle = server(redirect("/again")).await;
    let expected = "127.0.0.1 redirects too often.";
    assert_eq!(fetched(&in_a_circle).await, Err(expected.to_owned()));
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let (listener, address) = listen().await;
    let limit = Duration::from_millis(50);
    let fetcher = Fetcher::new(FetchLimits {
        total_timeout: limit,
        ..limits()
    });
    let error = fetcher.fetch(&address).await.expect_err("given up");
    assert_eq!(
        error.to_string(),
        "127.0.0.1 did not answer in full within 50ms."
    );
    drop(listener);
}

#[tokio::test]
async fn errors_of_the_server_are_told() {
    let missing = server("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(
        fetched(&missing).await,
        Err("127.0.0.1 answered with status 404.".to_owned())
    );
    let broken = server("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this").await;
    let expected = "127.0.0.1 broke off in the middle of the answer.";
    assert_eq!(fetched(&broken).await, Err(expected.to_owned()));
    let (listener, nobody) = listen().await;
    drop(listener);
    let expected = "127.0.0.1 cannot be reached. Check the address.";
    assert_eq!(fetched(&nobody).await, Err(expected.to_owned()));
}

#[tokio::test]
async fn no_more_is_read_than_a_picture_may_have() {
    let too_large = Err("127.0.0.1 sends more than 20 MB.".to_owned());
    let announced = server("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n").await;
    assert_eq!(fetched(&announced).await, too_large);
    let mut answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
    answer.resize(answer.len() + MAX_IMAGE_BYTES + 1, b'x');
    assert_eq!(fetched(&server(answer).await).await, too_large);
}
