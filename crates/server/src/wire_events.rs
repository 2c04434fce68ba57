//! What a websocket says, field by field: one JSON object a text frame, and previews in binary ones.
//!
//! As elsewhere on the wire everything is a decimal string. `number`, `missed` and whatever stands
//! beside the documented fields are this service's own; clients that do not know them pass over.

use serde::Serialize;
use tintype_domain::{ExitCode, Task, TaskState};
use tintype_service::watch::{News, Notice, Preview};

use crate::wire::{
    Surroundings, WireOutput, WireTask, estimated_seconds, queue_position, status_word,
};

/// The first thing that a client hears.
pub const GREETING: &str = r#"{"type":"connected","version":"1.0"}"#;

/// The word for the text of an error, sent before `task_end`.
const ERROR_FULL: &str = "task_error_full";

/// Something that happened to a task.
#[derive(Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "the names of the wire; contract.md explains each"
)]
pub struct WireEvent {
    #[serde(rename = "type")]
    pub word: &'static str,
    pub id: String,
    pub tasktoken: String,
    pub message: Message,
    pub result: bool,
    /// The place in the task's life; a client that reconnects sends it as `after`.
    pub number: String,
    /// Progress events that this client was too slow for, since the event before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<String>,
    /// Of a queued task: how many go before it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub queueposition: String,
    /// Of a queued task: seconds until it has ended, if that can be told.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub estimatedseconds: String,
}

/// What an event has to say.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Message {
    /// Nothing: `null`.
    Nothing,
    /// A text.
    Text(String),
    /// How far the engine is.
    Progress(WireProgress),
    /// Everything that was printed.
    Raw {
        /// The text.
        raw: String,
    },
    /// The final pictures.
    Outputs(Vec<WireOutput>),
}

/// How far the engine is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the names of the wire; contract.md explains each"
)]
pub struct WireProgress {
    #[serde(rename = "type")]
    pub word: &'static str,
    pub task: &'static str,
    pub percentage: String,
    pub step_current: String,
    pub step_total: String,
    pub speed: String,
    pub speed_type: &'static str,
    pub elapsed_time: String,
    pub remaining_time: String,
}

/// Something that is wrong with what a client sent.
#[derive(Debug, Serialize)]
pub struct WireError<'a> {
    #[serde(rename = "type")]
    word: &'static str,
    message: &'a str,
    /// The token that it is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    tasktoken: Option<&'a str>,
    result: bool,
}

impl<'a> WireError<'a> {
    /// An error, about a token or about none.
    pub fn new(message: &'a str, tasktoken: Option<&'a str>) -> Self {
        Self {
            word: "error",
            message,
            tasktoken,
            result: false,
        }
    }
}

/// The line before the picture in a binary frame.
#[derive(Debug, Serialize)]
struct PreviewHeader<'a> {
    #[serde(rename = "type")]
    word: &'static str,
    id: String,
    tasktoken: &'a str,
    step: String,
    contenttype: &'static str,
}

/// A frame on its way to a client.
#[derive(Debug)]
pub enum Frame {
    /// JSON.
    Text(String),
    /// A preview.
    Binary(Vec<u8>),
}

/// All notices as frames, in order.
pub fn frames<'a>(
    notices: &'a [Notice],
    surroundings: impl Fn(&'a Task) -> Surroundings<'a>,
) -> Vec<Frame> {
    let mut frames = Vec::with_capacity(notices.len());
    let mut missed = 0;
    for (index, notice) in notices.iter().enumerate() {
        missed += notice.missed;
        if let News::Preview(preview) = &notice.news {
            frames.push(Frame::Binary(preview_frame(notice, preview)));
        } else if !says_the_next(notice, notices.get(index + 1)) {
            let mut events = events(notice, &surroundings);
            if let Some(first) = events.first_mut() {
                first.missed = (missed > 0).then(|| std::mem::take(&mut missed).to_string());
            }
            frames.extend(events.iter().map(|event| Frame::Text(json(event))));
        }
    }
    frames
}

/// The first output and its progress are one event on the wire, with one number.
fn says_the_next(notice: &Notice, next: Option<&Notice>) -> bool {
    matches!(
        notice.news,
        News::Entered {
            state: TaskState::Output,
            ..
        }
    ) && next
        .is_some_and(|next| next.task == notice.task && matches!(next.news, News::Progress { .. }))
}

