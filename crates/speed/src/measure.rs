//! Repeated runs, and what they come to.

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;

use crate::cases::{Case, Stages};
use crate::clock::{Clock, Passed, ms};

/// Runs that count at least.
const MIN_RUNS: usize = 3;

/// How many runs there are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    /// So many.
    Runs(usize),
    /// As many as fit, and at least [`MIN_RUNS`].
    Seconds(f64),
}

impl Patience {
    fn wants_more(self, done: usize, began: Instant) -> bool {
        match self {
            Self::Runs(runs) => done < runs,
            Self::Seconds(seconds) => done < MIN_RUNS || began.elapsed().as_secs_f64() < seconds,
        }
    }
}

/// What some runs came to.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) runs: usize,
    /// The middle of all runs, and the quickest.
    pub(crate) wall: Spread,
    /// The same in processor time.
    pub(crate) processor: Spread,
    /// The middle of each stage, where the case has stages.
    pub(crate) stages: Stages,
}

/// The middle and the least of some times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: Duration,
    pub(crate) min: Duration,
}

impl Summary {
    /// Runs once to warm up, then as often as `patience` says.
    pub(crate) fn of(case: &mut Case, patience: Patience, clock: &Clock) -> anyhow::Result<Self> {
        (case.run)()?;
        let began = Instant::now();
        let mut passed: Vec<Passed> = Vec::new();
        let mut stages: Vec<Stages> = Vec::new();
        while patience.wants_more(passed.len(), began) {
            let moment = clock.now();
            let parts = (case.run)()?;
            passed.push(clock.since(moment));
            stages.push(parts);
        }
        Ok(Self {
            runs: passed.len(),
            wall: Spread::of(passed.iter().map(|passed| passed.wall)),
            processor: Spread::of(passed.iter().map(|passed| passed.processor)),
            stages: medians(&stages),
        })
    }
}

impl Spread {
    fn of(times: impl Iterator<Item = Duration>) -> Self {
        let mut times: Vec<Duration> = times.collect();
        times.sort_unstable();
        Self {
            median: times[times.len() / 2],
            min: times[0],
        }
    }
}

/// The middle of each stage over all runs, which have the same ones.
fn medians(runs: &[Stages]) -> Stages {
    let names = runs[0].iter().map(|(name, _)| *name);
    names
        .enumerate()
        .map(|(index, name)| {
            let spread = Spread::of(runs.iter().map(|stages| stages[index].1));
            (name, spread.median)
        })
        .collect()
}

/// Warms up, says that it is ready, and runs once for each line that it reads.
pub(crate) fn on_request(
    case: &mut Case,
    requests: impl BufRead,
    mut answers: impl Write,
) -> anyhow::Result<()> {
    (case.run)()?;
    let mut answer = |line: serde_json::Value| {
        writeln!(answers, "{line}")?;
        answers.flush()
    };
    answer(json!({ "ready": true })).context("cannot answer")?;
    for request in requests.lines() {
        request.context("cannot read the next request")?;
        let moment = Clock.now();
        (case.run)()?;
        let passed = Clock.since(moment);
        let line = json!({ "ms": ms(passed.wall), "processor_ms": ms(passed.processor) });
        answer(line).context("cannot answer")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted() -> (Case, std::rc::Rc<std::cell::Cell<u32>>) {
        let count = std::rc::Rc::new(std::cell::Cell::new(0));
        let counter = count.clone();
        let case = Case::new("counts", move || {
            counter.set(counter.get() + 1);
            Ok(vec![("only", Duration::from_millis(counter.get().into()))])
        });
        (case, count)
    }

    #[test]
    fn the_first_run_does_not_count() {
        let (mut case, count) = counted();
        let summary = Summary::of(&mut case, Patience::Runs(3), &Clock).expect("runs");
        assert_eq!((count.get(), summary.runs), (4, 3));
        // The middle of 2, 3 and 4 ms.
        assert_eq!(summary.stages, [("only", Duration::from_millis(3))]);
    }

    #[test]
    fn there_are_three_runs_however_little_time() {
        let (mut case, _) = counted();
        let summary = Summary::of(&mut case, Patience::Seconds(1e-9), &Clock).expect("runs");
        assert_eq!(summary.runs, 3);
        assert!(summary.wall.min <= summary.wall.median);
    }

    #[test]
    fn each_line_is_answered_with_one() {
        let (mut case, count) = counted();
        let mut answers = Vec::new();
        on_request(&mut case, &b"\n\n"[..], &mut answers).expect("answers");
        let lines: Vec<serde_json::Value> = String::from_utf8(answers)
            .expect("text")
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!((lines.len(), count.get()), (3, 3));
        assert_eq!(lines[0], json!({ "ready": true }));
        assert!(
            lines[1..]
                .iter()
                .all(|l| l["ms"].is_f64() && l["processor_ms"].is_f64())
        );
    }
}
