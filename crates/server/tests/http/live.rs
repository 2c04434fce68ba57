//! A house with a real socket in front of it, and a websocket client.

use std::net::SocketAddr;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tintype_domain::{TaskRef, TaskState, TaskToken};
use tintype_server::Options;
use tintype_server::listen::serve;
use tintype_store::Store;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::house::House;

/// What a client that reads slowly takes at once, in bytes.
const SMALL_BUFFER: u32 = 4096;

pub struct Live {
    pub house: House,
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Live {
    pub async fn start(options: Options) -> Self {
        Self::over(House::with(options.clone()).await, &options).await
    }

    /// The same with a house that stands.
    pub async fn over(house: House, options: &Options) -> Self {
        let limits = options.limits.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let router = house.router.clone();
        let server = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            serve(listener, router, &limits, stopped, Duration::from_secs(600)).await;
        });
        Self {
            house,
            address,
            stop,
            server,
        }
    }

    pub async fn connect(&self) -> Client {
        Client::connect(self.address, "/v1").await
    }

    /// A client whose operating system takes little from the line before it is read.
    pub async fn connect_small(&self) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .set_recv_buffer_size(SMALL_BUFFER)
            .expect("a small buffer");
        let stream = socket.connect(self.address).await.expect("a connection");
        Client::over(stream, "/v1").await
    }

    /// Tells the server to stop.
    pub fn stop(self) -> JoinHandle<()> {
        self.stop.send(()).expect("the server runs");
        self.server
    }
}

pub fn by_token(token: &str) -> TaskRef {
    TaskRef::Token(TaskToken(token.to_owned()))
}

impl House {
    /// Waits until a task stands there.
    pub async fn reached(&self, token: &str, state: TaskState) {
        loop {
            let task = self.store.detail(&by_token(token), None).await;
            let task = task.expect("an answer").expect("the task is there");
            if task.state == state {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// The types of events.
pub fn types(events: &[Value]) -> Vec<&str> {
    fields(events, "type")
}

pub fn fields<'a>(events: &'a [Value], name: &str) -> Vec<&'a str> {
    let text = |event: &'a Value| event[name].as_str().unwrap_or_else(|| panic!("{event}"));
    events.iter().map(text).collect()
}

/// A client that has been greeted.
pub struct Client(WebSocketStream<TcpStream>);

impl Client {
    pub async fn connect(address: SocketAddr, path: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        Self::over(stream, path).await
    }

    async fn over(stream: TcpStream, path: &str) -> Self {
        let url = format!("ws://tintype.example{path}");
        let (socket, _) = client_async(url, stream).await.expect("a websocket");
        let mut client = Self(socket);
        let greeting = client.hear().await;
        assert_eq!(greeting, json!({"type": "connected", "version": "1.0"}));
        client
    }

    /// The status of a refused upgrade; 101 for one that was not refused.
    pub async fn refused(address: SocketAddr) -> u16 {
        let stream = TcpStream::connect(address).await.expect("a connection");
        match client_async("ws://tintype.example/v1", stream).await {
            Err(Error::Http(answer)) => answer.status().as_u16(),
            Err(error) => panic!("{error}"),
            Ok((_, answer)) => answer.status().as_u16(),
        }
    }

    /// Reads until the server closes, and answers nothing: how many bytes came.
    pub async fn read_without_answering(address: SocketAddr) -> usize {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let head = "GET /v1 HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                    sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut heard = Vec::new();
        // A reset is an end as well.
        let _ = stream.read_to_end(&mut heard).await;
        heard.len()
    }

    pub async fn say(&mut self, message: &Value) {
        self.say_text(&message.to_string()).await;
    }

    pub async fn say_text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.expect("sent");
    }

    pub async fn say_binary(&mut self, bytes: &'static [u8]) {
        self.0.send(Message::binary(bytes)).await.expect("sent");
    }

    /// Asks for a task's events. Those that come before the server has read this are told as one, the latest: who
    /// waits for a certain one hears the answer to this first, then lets it happen.
    pub async fn watch(&mut self, token: &str) {
        self.say(&json!({"type": "task_info", "tasktoken": token}))
            .await;
    }

    async fn frame(&mut self) -> Message {
        let frame = self.0.next().await.expect("the socket is open");
        frame.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The next event; previews are passed over.
    pub async fn hear(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.frame().await {
                return serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
            }
        }
    }

    /// Events up to one of this type.
    pub async fn hear_until(&mut self, last: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            events.push(self.hear().await);
            if events.last().is_some_and(|event| event["type"] == last) {
                return events;
            }
        }
    }

    /// The next preview: its header, and its picture.
    pub async fn see(&mut self) -> (Value, Vec<u8>) {
        loop {
            if let Message::Binary(bytes) = self.frame().await {
                return preview(&bytes);
            }
        }
    }

    /// The headers of all previews until a task has ended.
    pub async fn frames_until_ended(&mut self, token: &str) -> Vec<Value> {
        let mut headers = Vec::new();
        loop {
            match self.frame().await {
                Message::Binary(bytes) => headers.push(preview(&bytes).0),
                Message::Text(text) => {
                    let event: Value = serde_json::from_str(&text).expect("JSON");
                    if event["type"] == "task_postprocess_end" && event["tasktoken"] == token {
                        return headers;
                    }
                }
                _ => {}
            }
        }
    }

    pub async fn hear_ping(&mut self) {
        while !matches!(self.frame().await, Message::Ping(_)) {}
    }

    /// The answer to a question is the next thing: nothing came before it.
    pub async fn hears_nothing_more(&mut self) {
        self.say(&json!({"type": "task_info"})).await;
        assert_eq!(self.hear().await["message"], "tasktoken-required");
    }

    pub async fn is_closed(&mut self) {
        while let Some(Ok(_)) = self.0.next().await {}
    }

    /// The code with which the server closes.
    pub async fn close_code(&mut self) -> Option<u16> {
        loop {
            if let Message::Close(frame) = self.frame().await {
                return frame.map(|frame| frame.code.into());
            }
        }
    }
}

fn preview(bytes: &[u8]) -> (Value, Vec<u8>) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (header, picture) = bytes.split_at(end.expect("a line"));
    let header = serde_json::from_slice(header).expect("JSON");
    (header, picture[1..].to_vec())
}