/// One event, or for a failure its text as well.
fn events<'a>(
    notice: &'a Notice,
    surroundings: impl Fn(&'a Task) -> Surroundings<'a>,
) -> Vec<WireEvent> {
    let event = |word, number: u32, message| WireEvent {
        word,
        id: notice.task.to_string(),
        tasktoken: notice.token.0.clone(),
        message,
        result: true,
        number: number.to_string(),
        missed: None,
        queueposition: String::new(),
        estimatedseconds: String::new(),
    };
    let number = notice.number;
    match &notice.news {
        News::Entered {
            state,
            record,
            outlook,
            ..
        } => {
            let word = status_word(*state);
            let message = message_of(*state, record.as_deref(), surroundings);
            let error = record.as_deref().filter(|_| *state == TaskState::Ended);
            let error = error.and_then(error_text).map(|raw| {
                // It has no number of its own: it follows the event before.
                let raw = raw.to_owned();
                event(ERROR_FULL, number.saturating_sub(1), Message::Raw { raw })
            });
            let entered = WireEvent {
                queueposition: queue_position(*outlook),
                estimatedseconds: estimated_seconds(*outlook),
                ..event(word, number, message)
            };
            error.into_iter().chain([entered]).collect()
        }
        News::Progress {
            step,
            steps,
            elapsed_millis,
        } => {
            let progress = WireProgress::of(*step, *steps, *elapsed_millis);
            let word = status_word(TaskState::Output);
            vec![event(word, number, Message::Progress(progress))]
        }
        News::Preview(_) => vec![],
    }
}

fn message_of<'a>(
    state: TaskState,
    record: Option<&'a Task>,
    surroundings: impl Fn(&'a Task) -> Surroundings<'a>,
) -> Message {
    match (state, record) {
        (TaskState::Output, _) => Message::Text(String::new()),
        (TaskState::OutputFull, record) => Message::Raw {
            raw: record.map_or_else(String::new, |task| task.debug_output.clone()),
        },
        (TaskState::Finished, Some(task)) => {
            Message::Outputs(WireTask::of(task.clone(), surroundings(task)).outputs)
        }
        (TaskState::Finished, None) => Message::Outputs(vec![]),
        _ => Message::Nothing,
    }
}

/// Why a task failed, if it did.
fn error_text(task: &Task) -> Option<&str> {
    let failed = task.exit_code.is_some_and(|code| code != ExitCode::SUCCESS);
    (failed && !task.debug_error.is_empty()).then_some(task.debug_error.as_str())
}

impl WireProgress {
    fn of(step: u32, steps: u32, elapsed_millis: u64) -> Self {
        let elapsed = elapsed_millis as f64 / 1e3;
        let (done, left) = (f64::from(step), f64::from(steps.saturating_sub(step)));
        let speed = if elapsed > 0.0 { done / elapsed } else { 0.0 };
        let remaining = if done > 0.0 {
            elapsed / done * left
        } else {
            0.0
        };
        Self {
            word: "progressGenerate",
            task: "Generate",
            percentage: (u64::from(step.min(steps)) * 100 / u64::from(steps.max(1))).to_string(),
            step_current: step.to_string(),
            step_total: steps.to_string(),
            // Large models make a step in minutes: they are not to stand still.
            speed: match speed {
                slow if slow < 0.1 => format!("{slow:.4}"),
                fast => format!("{fast:.1}"),
            },
            speed_type: "it/s",
            elapsed_time: format!("{elapsed:.0}s"),
            remaining_time: format!("{remaining:.0}s"),
        }
    }
}

fn preview_frame(notice: &Notice, preview: &Preview) -> Vec<u8> {
    let header = PreviewHeader {
        word: "task_preview",
        id: notice.task.to_string(),
        tasktoken: &notice.token.0,
        step: preview.step.to_string(),
        contenttype: "image/jpeg",
    };
    let mut frame = json(&header).into_bytes();
    frame.push(b'\n');
    frame.extend_from_slice(&preview.jpeg);
    frame
}

