//! Servers that die, and servers that are told to stop: nothing that was accepted is lost.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::client::{Client, Keys, PRO, is_running};
use crate::server::{Place, Server};

/// Enough that some are queued while others run.
const TASKS: usize = 5;

async fn submit(client: &Client) -> Vec<String> {
    let mut tokens = Vec::new();
    for seed in 0..TASKS {
        let inputs = json!({"prompt": "a red circle", "seed": seed, "aspectRatio": "1:1"});
        tokens.push(client.run(PRO, inputs).await);
    }
    tokens
}

/// Every task ended well, with one picture, and none twice.
async fn all_succeed(client: &Client, tokens: &[String]) {
    let mut ended: Vec<Value> = Vec::new();
    for token in tokens {
        let task = client.ended(token).await;
        client.picture(&task).await;
        ended.push(task);
    }
    for (at, task) in ended.iter().enumerate() {
        assert_eq!(
            task["id"],
            (at + 1).to_string(),
            "no task was added or renumbered"
        );
        assert_eq!(task["parameters"]["seed"], at.to_string());
        let same = |other: &&Value| other["outputs"][0]["url"] == task["outputs"][0]["url"];
        assert_eq!(ended.iter().filter(same).count(), 1, "{task}");
    }
    let unchanged = client.detail(&tokens[0]).await;
    assert_eq!(
        unchanged, ended[0],
        "an ended task does not change any more"
    );
}

/// The same project on a server that was started again, perhaps on another port.
fn client_again(server: &Server, first: &Server) -> Client {
    Client::new(&server.url, first.keys.clone().expect("a first start"))
}

#[tokio::test]
async fn a_killed_server_loses_nothing() {
    let place = Place::new();
    let first = place.serve();
    let client = first.client();
    let tokens = submit(&client).await;
    client.task_when(&tokens[0], is_running).await;
    let keys = first.keys.clone().expect("a first start");
    first.kill();
    // Once more, as soon as it is up.
    place.serve().kill();
    let server = place.serve();
    assert!(server.keys.is_none(), "keys are shown once");
    all_succeed(&Client::new(&server.url, keys), &tokens).await;
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_gives_its_tasks_back() {
    let place = Place::new();
    let mut first = place.serve();
    let client = first.client();
    let tokens = submit(&client).await;
    client.task_when(&tokens[0], is_running).await;
    first.signal("-TERM");
    assert!(first.ended().await.success());
    let server = place.serve();
    all_succeed(&client_again(&server, &first), &tokens).await;
}

/// A request that is in hand, and whose body never comes.
fn request_without_end(server: &Server, keys: &Keys) -> TcpStream {
    let address = server.url.strip_prefix("http://").expect("plain HTTP");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let head = format!(
        "POST /v1/Task/List HTTP/1.1\r\nhost: {address}\r\nx-api-key: {}\r\n\
         content-type: application/json\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n",
        keys.api_key
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let mut asked_for_more = [0; 12];
    stream.read_exact(&mut asked_for_more).expect("an answer");
    assert_eq!(&asked_for_more, b"HTTP/1.1 100");
    stream
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let place = Place::new();
    let mut server = place.serve();
    let keys = place.create_project(&["slow", "--auth", "key"]);
    let _in_hand = request_without_end(&server, &keys);
    server.signal("-TERM");
    server.signal("-INT");
    // 128 + 2: in place of the 0 of a server that stopped in good order.
    assert_eq!(server.ended().await.code(), Some(130));
}

#[tokio::test]
async fn an_interrupt_stops_an_idle_server() {
    let place = Place::new();
    let mut server = place.serve();
    server.signal("-INT");
    assert!(server.ended().await.success());
}
