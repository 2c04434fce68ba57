//! A receiver of webhooks on a port of its own, that answers as a test says.

use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a receiver does with a call.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Answers with this status.
    Status(u16),
    /// A status and one header line.
    With(u16, String),
    /// A status and a body.
    Says(u16, String),
    /// The beginning of a body that never ends.
    BreaksOff,
    /// Takes the call and says nothing.
    Silence,
}

/// A call as it arrived.
#[derive(Debug, Clone)]
pub struct Call {
    head: String,
    /// Its body.
    pub body: String,
}

impl Call {
    async fn read(connection: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        loop {
            if connection.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let call = Self {
                head: head.to_owned(),
                body: body.to_owned(),
            };
            let length: usize = call.header("content-length").parse().expect("a length");
            if body.len() >= length {
                return Some(call);
            }
        }
    }

    /// The value of a header, empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.trim())
    }

    /// The report's id.
    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    /// The body, which must be JSON.
    ///
    /// # Panics
    /// When it is not.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// The receiver. Dropping it closes its port and all connections.
pub struct Receiver {
    /// Where it listens.
    pub url: String,
    calls: watch::Receiver<Vec<Call>>,
    accepting: JoinHandle<()>,
}

impl Receiver {
    /// Answers every call with this status.
    pub async fn always(status: u16) -> Self {
        Self::start(move |_| Answer::Status(status)).await
    }

    /// Answers the call with this number, counted from zero, as `script` says.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let (sender, calls) = watch::channel(Vec::new());
        let accepting = tokio::spawn(accept(listener, Arc::new(script), sender));
        Self {
            url,
            calls,
            accepting,
        }
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.borrow().clone()
    }

    /// The calls when there are this many.
    ///
    /// # Panics
    /// When the receiver is gone.
    pub async fn called(&self, times: usize) -> Vec<Call> {
        let mut calls = self.calls.clone();
        let enough = calls.wait_for(|calls| calls.len() >= times).await;
        enough.expect("the receiver lives").clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    script: Arc<impl Fn(usize) -> Answer + Send + Sync + 'static>,
    calls: watch::Sender<Vec<Call>>,
) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((mut connection, _)) = listener.accept().await {
        let (script, calls) = (Arc::clone(&script), calls.clone());
        connections.spawn(async move {
            let Some(call) = Call::read(&mut connection).await else {
                return;
            };
            let mut number = 0;
            calls.send_modify(|calls| {
                number = calls.len();
                calls.push(call);
            });
            let (status, line, body) = match script(number) {
                Answer::Status(status) => (status, String::new(), String::new()),
                Answer::With(status, line) => (status, format!("{line}\r\n"), String::new()),
                Answer::Says(status, body) => (status, String::new(), body),
                Answer::BreaksOff => {
                    let beginning = b"HTTP/1.1 200 So\r\ncontent-length: 999\r\n\r\n{";
                    let _ = connection.write_all(beginning).await;
                    return;
                }
                Answer::Silence => return std::future::pending().await,
            };
            let answer = format!(
                "HTTP/1.1 {status} So\r\n{line}content-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = connection.write_all(answer.as_bytes()).await;
        });
    }
}