/// Compact JSON.
pub fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and lists become JSON; this is a bug")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use tintype_domain::{TaskId, TaskToken, UnixMillis};
    use tintype_service::Outlook;

    use super::*;

    fn notice(number: u32, missed: u64, news: News) -> Notice {
        Notice {
            task: TaskId(2221),
            token: TaskToken("eDcCm5yyUfIvMFspTwww49OUfgXkQt".to_owned()),
            number,
            missed,
            news,
        }
    }

    fn entered(number: u32, state: TaskState) -> Notice {
        let news = News::Entered {
            state,
            at: UnixMillis(0),
            record: None,
            outlook: Outlook::default(),
        };
        notice(number, 0, news)
    }

    fn step(number: u32, step: u32) -> Notice {
        let news = News::Progress {
            step,
            steps: 10,
            elapsed_millis: 5_000,
        };
        notice(number, 0, news)
    }

    fn texts(notices: &[Notice]) -> Vec<serde_json::Value> {
        let nothing = |_: &Task| Surroundings {
            base_url: "",
            tool_description: "",
        };
        let text = |frame| match frame {
            Frame::Text(text) => serde_json::from_str(&text).expect("JSON"),
            Frame::Binary(_) => panic!("a binary frame"),
        };
        frames(notices, nothing).into_iter().map(text).collect()
    }

    #[test]
    fn events_have_the_documented_fields() {
        let notices = [entered(5, TaskState::Assigned), step(7, 6)];
        insta::assert_json_snapshot!(texts(&notices), @r#"
        [
          {
            "type": "task_assign",
            "id": "2221",
            "tasktoken": "eDcCm5yyUfIvMFspTwww49OUfgXkQt",
            "message": null,
            "result": true,
            "number": "5"
          },
          {
            "type": "task_output",
            "id": "2221",
            "tasktoken": "eDcCm5yyUfIvMFspTwww49OUfgXkQt",
            "message": {
              "type": "progressGenerate",
              "task": "Generate",
              "percentage": "60",
              "stepCurrent": "6",
              "stepTotal": "10",
              "speed": "1.2",
              "speedType": "it/s",
              "elapsedTime": "5s",
              "remainingTime": "3s"
            },
            "result": true,
            "number": "7"
          }
        ]
        "#);
    }

    #[test]
    fn the_first_output_and_its_progress_are_one_event() {
        let output = entered(7, TaskState::Output);
        let texts_of = |notices: &[Notice]| -> Vec<String> {
            let events = texts(notices);
            events.iter().map(|e| e["message"].to_string()).collect()
        };
        assert_eq!(texts(&[output.clone(), step(7, 1)]).len(), 1);
        assert_eq!(texts_of(std::slice::from_ref(&output)), [r#""""#]);
        let full = entered(8, TaskState::OutputFull);
        assert_eq!(texts_of(&[output, full]), [r#""""#, r#"{"raw":""}"#]);
    }

    #[test]
    fn a_slow_reader_is_told_once_what_it_missed() {
        let missing = Notice {
            missed: 12,
            ..entered(7, TaskState::Output)
        };
        let events = texts(&[missing, step(7, 9), step(7, 10)]);
        assert_eq!(events[0]["missed"], "12");
        assert_eq!(events[1].get("missed"), None);
    }

    #[test]
    fn slow_and_broken_clocks_give_numbers_all_the_same() {
        let slow = WireProgress::of(1, 28, 90_000);
        let shown = (slow.speed.as_str(), slow.remaining_time.as_str());
        assert_eq!(shown, ("0.0111", "2430s"));
        let none = WireProgress::of(0, 0, 0);
        let shown = (none.percentage.as_str(), none.speed.as_str());
        assert_eq!(shown, ("0", "0.0000"));
        assert_eq!(WireProgress::of(10, 10, 4_400).percentage, "100");
    }

    #[test]
    fn a_preview_is_a_line_and_a_file() {
        let preview = Preview {
            step: 3,
            jpeg: Bytes::from_static(b"\xff\xd8\n\xff"),
        };
        let notice = notice(7, 0, News::Preview(Arc::new(preview)));
        let nothing = |_: &Task| unreachable!();
        let frame = frames(std::slice::from_ref(&notice), nothing).pop();
        let Some(Frame::Binary(frame)) = frame else {
            panic!("no binary frame");
        };
        let end = frame
            .iter()
            .position(|byte| *byte == b'\n')
            .expect("a line");
        let header: serde_json::Value = serde_json::from_slice(&frame[..end]).expect("JSON");
        assert_eq!(
            (&header["type"], &header["step"]),
            (&"task_preview".into(), &"3".into())
        );
        assert_eq!(&frame[end + 1..], b"\xff\xd8\n\xff");
    }
}
