//! The bounds of the HTTP border, each with its reason.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What an operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a multipart body.
    pub multipart_bytes: usize,
    /// Bytes of any other body.
    pub body_bytes: usize,
    /// Seconds that a client may be silent in the middle of a body.
    pub body_idle_seconds: u64,
    /// Seconds for a whole body.
    pub body_total_seconds: u64,
    /// Seconds for the head of a request.
    pub head_seconds: u64,
    /// Connections at once, without websockets.
    pub connections: usize,
    /// Websockets at once.
    pub sockets: usize,
    /// Seconds that a websocket may show no life: a client that neither says nor takes anything
    /// for this long is gone. It is pinged twice in this time.
    pub socket_life_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Clients may upload files of 100 MB; the rest is room for the other parts.
            multipart_bytes: 101 << 20,
            // A 20 MB picture as base64 inside JSON is 27 MB.
            body_bytes: 32 << 20,
            body_idle_seconds: 20,
            // 100 MB over a 2 Mbit/s line take under seven minutes.
            body_total_seconds: 600,
            // Also how long an idle connection is kept: clients poll every few seconds, and one
            // that polls just when its connection is closed sees a failure.
            head_seconds: 60,
            connections: 1024,
            // An idle one takes less than 10 kB; the operating system's limit of open files is
            // mostly reached first.
            sockets: 16_384,
            socket_life_seconds: 60,
        }
    }
}

impl Limits {
    pub(crate) fn body_idle(&self) -> Duration {
        Duration::from_secs(self.body_idle_seconds)
    }

    pub(crate) fn body_total(&self) -> Duration {
        Duration::from_secs(self.body_total_seconds)
    }

    pub(crate) fn socket_life(&self) -> Duration {
        Duration::from_secs(self.socket_life_seconds.max(1))
    }

    pub(crate) fn head(&self) -> Duration {
        Duration::from_secs(self.head_seconds)
    }
}

/// Bytes of a body of the endpoints that only ask: they name one task, or say which to list.
pub(crate) const TASK_BODY_BYTES: usize = 64 << 10;

/// Tasks in one page of a list, however many are asked for: a task with a long prompt is some
/// kilobytes, so a page stays below a megabyte or two.
pub(crate) const TASKS_LISTED: u64 = 100;

/// Tools in one page of a list, however many are asked for: a tool with its form is some kilobytes.
pub(crate) const TOOLS_LISTED: u64 = 100;

/// Bytes of a request's head: keys, a signature and what browsers and proxies add fit ten times.
pub(crate) const HEAD_BYTES: usize = 64 << 10;

/// Bytes of a message from a client on a websocket: a token and two flags fit twenty times.
pub(crate) const SOCKET_MESSAGE_BYTES: usize = 4 << 10;

/// Bytes of a websocket's read buffer, which every idle one holds: messages are a tenth of it.
pub(crate) const SOCKET_BUFFER_BYTES: usize = 1 << 10;

/// Bytes that may wait for one websocket: an event with its pictures' records or one preview fits
/// several times.
pub(crate) const SOCKET_WAITING_BYTES: usize = 1 << 20;

/// Headers of a request.
pub(crate) const HEADERS: usize = 100;

/// Inputs of one request; the largest tool has a dozen.
pub(crate) const INPUTS: usize = 256;

/// A body beyond this many bytes needs a permit, so that many large uploads at once wait for
/// each other instead of filling the memory.
pub(crate) const LARGE_BODY_BYTES: usize = 1 << 20;

/// Large bodies in memory at once: 16 × 100 MB at worst.
pub(crate) const LARGE_BODIES: usize = 16;

/// What is read and thrown away of the body of a refused request. A client that is still sending
/// does not listen; without this it sees a broken connection instead of the reason.
pub(crate) const DISCARD_BYTES: usize = 128 << 20;

/// How long such a body is read.
pub(crate) const DISCARD_TIME: Duration = Duration::from_secs(10);
