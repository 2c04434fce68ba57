//! What a receiver of webhooks gets: the answer of `Task/Detail`, and what matters most of it once
//! more on top.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use tintype_domain::Task;
use tintype_service::Service;
use tintype_service::webhooks::Render;

use crate::app::{BaseUrl, Options};
use crate::errors::ErrorEntry;
use crate::wire::{Surroundings, WireOutput, WireTask};

/// The body of a webhook.
#[derive(Debug, Serialize)]
struct Report<'a> {
    total: &'static str,
    errors: [ErrorEntry; 0],
    tasklist: [&'a WireTask; 1],
    result: bool,
    taskid: &'a str,
    socketaccesstoken: &'a str,
    status: &'static str,
    pexit: &'a str,
    outputs: &'a [WireOutput],
}

/// Renders reports of ended tasks for [`tintype_service::webhooks::Deliveries`].
///
/// The addresses of pictures begin with the public address if the operator configured one, else
/// with the host that the submitting client used, as in the answers that it got.
pub fn webhooks(service: &Arc<Service>, options: &Options) -> Render {
    let (service, configured) = (Arc::clone(service), options.base_url == BaseUrl::Configured);
    Arc::new(move |task, clients_own| {
        let clients_own = clients_own.filter(|_| !configured);
        render(&service, task, clients_own.unwrap_or(service.public_url()))
    })
}

fn render(service: &Service, task: Task, base_url: &str) -> Bytes {
    let tool = service.catalog().tool(&task.tool);
    let surroundings = Surroundings {
        base_url,
        tool_description: tool.map_or("", |tool| tool.description.as_str()),
    };
    let task = WireTask::of(task, surroundings);
    let report = Report {
        total: "1",
        errors: [],
        tasklist: [&task],
        result: true,
        taskid: &task.id,
        socketaccesstoken: &task.socketaccesstoken,
        status: task.status,
        pexit: &task.pexit,
        outputs: &task.outputs,
    };
    let body = serde_json::to_vec(&report);
    Bytes::from(body.expect("maps with string keys are JSON; this is a bug"))
}
