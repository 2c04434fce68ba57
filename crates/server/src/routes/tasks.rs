//! `POST /v1/Task/…`: questions about tasks.
//!
//! A token is a capability and a number is not, but a call with a key acts for its project: both
//! find the project's own tasks only. Whoever holds a token alone watches the socket.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use tintype_domain::{Task, TaskId, TaskRef, TaskToken};
use tintype_service::RawInputs;
use utoipa::ToSchema;
use utoipa::openapi::Schema;

use crate::app::{App, Call};
use crate::body::Purpose;
use crate::errors::{ApiError, Kind};
use crate::fields;
use crate::openapi::{Endpoint, Gives, Section, Shape, Takes, Verb, samples, words};
use crate::wire::TasksAnswer;

pub(crate) const DETAIL: Endpoint = Endpoint {
    verb: Verb::Post,
    path: "/v1/Task/Detail",
    section: Section::Tasks,
    name: "task_detail",
    summary: "How a task stands",
    description: "Ask again until `status` is `task_postprocess_end` or `task_cancel`. Then `pexit` says how \
                  it went, `outputs` holds the pictures of a success, and `debugerror` the reason of a \
                  failure.",
    takes: NAMED,
    gives: ABOUT,
    refusals: &[Kind::TaskNotNamed, Kind::UnknownTask],
};

/// What the endpoints take that are about one task.
pub(super) const NAMED: Takes = Takes::Fields {
    shape: Shape::of::<TaskName>(),
    example: samples::token,
};

/// What they give.
pub(super) const ABOUT: Gives = Gives::Json {
    shape: Shape::of::<TasksAnswer>(),
    example: samples::finished,
};

/// Names one task. Any of the three fields will do: the first that is filled counts, and a value of
/// digits only is the task's number, whatever the field is called.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `task_ref` reads")]
pub(super) struct TaskName {
    /// The token from the answer to the run.
    tasktoken: Option<String>,
    /// The same, under the name that it has in that answer.
    socketaccesstoken: Option<String>,
    #[schema(schema_with = task_number)]
    taskid: Option<u64>,
}

/// The names under which clients send a task's token or number, the first filled one counts.
const NAMES: [&str; 3] = ["tasktoken", "socketaccesstoken", "taskid"];

fn task_number() -> Schema {
    words::number("The task's number.")
}

pub(super) async fn detail(
    State(app): State<App>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Json<TasksAnswer>, ApiError> {
    let call = app.admit(remote, request, Purpose::Task).await?;
    let task = app.service.detail(&call.principal, &named(&call)?).await?;
    let task = task.ok_or_else(|| ApiError::new(Kind::UnknownTask))?;
    Ok(about(&app, &call, task).await)
}

/// The task that a call is about.
pub(super) fn named(call: &Call) -> Result<TaskRef, ApiError> {
    task_ref(&call.inputs.raw).ok_or_else(|| ApiError::new(Kind::TaskNotNamed))
}

/// The answer that shows one task.
pub(super) async fn about(app: &App, call: &Call, task: Task) -> Json<TasksAnswer> {
    Json(TasksAnswer {
        total: "1".to_owned(),
        errors: [],
        tasklist: vec![app.on_the_wire(task, &call.base_url).await],
        result: true,
    })
}

fn task_ref(inputs: &RawInputs) -> Option<TaskRef> {
    let text = NAMES.iter().find_map(|name| fields::text(inputs, name))?;
    Some(named_by(&text))
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
    use serde_json::{Value, json};
    use tintype_service::RawValue;

    use super::*;

    fn named_in(body: Value) -> Option<TaskRef> {
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
        assert_eq!(named_in(json!({"tasktoken": "eDcC"})), token());
        assert_eq!(named_in(json!({"socketaccesstoken": ["eDcC"]})), token());
        assert_eq!(
            named_in(json!({"tasktoken": "", "taskid": "2221"})),
            number()
        );
        assert_eq!(named_in(json!({"taskid": 2221})), number());
        assert_eq!(named_in(json!({"tasktoken": " 2221 "})), number());
        assert_eq!(named_in(json!({"taskid": "eDcC"})), token());
    }

    #[test]
    fn what_names_no_task_is_none() {
        for body in [
            json!({}),
            json!({"tasktoken": null}),
            json!({"taskid": {}}),
            json!({"id": 1}),
        ] {
            assert_eq!(named_in(body.clone()), None, "{body}");
        }
        assert_eq!(named_in(json!({"taskid": [["1"]]})), None);
        let huge = "9".repeat(40);
        assert_eq!(
            named_in(json!({"taskid": huge})),
            Some(TaskRef::Token(TaskToken(huge)))
        );
    }
}
