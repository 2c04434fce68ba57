//! The outbox as an operator sees it: lists, and sending again by hand.

use rusqlite::{Connection, Row, ToSql};
use tintype_domain::{
    AttemptAnswer, AttemptReport, ProjectId, TaskId, UnixMillis, Webhook, WebhookAttempt,
    WebhookId, WebhookState,
};

use crate::outbox::{Redelivery, WebhookQuery, WebhookRef};
use crate::sqlite::rows;
use crate::{Error, MAX_PAGE};

/// The word for a state in the database. Stored data: never changed, only added to.
fn state_word(state: WebhookState) -> &'static str {
    match state {
        WebhookState::Pending => "pending",
        WebhookState::Delivered => "delivered",
        WebhookState::Failed => "failed",
    }
}

/// A page of reports, newest task first, with their attempts.
pub(in crate::sqlite) fn list(
    connection: &Connection,
    query: &WebhookQuery,
) -> Result<Vec<Webhook>, Error> {
    let mut conditions = vec!["true"];
    let mut values: Vec<(&str, Box<dyn ToSql>)> = Vec::new();
    if let Some(project) = query.project {
        conditions.push("webhook.project = :project");
        values.push((":project", Box::new(project.0)));
    }
    if let Some(task) = query.task {
        conditions.push("webhook.task = :task");
        values.push((":task", Box::new(task.0)));
    }
    if let Some(state) = query.state {
        conditions.push("state = :state");
        values.push((":state", Box::new(state_word(state))));
        // Says to the planner that the index of the undelivered ones will do.
        if state != WebhookState::Delivered {
            conditions.push("state <> 'delivered'");
        }
    }
    let limit = query.limit.min(MAX_PAGE);
    let rest = format!(
        "{} ORDER BY webhook.task DESC LIMIT {limit}",
        conditions.join(" AND ")
    );
    let values: Vec<(&str, &dyn ToSql)> = values
        .iter()
        .map(|(name, value)| (*name, value.as_ref()))
        .collect();
    select(connection, &rest, values.as_slice())
}

/// Makes a report that was delivered or given up due again, under its old id.
pub(in crate::sqlite) fn redeliver(
    connection: &Connection,
    webhook: &WebhookRef,
    now: UnixMillis,
) -> Result<Redelivery, Error> {
    let Some(found) = find(connection, webhook)? else {
        return Ok(Redelivery::Unknown);
    };
    if found.state == WebhookState::Pending {
        return Ok(Redelivery::Pending(Box::new(found)));
    }
    connection
        .prepare_cached(
            "UPDATE webhook SET state = 'pending', next_attempt_at = ?2, round_started_at = ?2, \
             round_attempts = 0 WHERE task = ?1",
        )?
        .execute((found.task.0, now.0))?;
    let due = find(connection, webhook)?;
    Ok(due.map_or(Redelivery::Unknown, |due| Redelivery::Due(Box::new(due))))
}

fn find(connection: &Connection, webhook: &WebhookRef) -> Result<Option<Webhook>, Error> {
    let found = match webhook {
        WebhookRef::Id(id) => select(connection, "webhook.id = ?1", (id.as_str(),)),
        WebhookRef::Task(task) => select(connection, "webhook.task = ?1", (task.0,)),
    };
    Ok(found?.pop())
}

fn select(
    connection: &Connection,
    rest: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<Webhook>, Error> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT webhook.*, callback_url FROM webhook JOIN task ON task.id = webhook.task \
         WHERE {rest}"
    ))?;
    let mut webhooks = statement
        .query_map(values, webhook)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for webhook in &mut webhooks {
        webhook.attempts = attempts_of(connection, webhook.task)?;
    }
    Ok(webhooks)
}

/// A report without its attempts.
fn webhook(row: &Row<'_>) -> rusqlite::Result<Webhook> {
    Ok(Webhook {
        id: WebhookId(row.get("id")?),
        task: TaskId(row.get("task")?),
        project: ProjectId(row.get("project")?),
        url: row.get("callback_url")?,
        state: state(row)?,
        created_at: UnixMillis(row.get("created_at")?),
        next_attempt_at: row
            .get::<_, Option<i64>>("next_attempt_at")?
            .map(UnixMillis),
        attempt_count: row.get("attempts")?,
        attempts: Vec::new(),
    })
}

fn state(row: &Row<'_>) -> rusqlite::Result<WebhookState> {
    let word: String = row.get("state")?;
    WebhookState::ALL
        .into_iter()
        .find(|state| state_word(*state) == word)
        .ok_or_else(|| rows::unreadable("state", format!("{word:?} is not the state of a webhook")))
}

fn attempts_of(connection: &Connection, task: TaskId) -> Result<Vec<WebhookAttempt>, Error> {
    let mut statement = connection
        .prepare_cached("SELECT * FROM webhook_attempt WHERE task = ?1 ORDER BY number")?;
    let attempts = statement.query_map((task.0,), attempt)?;
    Ok(attempts.collect::<rusqlite::Result<_>>()?)
}

fn attempt(row: &Row<'_>) -> rusqlite::Result<WebhookAttempt> {
    let status: Option<u16> = row.get("status")?;
    let error: Option<String> = row.get("error")?;
    let answer = status
        .map(AttemptAnswer::Status)
        .or(error.map(AttemptAnswer::None));
    let duration_ms = row.get("duration_ms")?;
    Ok(WebhookAttempt {
        number: row.get("number")?,
        at: UnixMillis(row.get("at")?),
        report: answer.map(|answer| AttemptReport {
            answer,
            duration_ms,
        }),
    })
}
