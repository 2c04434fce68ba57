//! The rounds: the same work through the store alone, through the service, and over a socket.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use tintype_domain::{TaskId, TaskRef};
use tintype_store::Store;
use tokio::task::JoinSet;

use crate::clients::{Assignment, Seen};
use crate::fill::{Share, fill, finished_tasks, work_through};
use crate::fleet::Fleet;
use crate::report::{DetailRow, Report, TaskRow};
use crate::rig::{Base, run_request};
use crate::{Only, Options, machine, processor, remote};

/// Tasks that are asked about: enough that they lie all over the database.
const ASKED_ABOUT: usize = 2_000;

/// Before each measurement, so that nothing is counted that happens once.
const WARM_UP: Duration = Duration::from_millis(300);

/// Between looks at a queue that empties.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Tasks for the store alone, for each second of a measurement.
const STORE_TASKS_A_SECOND: f64 = 5_000.0;

/// A filled database is used again until it has grown by this part of its size.
const MAY_GROW: f64 = 1.25;

/// Measures the service in this process, and returns the report.
///
/// # Errors
/// What kept it from being measured.
pub async fn bench_in_process(options: &Options) -> anyhow::Result<String> {
    std::fs::create_dir_all(&options.folder)?;
    let mut report = Report::new(options, Some(machine::flush_time(&options.folder)?));
    for &finished in &options.finished {
        let folder = options.folder.join(format!("finished-{finished}"));
        let round = Round {
            options,
            finished,
            base: open_filled(&folder, finished, options.pictures_on_disk).await?,
        };
        round.measure(&mut report).await?;
        round.base.close();
    }
    Ok(report.text())
}

/// The folder with that many finished tasks, anew if rounds before have made them too many.
async fn open_filled(folder: &Path, finished: u64, on_disk: bool) -> anyhow::Result<Base> {
    let mut base = Base::open(folder, on_disk).await?;
    if finished_tasks(&base.store).await? as f64 > finished as f64 * MAY_GROW {
        std::fs::remove_dir_all(base.close())?;
        base = Base::open(folder, on_disk).await?;
    }
    fill(&base.store, base.principal.project, finished).await?;
    Ok(base)
}

/// One size of the database.
struct Round<'a> {
    options: &'a Options,
    finished: u64,
    base: Base,
}

/// What some calls cost.
struct Cost {
    calls: u64,
    wall: Duration,
    processor: Duration,
}

impl Cost {
    fn processor_us(&self) -> f64 {
        self.processor.as_secs_f64() * 1e6 / self.calls as f64
    }

    fn rate(&self) -> f64 {
        self.calls as f64 / self.wall.as_secs_f64()
    }
}

/// A point on the wall clock, and on this process's account.
struct Moment {
    wall: Instant,
    processor: Duration,
}

impl Moment {
    fn now() -> anyhow::Result<Self> {
        Ok(Self {
            wall: Instant::now(),
            processor: processor::time_of(None)?,
        })
    }

    fn cost_of(&self, calls: u64) -> anyhow::Result<Cost> {
        let now = Self::now()?;
        Ok(Cost {
            calls,
            wall: now.wall - self.wall,
            processor: now.processor - self.processor,
        })
    }
}

