//! The tables.

use std::fmt::Write;
use std::time::Duration;

use crate::{Options, machine};

/// What a task costs, from submission to its end.
#[derive(Debug)]
pub(crate) struct TaskRow {
    pub(crate) finished: u64,
    pub(crate) through: &'static str,
    pub(crate) processor_us: Option<f64>,
    pub(crate) rate: f64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
}

/// What a question about a task costs.
#[derive(Debug)]
pub(crate) struct DetailRow {
    pub(crate) finished: u64,
    pub(crate) through: &'static str,
    pub(crate) processor_us: Option<f64>,
    pub(crate) rate: f64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) p99_at_half_ms: Option<f64>,
}

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    head: String,
    tasks: Vec<TaskRow>,
    details: Vec<DetailRow>,
}

impl Report {
    pub(crate) fn new(options: &Options, flush_time: Option<Duration>) -> Self {
        let mut head = format!("{}, {} clients", machine::processor(), options.clients);
        if let Some(time) = flush_time {
            let pictures = if options.pictures_on_disk {
                "on the disk"
            } else {
                "in memory"
            };
            let time_ms = time.as_secs_f64() * 1e3;
            let _ = write!(
                head,
                ", a flush of the disk takes {time_ms:.2} ms, pictures {pictures}"
            );
        }
        Self {
            head,
            tasks: Vec::new(),
            details: Vec::new(),
        }
    }

    /// Adds a row, and says so: a whole run takes minutes.
    pub(crate) fn task(&mut self, row: TaskRow) {
        eprintln!(
            "measured: {} finished, tasks, {}",
            row.finished, row.through
        );
        self.tasks.push(row);
    }

    /// Adds a row, and says so.
    pub(crate) fn detail(&mut self, row: DetailRow) {
        eprintln!(
            "measured: {} finished, Task/Detail, {}",
            row.finished, row.through
        );
        self.details.push(row);
    }

    /// The tables in Markdown.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{}\n\nSubmit, claim and complete:\n\n\
             | finished before | through | processor µs/task | tasks/s | Run p50 ms | p99 ms |\n\
             | ---: | --- | ---: | ---: | ---: | ---: |\n",
            self.head
        );
        for row in &self.tasks {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {:.0} | {} | {} |",
                row.finished,
                row.through,
                figure(row.processor_us, 1),
                row.rate,
                figure(row.p50_ms, 2),
                figure(row.p99_ms, 2),
            );
        }
        text.push_str(
            "\nTask/Detail:\n\n\
             | finished before | through | processor µs | answers/s | p50 ms | p99 ms | p99 ms at half the peak |\n\
             | ---: | --- | ---: | ---: | ---: | ---: | ---: |\n",
        );
        for row in &self.details {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {:.0} | {} | {} | {} |",
                row.finished,
                row.through,
                figure(row.processor_us, 1),
                row.rate,
                figure(row.p50_ms, 2),
                figure(row.p99_ms, 2),
                figure(row.p99_at_half_ms, 2),
            );
        }
        text
    }
}

fn figure(value: Option<f64>, places: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.places$}"))
}
