//! How reports are printed.

use serde_json::{Value, json};
use tintype_domain::{AttemptAnswer, UnixMillis, Webhook, WebhookAttempt, WebhookState};

use crate::table::{columns, duration, plain, time};

/// Characters of an address that are shown: it has a line of its own on a terminal of 100.
const URL_CHARS: usize = 96;

/// Reports for people: a line for each, where it goes, and its attempts below it.
pub fn text(webhooks: &[Webhook], now: UnixMillis) -> String {
    if webhooks.is_empty() {
        return "no reports: only tasks that ended and named a callback have one\n".to_owned();
    }
    let reports = webhooks.iter().map(|webhook| report(webhook, now));
    reports.collect::<Vec<_>>().join("\n")
}

fn report(webhook: &Webhook, now: UnixMillis) -> String {
    let head = format!(
        "task {}  {}  {}  {}\n  {}\n",
        webhook.task,
        webhook.id,
        state_text(webhook.state),
        time(webhook.created_at),
        shortened(&plain(&webhook.url)),
    );
    let rows: Vec<_> = webhook.attempts.iter().map(attempt).collect();
    let attempts = if rows.is_empty() {
        String::new()
    } else {
        columns(["#", "attempt", "took", "answer"], &rows)
    };
    let mut lines = indented(&attempts);
    if webhook.state == WebhookState::Pending {
        lines += &format!("  {}\n", next(webhook, now));
    }
    head + &lines
}

fn attempt(attempt: &WebhookAttempt) -> [String; 4] {
    let (took, answer) = match &attempt.report {
        None => (String::new(), "under way".to_owned()),
        Some(report) => (
            report.duration_ms.map(duration).unwrap_or_default(),
            match &report.answer {
                AttemptAnswer::Status(status) => status.to_string(),
                AttemptAnswer::None(reason) => plain(reason),
            },
        ),
    };
    [attempt.number.to_string(), time(attempt.at), took, answer]
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

fn shortened(url: &str) -> String {
    if url.chars().count() <= URL_CHARS {
        return url.to_owned();
    }
    let start: String = url.chars().take(URL_CHARS - 1).collect();
    start + "…"
}

/// When a report on its way is tried next.
pub fn next(webhook: &Webhook, now: UnixMillis) -> String {
    match webhook.next_attempt_at {
        None => "an attempt is under way".to_owned(),
        Some(at) if at <= now => "the next attempt is due".to_owned(),
        Some(at) => format!("the next attempt is due at {}", time(at)),
    }
}

fn state_text(state: WebhookState) -> &'static str {
    match state {
        WebhookState::Pending => "pending",
        WebhookState::Delivered => "delivered",
        WebhookState::Failed => "failed",
    }
}

/// Reports for programs: one line of JSON for each. Times are in milliseconds since 1970.
pub fn json_lines(webhooks: &[Webhook]) -> serde_json::Result<String> {
    let mut lines = String::new();
    for webhook in webhooks {
        lines += &serde_json::to_string(&as_json(webhook))?;
        lines.push('\n');
    }
    Ok(lines)
}

fn as_json(webhook: &Webhook) -> Value {
    let attempts = webhook.attempts.iter().map(|attempt| {
        let report = attempt.report.as_ref();
        let (status, error) = match report.map(|report| &report.answer) {
            Some(AttemptAnswer::Status(status)) => (Some(*status), None),
            Some(AttemptAnswer::None(reason)) => (None, Some(reason.as_str())),
            None => (None, None),
        };
        json!({
            "number": attempt.number,
            "at_ms": attempt.at,
            "status": status,
            "error": error,
            "duration_ms": report.and_then(|report| report.duration_ms),
        })
    });
    json!({
        "id": webhook.id,
        "task": webhook.task,
        "project": webhook.project,
        "url": webhook.url,
        "state": webhook.state,
        "created_at_ms": webhook.created_at,
        "next_attempt_at_ms": webhook.next_attempt_at,
        "attempt_count": webhook.attempt_count,
        "attempts": attempts.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use tintype_domain::{AttemptReport, ProjectId, TaskId, WebhookId};

    use super::*;

    const START: UnixMillis = UnixMillis(1_734_513_807_000);

    fn attempt(number: u32, seconds: i64, report: Option<AttemptReport>) -> WebhookAttempt {
        WebhookAttempt {
            number,
            at: START.plus_millis(seconds * 1000),
            report,
        }
    }

    fn answered(answer: AttemptAnswer, duration_ms: u64) -> Option<AttemptReport> {
        Some(AttemptReport {
            answer,
            duration_ms: Some(duration_ms),
        })
    }

    fn webhook(task: i64, state: WebhookState, attempts: Vec<WebhookAttempt>) -> Webhook {
        Webhook {
            id: WebhookId("msg_0123456789abcdef0123456789abcdef".to_owned()),
            task: TaskId(task),
            project: ProjectId(1),
            url: "https://hooks.example/tintype".to_owned(),
            state,
            created_at: START,
            next_attempt_at: None,
            attempt_count: 3,
            attempts,
        }
    }

    /// The three states, an address that is too long, and one that steers terminals.
    fn some() -> Vec<Webhook> {
        let refused = AttemptAnswer::None(
            "10.0.0.7 is a private address, and this service connects only to public ones, unless \
             its operator allows others."
                .to_owned(),
        );
        let mut pending = webhook(
            2223,
            WebhookState::Pending,
            vec![
                attempt(1, 0, answered(AttemptAnswer::Status(500), 87)),
                attempt(
                    2,
                    5,
                    answered(AttemptAnswer::None("silence".to_owned()), 15_004),
                ),
            ],
        );
        pending.next_attempt_at = Some(START.plus_millis(50_000));
        pending.url += &"/long".repeat(20);
        let mut failed = webhook(
            2222,
            WebhookState::Failed,
            vec![attempt(1, 0, answered(refused, 1))],
        );
        failed.url = "http://10.0.0.7/\u{1b}[2J".to_owned();
        let delivered = answered(AttemptAnswer::Status(204), 31);
        vec![
            pending,
            failed,
            webhook(
                2221,
                WebhookState::Delivered,
                vec![attempt(1, 0, delivered)],
            ),
            webhook(2220, WebhookState::Pending, vec![attempt(1, 0, None)]),
        ]
    }

    #[test]
    fn reports_read_as_published() {
        insta::assert_snapshot!(text(&some(), START));
    }

    #[test]
    fn programs_get_a_line_for_each() {
        insta::assert_snapshot!(json_lines(&some()).expect("JSON"));
    }

    #[test]
    fn nothing_is_said_in_words() {
        assert!(text(&[], START).starts_with("no reports"));
    }
}
