//! The requests, and the measurement of a server that runs already.

use anyhow::Context;
use serde_json::json;

use crate::clients::{Assignment, Seen};
use crate::fleet::Fleet;
use crate::report::{DetailRow, Report, TaskRow};
use crate::rig::{PARAMETERS, tool};
use crate::{Keys, Options, processor};

/// A server that runs already.
#[derive(Clone)]
pub struct Remote {
    /// Host and port; plain HTTP.
    pub address: String,
    /// Of the project that the tasks are to be.
    pub keys: Keys,
    /// Its process, if it runs on this machine: its processor time is shown then.
    pub pid: Option<u32>,
}

/// Measures a server that runs already. Its tasks are real ones: whatever model it has draws them.
///
/// # Errors
/// What kept it from being measured.
pub async fn bench_remote(options: &Options, remote: &Remote) -> anyhow::Result<String> {
    let mut report = Report::new(options, None);
    let headers = remote.keys.headers();
    let (run, processor_us) = remote
        .measure(options, vec![run_request(&remote.address, &headers)], None)
        .await?;
    report.task(TaskRow {
        finished: 0,
        through: "HTTP",
        processor_us,
        rate: run.rate(),
        p50_ms: Some(run.latency_ms(500)),
        p99_ms: Some(run.latency_ms(990)),
    });
    let requests = vec![detail_request(
        &remote.address,
        &headers,
        &token_in(&run.answer)?,
    )];
    let (peak, processor_us) = remote.measure(options, requests.clone(), None).await?;
    let half_of_peak = Some(peak.rate() / 2.0);
    let (half, _) = remote.measure(options, requests, half_of_peak).await?;
    report.detail(DetailRow {
        finished: 0,
        through: "HTTP",
        processor_us,
        rate: peak.rate(),
        p50_ms: Some(peak.latency_ms(500)),
        p99_ms: Some(peak.latency_ms(990)),
        p99_at_half_ms: Some(half.latency_ms(990)),
    });
    Ok(report.text())
}

/// The token in the answer to a run.
fn token_in(answer: &str) -> anyhow::Result<String> {
    let answer: serde_json::Value = serde_json::from_str(answer)?;
    let token = answer["socketaccesstoken"].as_str();
    Ok(token
        .context("a run was answered without a token")?
        .to_owned())
}

impl Remote {
    async fn measure(
        &self,
        options: &Options,
        requests: Vec<String>,
        rate: Option<f64>,
    ) -> anyhow::Result<(Seen, Option<f64>)> {
        let fleet = Fleet {
            arguments: options.client_arguments.clone(),
        };
        let time = || {
            self.pid
                .map(|pid| processor::time_of(Some(pid)))
                .transpose()
        };
        let before = time()?;
        let seen = fleet
            .send(Assignment {
                address: self.address.clone(),
                requests,
                clients: options.clients,
                seconds: options.duration.as_secs_f64(),
                rate,
            })
            .await?;
        let spent = time()?.zip(before).map(|(after, before)| after - before);
        let calls = (seen.answers + seen.refused) as f64;
        let processor_us = spent.map(|spent| spent.as_secs_f64() * 1e6 / calls);
        Ok((seen, processor_us))
    }
}

/// A whole request for a run.
pub(crate) fn run_request(address: &str, headers: &str) -> String {
    let fields = PARAMETERS
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()));
    let body = serde_json::Value::Object(fields.collect()).to_string();
    request(address, headers, &format!("Run/{}", tool()), &body)
}

/// A whole request about a task.
pub(crate) fn detail_request(address: &str, headers: &str, token: &str) -> String {
    let body = json!({ "tasktoken": token }).to_string();
    request(address, headers, "Task/Detail", &body)
}

fn request(address: &str, headers: &str, path: &str, body: &str) -> String {
    format!(
        "POST /v1/{path} HTTP/1.1\r\nhost: {address}\r\n{headers}content-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}
