//! Guarded calls to servers on this machine that answer as badly as servers can.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

mod fetching;
mod posting;
mod table;
mod targets;

/// Long enough for a busy machine; tests that need the limit set their own.
const PATIENCE: Duration = Duration::from_secs(30);

fn limits() -> GetLimits {
    GetLimits {
        total_timeout: PATIENCE,
        max_megabytes: 1,
    }
}

/// A client that may connect to these beside the public internet.
fn client_for(allowed: &[&str]) -> GuardedClient {
    let allowed = AllowedTargets::parse(allowed.iter().copied()).expect("targets");
    GuardedClient::new(&GuardConfig {
        allowed,
        ..GuardConfig::default()
    })
}

/// One that may connect to the servers of these tests.
fn client() -> GuardedClient {
    client_for(&["127.0.0.1"])
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

async fn read_head(connection: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.expect("a request"));
    }
    String::from_utf8(head).expect("a text")
}

fn redirect(location: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")
}

async fn fetched(url: &str) -> Result<Bytes, String> {
    let got = client().get(url, &limits()).await;
    got.map_err(|error| error.to_string())
}

async fn refused(client: &GuardedClient, url: &str) -> String {
    let error = client.get(url, &limits()).await.expect_err("refused");
    match error {
        GuardedError::Refused(host) => host,
        other => panic!("{url}: {other}"),
    }
}
