//! `GET /v1`: the websocket's door.

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::HeaderMap;
use axum::response::Response;

use crate::app::App;
use crate::errors::{ApiError, Kind};
use crate::limits::{SOCKET_BUFFER_BYTES, SOCKET_MESSAGE_BYTES, SOCKET_WAITING_BYTES};
use crate::listen::Stopping;
use crate::openapi::{Endpoint, Gives, Section, Takes, Verb};
use crate::socket::Session;

pub(super) const SOCKET: Endpoint = Endpoint {
    verb: Verb::Get,
    path: "/v1",
    section: Section::Tasks,
    name: "watch",
    summary: "Watch tasks live",
    description: "A websocket. Say `{\"type\":\"task_info\",\"tasktoken\":\"…\"}` and hear every event of the \
        task as one JSON object: its state when you come, then what follows, up to the outputs in \
        `task_postprocess_end`. The token is the permission, so no key is asked for.\n\n\
        Several tasks may be watched on one socket. With `\"after\":\"7\"` you hear what came after the event of \
        that `number`; with `\"preview\":true` you are sent small pictures of the unfinished \
        result, as binary messages: a line of JSON, then a JPEG file.",
    takes: Takes::Nothing,
    gives: Gives::Socket,
    refusals: &[Kind::SocketExpected, Kind::TooManySockets],
};

pub(super) async fn open(
    State(app): State<App>,
    stopping: Option<Extension<Stopping>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|_| ApiError::new(Kind::SocketExpected))?;
    let place = app.socket_place()?;
    let base_url = app.base_url(&headers);
    let stopping = stopping.map_or_else(Stopping::never, |Extension(stopping)| stopping);
    let answer = upgrade
        .read_buffer_size(SOCKET_BUFFER_BYTES)
        // Events are complete when they are sent: nothing is gained by waiting for more.
        .write_buffer_size(0)
        .max_write_buffer_size(SOCKET_WAITING_BYTES)
        .max_message_size(SOCKET_MESSAGE_BYTES)
        .max_frame_size(SOCKET_MESSAGE_BYTES)
        .on_upgrade(move |socket| {
            let session = Session {
                socket,
                app,
                base_url,
                place,
                stopping,
            };
            session.run()
        });
    Ok(answer)
}
