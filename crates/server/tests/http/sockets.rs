//! What only shows on a real socket.

use std::net::SocketAddr;
use std::time::Duration;

use tintype_server::listen::serve;
use tintype_server::{Limits, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::house::House;

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    _house: House,
}

async fn running(limits: Limits) -> Running {
    let house = House::with(Options {
        limits: limits.clone(),
        ..Options::default()
    })
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel();
    let router = house.router.clone();
    let server = tokio::spawn(async move {
        let stopped = async { drop(stopped.await) };
        serve(listener, router, &limits, stopped, Duration::from_secs(5)).await;
    });
    Running {
        address,
        stop,
        server,
        _house: house,
    }
}

async fn told(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request).await.expect("a request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_client_that_is_still_sending_hears_why_it_was_refused() {
    let running = running(Limits::default()).await;
    let body = vec![b'x'; 6 << 20];
    let head = format!(
        "POST /v1/Run/a/b HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let answer = told(running.address, &[head.as_bytes(), &body].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

#[tokio::test]
async fn a_client_that_asks_first_is_refused_without_sending() {
    let running = running(Limits::default()).await;
    let head = "POST /v1/Run/a/b HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n\
                content-length: 1000000\r\n\r\n";
    let answer = told(running.address, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

#[tokio::test]
async fn a_head_that_never_ends_is_given_up() {
    let running = running(Limits {
        head_seconds: 1,
        ..Limits::default()
    })
    .await;
    let answer = told(running.address, b"GET / HTTP/1.1\r\nhost:").await;
    assert!(!answer.contains("200 OK"), "{answer}");
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let running = running(Limits::default()).await;
    let mut stream = TcpStream::connect(running.address)
        .await
        .expect("a connection");
    let head = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "y".repeat(200_000)
    );
    // The server may close before everything is written.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
}

#[tokio::test]
async fn a_stop_answers_what_was_asked_and_takes_no_more() {
    let running = running(Limits::default()).await;
    let mut idle = TcpStream::connect(running.address)
        .await
        .expect("a connection");
    let mut asked = TcpStream::connect(running.address)
        .await
        .expect("a connection");
    let head = "POST /v1/Task/Detail HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{";
    asked
        .write_all(head.as_bytes())
        .await
        .expect("half a request");
    // The request is known to be in the server's hands once its other half is awaited; an answer
    // on another connection shows that the accept loop has passed it.
    assert!(
        told(
            running.address,
            b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        .await
        .contains("200")
    );
    running.stop.send(()).expect("the server runs");
    asked.write_all(b"}").await.expect("the other half");
    let mut answer = Vec::new();
    asked.read_to_end(&mut answer).await.expect("an answer");
    assert!(
        answer.starts_with(b"HTTP/1.1 401"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert_eq!(
        idle.read(&mut [0; 1]).await.unwrap_or(0),
        0,
        "idle connections are closed"
    );
    running.server.await.expect("the server ends by itself");
    assert!(TcpStream::connect(running.address).await.is_err());
}
