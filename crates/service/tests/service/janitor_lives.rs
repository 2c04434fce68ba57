//! Random lives of tasks and uploads, with a janitor that fails and crashes among them: what is on
//! record is always served, and in the end nothing else is left.

use std::collections::HashSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tintype_domain::{
    AccessKey, BlobKey, ExitCode, FileId, FileRecord, Outcome, OutputFile, Task, TaskRef,
};
use tintype_service::Clock;
use tintype_service::janitor::Retention;
use tintype_store::Mode;

use crate::bench::{Bench, draw, edit};
use crate::faults::Moment;
use crate::janitor::{DAY, RETENTION, janitor};

const LIVES: u64 = 12;
const STEPS: usize = 60;

/// Files that tasks may work from.
struct Address {
    directory: String,
    name: String,
}

struct World {
    bench: Bench,
    rng: StdRng,
    running: Vec<Task>,
    addresses: Vec<Address>,
    /// Which of the addresses each works from.
    tasks: Vec<(TaskRef, Option<usize>)>,
    written: HashSet<String>,
    retention: Retention,
}

impl World {
    async fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let records = rng.random_bool(0.3).then_some(DAY * 3);
        Self {
            bench: Bench::new().await,
            rng,
            running: Vec::new(),
            addresses: Vec::new(),
            tasks: Vec::new(),
            written: HashSet::new(),
            retention: Retention {
                records,
                ..RETENTION
            },
        }
    }

    async fn step(&mut self) {
        match self.rng.random_range(0..12) {
            0 | 1 => self.submit().await,
            2 | 3 => self.claim().await,
            4 => self.write().await,
            5 | 6 => self.end().await,
            7 => self.upload().await,
            8 => self.lose_leases().await,
            9 => self.delete_files().await,
            10 => {
                let hours = self.rng.random_range(1..40);
                self.bench.clock.advance(Duration::from_secs(3600) * hours);
            }
            _ => self.clean().await,
        }
    }

    /// A task; perhaps one that works from a file that is there.
    async fn submit(&mut self) {
        let picked = self.rng.random_range(0..self.addresses.len() + 1);
        let named = match self.addresses.get(picked) {
            Some(at) if self.is_served(at).await => Some(picked),
            _ => None,
        };
        let submitted = match named {
            Some(picked) => {
                let at = &self.addresses[picked];
                let url = self.bench.service.file_url(&at.directory, &at.name);
                let inputs = json!({ "prompt": "x", "inputImage": url });
                self.bench.submit(&edit(), inputs).await
            }
            None => self.bench.submit(&draw(), json!({ "prompt": "x" })).await,
        };
        self.tasks.push((TaskRef::Id(submitted.task), named));
    }

    async fn claim(&mut self) {
        let now = self.bench.clock.now();
        let claim = tintype_store::Claim {
            worker: tintype_domain::WorkerId("idle".into()),
            limit: 1,
            lease_until: now.plus_millis(30_000),
            max_attempts: 3,
        };
        let claimed = self.bench.store.claim(claim, now).await;
        self.running.extend(claimed.expect("a claim"));
    }

    fn pick(&mut self) -> Option<Task> {
        let picked = self.rng.random_range(0..self.running.len().max(1));
        self.running.get(picked).cloned()
    }

    /// A worker writes the bytes of its picture, be its lease lost or not.
    async fn write(&mut self) {
        if let Some(task) = self.pick() {
            self.bench.leave(&key_of(&task)).await;
            self.written.insert(key_of(&task));
        }
    }

    /// A worker ends its task, be its lease lost or not.
    async fn end(&mut self) {
        let Some(task) = self.pick() else { return };
        self.running.retain(|other| other != &task);
        let outcome = if self.rng.random_bool(0.7) {
            self.bench.leave(&key_of(&task)).await;
            let output = self.output(&task);
            self.addresses.push(Address {
                directory: output.directory.clone(),
                name: output.name.clone(),
            });
            Outcome::Succeeded {
                outputs: vec![output],
                withheld: 0,
                maker: None,
                debug_error: String::new(),
            }
        } else {
            Outcome::Failed {
                exit_code: ExitCode::ENGINE,
                debug_error: "no memory".to_owned(),
            }
        };
        let now = self.bench.clock.now();
        let store = &self.bench.store;
        let ended = store.complete(task.id, task.epoch, outcome, now).await;
        ended.expect("an answer");
    }

    fn output(&mut self, task: &Task) -> OutputFile {
        let now = self.bench.clock.now();
        OutputFile {
            id: FileId::random(&mut self.rng),
            name: "0.png".to_owned(),
            content_type: "image/png".to_owned(),
            parent_id: task.output_folder.clone(),
            size_bytes: 4,
            added_at: now,
            modified_at: now,
            access_key: AccessKey::random(&mut self.rng),
            directory: FileId::random(&mut self.rng).0,
            blob_key: key_of(task),
        }
    }

    /// An upload; sometimes one whose record is refused.
    async fn upload(&mut self) {
        if self.rng.random_bool(0.3) {
            let lost = FileId::random(&mut self.rng);
            self.bench.leave(&BlobKey::Upload(lost).to_string()).await;
            return;
        }
        let FileRecord {
            directory, name, ..
        } = self.bench.upload("a.png").await;
        self.addresses.push(Address { directory, name });
    }

    async fn lose_leases(&mut self) {
        let now = self.bench.clock.now();
        self.bench.store.reap(3, now).await.expect("reaped");
    }

    async fn delete_files(&mut self) {
        let picked = self.rng.random_range(0..self.tasks.len().max(1));
        if let Some((task, _)) = self.tasks.get(picked)
            && !self.is_named(task).await
        {
            let principal = &self.bench.principal;
            // Unfinished ones are refused.
            let _ = self.bench.service.delete_files(principal, task).await;
        }
    }

    /// Whether an unfinished task works from this one's output: the owner may delete it all the
    /// same, but then it is no promise of the janitor's.
    async fn is_named(&self, task: &TaskRef) -> bool {
        let found = self.bench.store.detail(task, None).await;
        let outputs = found.expect("an answer").map(|task| task.outputs);
        outputs.into_iter().flatten().any(|output| {
            let named = self.tasks.iter().filter_map(|(_, named)| *named);
            let mut addresses = named.map(|named| &self.addresses[named].directory);
            addresses.any(|directory| *directory == output.directory)
        })
    }

    /// A pass, in which perhaps something fails, or in which the process dies.
    async fn clean(&mut self) {
        let faults = &self.bench.faults;
        match self.rng.random_range(0..4) {
            0 => faults.crash_at(self.rng.random_range(0..6), Moment::Before),
            1 => faults.crash_at(self.rng.random_range(0..6), Moment::After),
            2 => faults.fail("delete", self.rng.random_range(1..4)),
            _ => {}
        }
        let janitor = janitor(&self.bench, self.retention);
        tokio::select! {
            biased;
            () = faults.crashed() => {}
            passed = janitor.pass(Mode::Remove) => drop(passed.expect("a pass")),
        }
        faults.none();
    }

    async fn is_served(&self, at: &Address) -> bool {
        let file = self.bench.service.output_file(&at.directory, &at.name);
        file.await.expect("an answer").is_some()
    }

    /// Whatever is on record has its bytes, and so has what an unfinished task works from.
    async fn assert_nothing_is_missing(&self) {
        let store = &self.bench.store;
        for at in &self.addresses {
            let output = store.output_at(&at.directory, &at.name).await;
            let file = store.file_at(&at.directory, &at.name).await;
            let output = output.expect("an answer").map(|output| output.blob_key);
            let file = file.expect("an answer").map(|file| file.blob_key);
            if let Some(key) = output.or(file) {
                self.bench.blob(&key).await;
            }
        }
        for (task, named) in &self.tasks {
            let found = store.detail(task, None).await.expect("an answer");
            let unfinished = found.is_some_and(|task| !task.state.is_final());
            if let (true, Some(named)) = (unfinished, named) {
                assert!(self.is_served(&self.addresses[*named]).await);
            }
        }
        for task in self.running.iter().filter(|task| self.has_written(task)) {
            let now = store.detail(&TaskRef::Id(task.id), None).await;
            let now = now.expect("an answer").filter(|now| !now.state.is_final());
            if now.is_some_and(|now| now.epoch == task.epoch) {
                self.bench.blob(&key_of(task)).await;
            }
        }
    }

    fn has_written(&self, task: &Task) -> bool {
        self.written.contains(&key_of(task))
    }

    /// Bytes that nobody points at, when all had time to go.
    async fn assert_nothing_is_left(&mut self) {
        self.bench.clock.advance(DAY * 2);
        let janitor = janitor(&self.bench, self.retention);
        janitor.pass(Mode::Remove).await.expect("a pass");
        self.assert_nothing_is_missing().await;
        let keys = self.bench.keys().await;
        let parsed = keys.iter().filter_map(|key| BlobKey::parse(key)).collect();
        let live = self.bench.store.live_blobs(parsed).await;
        assert_eq!(live.expect("an answer").len(), keys.len(), "{keys:?}");
    }
}

fn key_of(task: &Task) -> String {
    let key = BlobKey::Output {
        task: task.id,
        epoch: task.epoch,
        index: 0,
    };
    key.to_string()
}

#[tokio::test]
async fn what_is_on_record_is_always_served_and_nothing_else_is_left() {
    for seed in 0..LIVES {
        println!("seed {seed}");
        let mut world = World::new(seed).await;
        for _ in 0..STEPS {
            world.step().await;
            world.assert_nothing_is_missing().await;
        }
        world.assert_nothing_is_left().await;
    }
}
