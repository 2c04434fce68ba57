//! One websocket: what a client says, and what it is told.
//!
//! The token of a task is the permission to watch it; no key is asked for. A socket is one small
//! task that waits for its client, its watcher and its clock; whatever it has to do beyond that is
//! boxed, so that an idle one stays small. A client that is slow slows nobody else: see
//! [`tintype_service::watch`].

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use bytes::Bytes;
use serde_json::Value;
use tintype_domain::{Task, TaskToken};
use tintype_service::watch::{TASKS_WATCHED, Watch, WatchError, Watcher};
use tintype_service::{RawInputs, RawValue};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::app::App;
use crate::fields;
use crate::listen::Stopping;
use crate::wire::Surroundings;
use crate::wire_events::{Frame, GREETING, WireError, frames, json};

/// What a closing socket gets to say so.
const GOODBYE: Duration = Duration::from_secs(1);

/// The names under which clients send a task's token. A number is no permission.
const TOKEN_NAMES: [&str; 2] = ["tasktoken", "socketaccesstoken"];

/// A connected client.
pub(crate) struct Session {
    pub(crate) socket: WebSocket,
    pub(crate) app: App,
    /// Where the addresses of pictures begin.
    pub(crate) base_url: String,
    /// Its place among all sockets.
    pub(crate) place: OwnedSemaphorePermit,
    pub(crate) stopping: Stopping,
}

/// Why a session ends.
#[derive(Debug)]
enum End {
    /// The client has gone, or is as good as gone.
    Gone,
    /// The server closes it; the client may come back at once.
    Closed { code: u16, reason: &'static str },
}

/// What a session waits for.
enum Turn {
    Heard(Option<Result<Message, axum::Error>>),
    News,
    Tick,
    Stop,
}

impl Session {
    /// Serves until the client leaves, shows no life, or the service stops.
    pub(crate) async fn run(self) {
        let life = self.app.socket_life();
        let watcher = self.app.service.watcher();
        let mut served = Served {
            socket: self.socket,
            watcher,
            app: self.app,
            base_url: self.base_url,
            life,
            heard_at: Instant::now(),
        };
        if let Err(End::Closed { code, reason }) = served.serve(self.stopping).await {
            drop(timeout(GOODBYE, served.close(code, reason)).await);
        }
        drop(self.place);
    }
}

struct Served {
    socket: WebSocket,
    watcher: Watcher,
    app: App,
    base_url: String,
    /// A client that shows no life for this long is gone.
    life: Duration,
    heard_at: Instant,
}

impl Served {
    async fn serve(&mut self, mut stopping: Stopping) -> Result<(), End> {
        self.send(Message::text(GREETING)).await?;
        let every = self.life / 2;
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let turn = tokio::select! {
                () = stopping.wait() => Turn::Stop,
                heard = self.socket.recv() => Turn::Heard(heard),
                () = self.watcher.ready() => Turn::News,
                _ = ticks.tick() => Turn::Tick,
            };
            Box::pin(self.take(turn)).await?;
        }
    }

    async fn take(&mut self, turn: Turn) -> Result<(), End> {
        match turn {
            Turn::Heard(Some(Ok(message))) => {
                self.heard_at = Instant::now();
                self.answer(message).await
            }
            Turn::Heard(None | Some(Err(_))) => Err(End::Gone),
            Turn::News => self.tell().await,
            Turn::Tick if self.heard_at.elapsed() >= self.life => Err(End::Gone),
            Turn::Tick => self.send(Message::Ping(Bytes::new())).await,
            Turn::Stop => Err(End::Closed {
                code: close_code::AWAY,
                reason: "the service stops; connect again in a moment",
            }),
        }
    }

    /// Tells what is new.
    async fn tell(&mut self) -> Result<(), End> {
        let notices = self.watcher.take().await.map_err(|error| {
            tracing::warn!(error = %error, "closing a websocket: the tasks cannot be read");
            End::Closed {
                code: close_code::AGAIN,
                reason: "the tasks cannot be read right now; connect again in a moment",
            }
        })?;
        let catalog = self.app.service.catalog();
        let base_url = &self.base_url;
        let surroundings = |task: &Task| Surroundings {
            base_url,
            tool_description: catalog
                .tool(&task.tool)
                .map_or("", |tool| tool.description.as_str()),
        };
        for frame in frames(&notices, surroundings) {
            self.send(match frame {
                Frame::Text(text) => Message::text(text),
                Frame::Binary(bytes) => Message::binary(bytes),
            })
            .await?;
        }
        Ok(())
    }

    async fn answer(&mut self, message: Message) -> Result<(), End> {
        match message {
            Message::Text(text) => match read(&text) {
                Said::Nothing => Ok(()),
                Said::Nonsense(why) => self.refuse(why, None).await,
                Said::Watch(token, how) => self.watch(token, how).await,
            },
            // Pings are answered underneath; nothing is said in binary.
            Message::Ping(_) | Message::Pong(_) | Message::Binary(_) => Ok(()),
            Message::Close(_) => Err(End::Gone),
        }
    }

