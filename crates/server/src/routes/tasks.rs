//! `POST /v1/Task/…`: questions about tasks.
//!
//! A token is a capability and a number is not, but a call with a key acts for its project: both
//! find the project's own tasks only. Whoever holds a token alone watches the socket.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use serde_json::Value;
use tintype_domain::{TaskId, TaskRef, TaskToken};
use tintype_service::{RawInputs, RawValue};

use crate::app::App;
use crate::body::{Purpose, refuse};
use crate::errors::{ApiError, Kind};
use crate::wire::TasksAnswer;

/// The names under which clients send a task's token or number, the first filled one counts.
const NAMES: [&str; 3] = ["tasktoken", "socketaccesstoken", "taskid"];

pub(super) async fn detail(
    State(app): State<App>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Json<TasksAnswer>, ApiError> {
    let (head, body) = request.into_parts();
    let principal = match app.authenticate(&head.headers, remote).await {
        Ok(principal) => principal,
        Err(error) => {
            refuse(&head.headers, body).await;
            return Err(error);
        }
    };
    let inputs = app.bodies.read(&head.headers, body, Purpose::Task).await?;
    let task = task_ref(&inputs.raw).ok_or_else(|| ApiError::new(Kind::TaskNotNamed))?;
    let task = app.service.detail(&principal, &task).await?;
    let task = task.ok_or_else(|| ApiError::new(Kind::UnknownTask))?;
    let base_url = app.base_url(&head.headers);
    Ok(Json(TasksAnswer {
        total: "1".to_owned(),
        errors: [],
        tasklist: vec![app.on_the_wire(task, &base_url)],
        result: true,
    }))
}

fn task_ref(inputs: &RawInputs) -> Option<TaskRef> {
    NAMES.iter().find_map(|name| {
        let (_, value) = inputs.iter().find(|(given, _)| given == name)?;
        let RawValue::Json(value) = value else {
            return None;
        };
        let text = as_text(value)?;
        let text = text.trim();
        (!text.is_empty()).then(|| named_by(text))
    })
}

/// Numbers, texts and lists of one of these.
fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) if items.len() == 1 => match &items[0] {
            Value::Array(_) => None,
            item => as_text(item),
        },
        _ => None,
    }
}

/// A token of digits only is a number, whatever the field was called.
fn named_by(text: &str) -> TaskRef {
    let number = text
        .parse()
        .ok()
        .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    match number {
        Some(number) => TaskRef::Id(TaskId(number)),
        None => TaskRef::Token(TaskToken(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(body: Value) -> Option<TaskRef> {
        let object = body.as_object().cloned().unwrap_or_default();
        task_ref(
            &object
                .into_iter()
                .map(|(name, value)| (name, RawValue::Json(value)))
                .collect(),
        )
    }

    #[test]
    fn any_of_the_three_names_a_task() {
        let token = || Some(TaskRef::Token(TaskToken("eDcC".to_owned())));
        let number = || Some(TaskRef::Id(TaskId(2221)));
        assert_eq!(named(json!({"tasktoken": "eDcC"})), token());
        assert_eq!(named(json!({"socketaccesstoken": ["eDcC"]})), token());
        assert_eq!(named(json!({"tasktoken": "", "taskid": "2221"})), number());
        assert_eq!(named(json!({"taskid": 2221})), number());
        assert_eq!(named(json!({"tasktoken": " 2221 "})), number());
        assert_eq!(named(json!({"taskid": "eDcC"})), token());
    }

    #[test]
    fn what_names_no_task_is_none() {
        for body in [
            json!({}),
            json!({"tasktoken": null}),
            json!({"taskid": {}}),
            json!({"id": 1}),
        ] {
            assert_eq!(named(body.clone()), None, "{body}");
        }
        assert_eq!(named(json!({"taskid": [["1"]]})), None);
        let huge = "9".repeat(40);
        assert_eq!(
            named(json!({"taskid": huge})),
            Some(TaskRef::Token(TaskToken(huge)))
        );
    }
}
