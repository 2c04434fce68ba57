//! Watching the bundled model draw, over the websocket of the real program.

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::client::PRO;
use crate::nano;
use crate::server::{Place, Server};

/// Pictures until one of them must have shown a preview: a run may be over before one is made.
const PICTURES: u64 = 20;

async fn connect(server: &Server) -> WebSocketStream<TcpStream> {
    let address = server.url.trim_start_matches("http://");
    let stream = TcpStream::connect(address).await.expect("a connection");
    let url = format!("ws://{address}/v1");
    let (socket, _) = client_async(url, stream).await.expect("a websocket");
    socket
}

/// All that is told of a task until it has ended: events, and previews.
async fn watched(
    socket: &mut WebSocketStream<TcpStream>,
    token: &str,
) -> (Vec<Value>, Vec<Vec<u8>>) {
    let message = json!({
        "type": "task_info", "tasktoken": token, "after": 0, "preview": true
    });
    let said = socket.send(Message::text(message.to_string())).await;
    said.expect("sent");
    let (mut events, mut previews) = (vec![], vec![]);
    loop {
        match socket.next().await.expect("open").expect("a message") {
            Message::Binary(bytes) => previews.push(bytes.to_vec()),
            Message::Text(text) => {
                let event: Value = serde_json::from_str(&text).expect("JSON");
                let ended = event["type"] == "task_postprocess_end";
                events.push(event);
                if ended {
                    return (events, previews);
                }
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_picture_is_watched_from_its_queue_to_its_address() {
    let place = Place::new();
    let server = place.serve();
    let client = server.client();
    let mut socket = connect(&server).await;
    for seed in 0..PICTURES {
        let inputs = json!({"prompt": "a red circle", "seed": seed, "aspectRatio": "1:1"});
        let token = client.run(PRO, inputs).await;
        let (events, previews) = watched(&mut socket, &token).await;
        let task = client.detail(&token).await;
        let last = events.last().expect("events");
        assert_eq!(last["message"][0], task["outputs"][0], "{events:?}");
        let mut numbers: Vec<u32> = events
            .iter()
            .filter_map(|event| event["number"].as_str()?.parse().ok())
            .collect();
        numbers.dedup();
        assert_eq!(numbers, (1..=11).collect::<Vec<_>>(), "{events:?}");
        if let Some(frame) = previews.first() {
            let end = frame.iter().position(|byte| *byte == b'\n');
            let (header, picture) = frame.split_at(end.expect("a line"));
            let header: Value = serde_json::from_slice(header).expect("JSON");
            assert_eq!(header["id"], task["id"]);
            let picture = image::load_from_memory(&picture[1..]).expect("a picture");
            assert_eq!(picture.width() as usize, nano::side());
            assert_eq!(picture.height(), picture.width());
            return;
        }
    }
    panic!("no picture showed a preview");
}