impl Round<'_> {
    async fn measure(&self, report: &mut Report) -> anyhow::Result<()> {
        if self.options.only != Some(Only::Tasks) {
            let tokens = self.some_tokens().await?;
            self.detail(report, &tokens).await?;
        }
        if self.options.only != Some(Only::Detail) {
            self.tasks(report).await?;
        }
        Ok(())
    }

    /// Tasks from all over the database.
    async fn some_tokens(&self) -> anyhow::Result<Vec<String>> {
        let project = Some(self.base.principal.project);
        let mut tokens = Vec::new();
        while tokens.len() < ASKED_ABOUT {
            let number = rand::rng().random_range(1..=self.finished.max(1));
            let task = TaskRef::Id(TaskId(i64::try_from(number)?));
            let found = self.base.store.detail(&task, project).await?;
            tokens.extend(found.map(|task| task.token.0));
        }
        Ok(tokens)
    }

    async fn detail(&self, report: &mut Report, tokens: &[String]) -> anyhow::Result<()> {
        let all: Arc<[TaskRef]> = tokens
            .iter()
            .map(|token| TaskRef::Token(tintype_domain::TaskToken(token.clone())))
            .collect();
        let project = self.base.principal.project;
        let (store, asked) = (self.base.store.clone(), all.clone());
        let cost = self
            .repeat(move |at| {
                let (store, asked) = (store.clone(), asked.clone());
                async move {
                    let found = store
                        .detail(&asked[at % asked.len()], Some(project))
                        .await?;
                    anyhow::ensure!(found.is_some(), "a task is gone");
                    Ok(())
                }
            })
            .await?;
        report.detail(self.detail_row("store", &cost));

        let (service, asked) = (self.base.service.clone(), all);
        let credentials = Arc::new(self.base.keys.credentials());
        let cost = self
            .repeat(move |at| {
                let (service, asked) = (service.clone(), asked.clone());
                let credentials = credentials.clone();
                async move {
                    let principal = service.authenticate(&credentials).await?;
                    service.detail(&principal, &asked[at % asked.len()]).await?;
                    Ok(())
                }
            })
            .await?;
        report.detail(self.detail_row("service", &cost));
        self.detail_over_http(report, tokens).await
    }

    async fn detail_over_http(&self, report: &mut Report, tokens: &[String]) -> anyhow::Result<()> {
        let listening = self.base.listen().await?;
        let address = listening.address.to_string();
        let headers = self.base.keys.headers();
        let requests: Vec<_> = tokens
            .iter()
            .map(|token| remote::detail_request(&address, &headers, token))
            .collect();
        let (peak, cost) = self.over_http(&address, &requests, None).await?;
        let (half, _) = self
            .over_http(&address, &requests, Some(peak.rate() / 2.0))
            .await?;
        report.detail(DetailRow {
            p50_ms: Some(peak.latency_ms(500)),
            p99_ms: Some(peak.latency_ms(990)),
            p99_at_half_ms: Some(half.latency_ms(990)),
            ..self.detail_row("HTTP", &cost)
        });
        listening.close().await
    }

    async fn over_http(
        &self,
        address: &str,
        requests: &[String],
        rate: Option<f64>,
    ) -> anyhow::Result<(Seen, Cost)> {
        let fleet = Fleet {
            arguments: self.options.client_arguments.clone(),
        };
        let assignment = |duration: Duration| Assignment {
            address: address.to_owned(),
            requests: requests.to_vec(),
            clients: self.options.clients,
            seconds: duration.as_secs_f64(),
            rate,
        };
        fleet.send(assignment(WARM_UP)).await?;
        let began = Moment::now()?;
        let seen = fleet.send(assignment(self.options.duration)).await?;
        let cost = began.cost_of(seen.answers + seen.refused)?;
        Ok((seen, cost))
    }

    fn detail_row(&self, through: &'static str, cost: &Cost) -> DetailRow {
        DetailRow {
            finished: self.finished,
            through,
            processor_us: Some(cost.processor_us()),
            rate: cost.rate(),
            p50_ms: None,
            p99_ms: None,
            p99_at_half_ms: None,
        }
    }

    async fn tasks(&self, report: &mut Report) -> anyhow::Result<()> {
        let tasks = (STORE_TASKS_A_SECOND * self.options.duration.as_secs_f64()) as u64;
        let share = Share {
            tasks: tasks.max(1),
            callers: self.options.clients,
        };
        let began = Moment::now()?;
        work_through(&self.base.store, self.base.principal.project, share).await?;
        report.task(self.task_row("store", &began.cost_of(share.tasks)?));

        let worker = self.base.worker();
        let service = self.base.service.clone();
        let credentials = Arc::new(self.base.keys.credentials());
        let submit = move |_| {
            let (service, credentials) = (service.clone(), credentials.clone());
            async move {
                let principal = service.authenticate(&credentials).await?;
                service.submit(&principal, run_request()).await?;
                Ok(())
            }
        };
        let cost = self.with_their_ends(self.repeat(submit)).await?.1;
        report.task(self.task_row("service", &cost));

        let listening = self.base.listen().await?;
        let address = listening.address.to_string();
        let request = remote::run_request(&address, &self.base.keys.headers());
        let sent = self.over_http(&address, std::slice::from_ref(&request), None);
        let ((seen, _), cost) = self.with_their_ends(sent).await?;
        report.task(TaskRow {
            p50_ms: Some(seen.latency_ms(500)),
            p99_ms: Some(seen.latency_ms(990)),
            ..self.task_row("HTTP", &cost)
        });
        listening.close().await?;
        worker.drain().await;
        Ok(())
    }

    /// What all tasks cost that are submitted meanwhile, up to the end of the last one.
    async fn with_their_ends<T>(
        &self,
        submitting: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(T, Cost)> {
        let before = self.runs_and_ends().await?.1;
        let began = Moment::now()?;
        let submitted = submitting.await?;
        loop {
            let (runs, ends) = self.runs_and_ends().await?;
            if runs == ends {
                return Ok((submitted, began.cost_of(ends - before)?));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn runs_and_ends(&self) -> anyhow::Result<(u64, u64)> {
        let stats = self.base.store.tool_stats().await?;
        let runs = stats.iter().map(|(_, stats)| stats.runs).sum();
        Ok((runs, finished_tasks(&self.base.store).await?))
    }

    fn task_row(&self, through: &'static str, cost: &Cost) -> TaskRow {
        TaskRow {
            finished: self.finished,
            through,
            processor_us: Some(cost.processor_us()),
            rate: cost.rate(),
            p50_ms: None,
            p99_ms: None,
        }
    }

    /// Calls again and again, as many at a time as there are clients.
    async fn repeat<F, Doing>(&self, act: F) -> anyhow::Result<Cost>
    where
        F: Fn(usize) -> Doing + Clone + Send + 'static,
        Doing: Future<Output = anyhow::Result<()>> + Send,
    {
        let began = Moment::now()?;
        let end = began.wall + self.options.duration;
        let mut callers = JoinSet::new();
        for caller in 0..self.options.clients {
            let (act, clients) = (act.clone(), self.options.clients);
            callers.spawn(async move {
                let mut calls = 0;
                while Instant::now() < end {
                    act(calls * clients + caller).await?;
                    calls += 1;
                }
                anyhow::Ok(calls as u64)
            });
        }
        let mut calls = 0;
        while let Some(own) = callers.join_next().await {
            calls += own??;
        }
        began.cost_of(calls)
    }
}