    async fn watch(&mut self, token: TaskToken, how: Watch) -> Result<(), End> {
        let watched = self.watcher.watch(token.clone(), how).await;
        let too_many;
        let why = match watched {
            Ok(()) => return Ok(()),
            Err(WatchError::UnknownTask) => "task-not-exist",
            Err(WatchError::TooMany) => {
                too_many = format!(
                    "A socket watches {TASKS_WATCHED} tasks at most: open another one for the rest."
                );
                &too_many
            }
            Err(WatchError::Service(error)) => {
                tracing::warn!(error = %error, "a task cannot be watched");
                "The task cannot be read right now. Please try again later."
            }
        };
        self.refuse(why, Some(&token.0)).await
    }

    async fn refuse(&mut self, why: &str, token: Option<&str>) -> Result<(), End> {
        let error = json(&WireError::new(why, token));
        self.send(Message::text(error)).await
    }

    /// Sends, and waits until it is on its way. Meanwhile the watcher keeps what it can.
    async fn send(&mut self, message: Message) -> Result<(), End> {
        match timeout(self.life, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => {
                tracing::debug!("closing a websocket that takes nothing");
                Err(End::Gone)
            }
        }
    }

    async fn close(&mut self, code: u16, reason: &'static str) {
        let reason = Utf8Bytes::from_static(reason);
        let frame = CloseFrame { code, reason };
        // A client that has gone meanwhile does not need it.
        drop(self.socket.send(Message::Close(Some(frame))).await);
    }
}

/// What a client said.
#[derive(Debug, PartialEq)]
enum Said {
    /// Something that is not for us.
    Nothing,
    /// Something that makes no sense, and why.
    Nonsense(&'static str),
    /// Watch this task.
    Watch(TaskToken, Watch),
}

/// Whether a message asks to watch a task.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn understands(text: &str) -> bool {
    matches!(read(text), Said::Watch(..))
}

/// Reads a message, leniently.
fn read(text: &str) -> Said {
    let Ok(Value::Object(object)) = serde_json::from_str(text) else {
        return Said::Nonsense("A message must be a JSON object.");
    };
    if object.get("type").and_then(Value::as_str) != Some("task_info") {
        return Said::Nothing;
    }
    let preview = object.get("preview") == Some(&Value::Bool(true));
    let inputs: RawInputs = object
        .into_iter()
        .map(|(name, value)| (name, RawValue::Json(value)))
        .collect();
    let token = TOKEN_NAMES.iter().find_map(|n| fields::text(&inputs, n));
    let Some(token) = token else {
        return Said::Nonsense("tasktoken-required");
    };
    let after = match fields::text(&inputs, "after").map(|after| after.parse()) {
        Some(Err(_)) => {
            return Said::Nonsense("Request parameter [after] must be integer or float");
        }
        Some(Ok(after)) => Some(after),
        None => None,
    };
    let said_yes = |text: String| matches!(text.as_str(), "true" | "1");
    let how = Watch {
        after,
        preview: preview || fields::text(&inputs, "preview").is_some_and(said_yes),
    };
    Said::Watch(TaskToken(token), how)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn watch(after: Option<u32>, preview: bool) -> Said {
        Said::Watch(TaskToken("eDcC".to_owned()), Watch { after, preview })
    }

    #[test]
    fn registrations_are_read_leniently() {
        let cases = [
            (
                r#"{"type":"task_info","tasktoken":"eDcC"}"#,
                watch(None, false),
            ),
            (
                r#"{"type":"task_info","socketaccesstoken":["eDcC"]}"#,
                watch(None, false),
            ),
            (
                r#" {"tasktoken":" eDcC ","type":"task_info","more":1}"#,
                watch(None, false),
            ),
            (
                r#"{"type":"task_info","tasktoken":"eDcC","after":"7"}"#,
                watch(Some(7), false),
            ),
            (
                r#"{"type":"task_info","tasktoken":"eDcC","after":7}"#,
                watch(Some(7), false),
            ),
            (
                r#"{"type":"task_info","tasktoken":"eDcC","after":""}"#,
                watch(None, false),
            ),
            (
                r#"{"type":"task_info","tasktoken":"eDcC","preview":true}"#,
                watch(None, true),
            ),
            (
                r#"{"type":"task_info","tasktoken":"eDcC","preview":"true"}"#,
                watch(None, true),
            ),
            (
                r#"{"type":"task_info","tasktoken":"eDcC","preview":"no"}"#,
                watch(None, false),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn a_number_is_no_permission() {
        for text in [
            r#"{"type":"task_info"}"#,
            r#"{"type":"task_info","taskid":"2221"}"#,
            r#"{"type":"task_info","tasktoken":""}"#,
            r#"{"type":"task_info","tasktoken":null}"#,
            r#"{"type":"task_info","tasktoken":{"a":1}}"#,
        ] {
            assert_eq!(read(text), Said::Nonsense("tasktoken-required"), "{text}");
        }
    }

    #[test]
    fn what_is_unknown_is_passed_over_and_what_is_broken_is_said() {
        for text in [
            r#"{"type":"ping"}"#,
            r#"{}"#,
            r#"{"type":7}"#,
            r#"{"tasktoken":"e"}"#,
        ] {
            assert_eq!(read(text), Said::Nothing, "{text}");
        }
        for text in ["", "{", "[]", "7", "task_info", "null"] {
            assert!(matches!(read(text), Said::Nonsense(_)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_said_panics(text in "\\PC{0,200}") {
            read(&text);
            read(&format!(r#"{{"type":"task_info","tasktoken":{text}}}"#));
        }
    }
}
