//! What is old goes, what somebody points at stays, and a crash in between harms nobody.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use image::ImageFormat;
use object_store::{ObjectStoreExt, PutPayload, path::Path};
use serde_json::json;
use tintype_domain::{BlobKey, Epoch, FileRecord, Task, TaskId, TaskState};
use tintype_service::janitor::{Janitor, JanitorConfig, Removed, Report, Retention};
use tintype_service::{Clock, ServiceError, UploadedPart};
use tintype_store::Mode;

use crate::bench::{Bench, draw, edit, picture};
use crate::faults::Moment;

pub const DAY: Duration = Duration::from_secs(24 * 3600);

pub const RETENTION: Retention = Retention {
    outputs: Some(DAY),
    uploads: Some(DAY),
    records: None,
    sweep_grace: DAY,
};

/// A janitor that wastes no time.
pub fn janitor(bench: &Bench, retention: Retention) -> Janitor {
    let config = JanitorConfig {
        pause: Duration::ZERO,
        ..JanitorConfig::new(retention)
    };
    Janitor::new(Arc::clone(&bench.service), config)
}

async fn pass(bench: &Bench, retention: Retention) -> Report {
    let passed = janitor(bench, retention).pass(Mode::Remove).await;
    passed.expect("a pass")
}

impl Bench {
    pub async fn keys(&self) -> Vec<String> {
        let listed = self.blobs.list(None).map_ok(|meta| meta.location.into());
        let mut keys: Vec<String> = listed.try_collect().await.expect("a list");
        keys.sort();
        keys
    }

    /// Bytes that some writer left under a key.
    pub async fn leave(&self, key: &str) {
        let bytes = PutPayload::from_static(b"left");
        let put = self.blobs.put(&Path::from(key), bytes).await;
        put.expect("bytes are written");
    }

    pub async fn upload(&self, name: &str) -> FileRecord {
        let part = UploadedPart {
            file_name: Some(name.to_owned()),
            content_type: None,
            bytes: Bytes::from(picture(8, 8, ImageFormat::Png)),
        };
        let uploaded = self.service.upload(&self.principal, part, None).await;
        uploaded.expect("an upload")
    }

    async fn drawn(&self) -> Task {
        let task = self.submit(&draw(), json!({ "prompt": "x" })).await.task;
        let worker = self.worker();
        let ended = self.ended(task).await;
        worker.drain().await;
        ended
    }

    async fn is_served(&self, directory: &str, name: &str) -> bool {
        let file = self.service.output_file(directory, name).await;
        file.expect("an answer").is_some()
    }
}

fn key_of(task: TaskId, epoch: Epoch) -> String {
    let key = BlobKey::Output {
        task,
        epoch,
        index: 0,
    };
    key.to_string()
}

#[tokio::test]
async fn files_of_ended_tasks_go_after_their_time_and_the_record_stays() {
    let bench = Bench::new().await;
    let task = bench.drawn().await;
    let output = &task.outputs[0];
    let early = pass(&bench, RETENTION).await;
    assert_eq!(early, Report::default());
    assert!(bench.is_served(&output.directory, &output.name).await);

    bench.clock.advance(DAY * 2);
    let look = janitor(&bench, RETENTION).pass(Mode::Look).await;
    let outputs = Removed {
        files: 1,
        bytes: output.size_bytes,
    };
    assert_eq!(look.expect("a look").outputs, outputs);
    assert!(bench.is_served(&output.directory, &output.name).await);

    assert_eq!(pass(&bench, RETENTION).await.outputs, outputs);
    assert!(!bench.is_served(&output.directory, &output.name).await);
    assert_eq!(bench.keys().await, Vec::<String>::new());
    let kept = bench.task(task.id).await;
    assert_eq!((kept.state, kept.outputs.len()), (TaskState::Finished, 0));
    assert_eq!(kept.times, task.times);
}

#[tokio::test]
async fn what_is_kept_for_ever_is_kept() {
    let bench = Bench::new().await;
    let task = bench.drawn().await;
    let file = bench.upload("a.png").await;
    bench.clock.advance(DAY * 10_000);
    let for_ever = Retention {
        outputs: None,
        uploads: None,
        ..RETENTION
    };
    let report = pass(&bench, for_ever).await;
    assert_eq!(report, Report::default());
    let output = &task.outputs[0];
    assert!(bench.is_served(&output.directory, &output.name).await);
    assert!(bench.is_served(&file.directory, &file.name).await);
}

#[tokio::test]
async fn whole_records_go_if_that_is_wanted() {
    let bench = Bench::new().await;
    let task = bench.drawn().await;
    let waiting = bench.submit(&draw(), json!({ "prompt": "x" })).await;
    bench.clock.advance(DAY * 2);
    let records = Retention {
        records: Some(DAY),
        ..RETENTION
    };
    assert_eq!(pass(&bench, records).await.records, 1);
    assert_eq!(bench.keys().await, Vec::<String>::new());
    let name = tintype_domain::TaskRef::Id(task.id);
    let detail = bench.service.detail(&bench.principal, &name).await;
    assert_eq!(detail.expect("an answer"), None);
    assert_eq!(bench.task(waiting.task).await.state, TaskState::Queued);
}

#[tokio::test]
async fn bytes_of_a_running_task_are_never_swept_however_old_they_are() {
    let bench = Bench::new().await;
    bench.submit(&draw(), json!({ "prompt": "x" })).await;
    let running = bench.claim().await;
    let key = key_of(running.id, running.epoch);
    bench.leave(&key).await;
    bench.clock.advance(DAY * 100);
    assert_eq!(pass(&bench, RETENTION).await.orphans, Removed::default());
    assert_eq!(bench.keys().await, std::slice::from_ref(&key));

    // Another attempt begins: what the first one wrote can never come on record.
    let now = bench.clock.now();
    bench.store.reap(3, now).await.expect("reaped");
    let again = bench.claim().await;
    let second = key_of(again.id, again.epoch);
    bench.leave(&second).await;
    bench.clock.advance(DAY * 2);
    assert_eq!(pass(&bench, RETENTION).await.orphans.files, 1);
    assert_eq!(bench.keys().await, [second]);
}

#[tokio::test]
async fn bytes_without_an_owner_go_when_they_are_old_and_foreign_ones_never() {
    let bench = Bench::new().await;
    let upload = bench.upload("a.png").await;
    let orphan = format!("files/{}", "0".repeat(32));
    bench.leave(&orphan).await;
    bench.leave("notes/by the operator.txt").await;
    let for_ever = Retention {
        uploads: None,
        ..RETENTION
    };
    assert_eq!(pass(&bench, for_ever).await, Report::default());
    assert_eq!(bench.keys().await.len(), 3, "its record may be on its way");

    bench.clock.advance(DAY * 2);
    let look = janitor(&bench, for_ever).pass(Mode::Look).await;
    let orphans = Removed { files: 1, bytes: 4 };
    assert_eq!(look.expect("a look").orphans, orphans);
    assert_eq!(bench.keys().await.len(), 3);
    assert_eq!(pass(&bench, for_ever).await.orphans, orphans);
    let left = [upload.blob_key, "notes/by the operator.txt".to_owned()];
    assert_eq!(bench.keys().await, left);
}

#[tokio::test]
async fn an_upload_that_a_waiting_task_names_is_there_when_it_runs() {
    let bench = Bench::new().await;
    let file = bench.upload("my photo.png").await;
    let inputs = json!({ "prompt": "x", "inputImage": "my photo.png" });
    let task = bench.submit(&edit(), inputs).await.task;
    bench.clock.advance(DAY * 2);
    assert_eq!(pass(&bench, RETENTION).await, Report::default());
    let worker = bench.worker();
    assert_eq!(bench.ended(task).await.outputs.len(), 1);
    worker.drain().await;
    let uploads = Removed {
        files: 1,
        bytes: file.size_bytes,
    };
    assert_eq!(pass(&bench, RETENTION).await.uploads, uploads);
}

#[tokio::test]
async fn a_file_that_cannot_be_deleted_is_swept_later() {
    let bench = Bench::new().await;
    bench.drawn().await;
    bench.clock.advance(DAY * 2);
    bench.faults.fail("delete", 2);
    let report = pass(&bench, RETENTION).await;
    assert_eq!(report.failed, 2, "at its end and in the sweep");
    assert_eq!(bench.keys().await.len(), 1);
    assert_eq!(pass(&bench, RETENTION).await.orphans.files, 1);
    assert_eq!(bench.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_store_in_trouble_stops_a_pass_and_harms_nothing() {
    for operation in ["expire", "live_blobs", "tidy"] {
        let bench = Bench::new().await;
        bench.drawn().await;
        bench.leave("files/orphan").await;
        bench.clock.advance(DAY * 2);
        bench.faults.fail(operation, 1);
        let failed = janitor(&bench, RETENTION).pass(Mode::Remove).await;
        assert!(matches!(failed, Err(ServiceError::Store(_))), "{operation}");
        pass(&bench, RETENTION).await;
        assert_eq!(bench.keys().await, Vec::<String>::new(), "{operation}");
    }
}

/// Every output on record has its bytes.
async fn assert_nothing_is_missing(bench: &Bench, tasks: &[TaskId]) {
    for task in tasks {
        for output in bench.task(*task).await.outputs {
            bench.blob(&output.blob_key).await;
        }
    }
}

/// A pass whose process dies at one of its writes; `false` if it has fewer.
async fn survives_a_crash(write: u32, moment: Moment) -> bool {
    let bench = Bench::new().await;
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(bench.drawn().await.id);
        bench.clock.advance(DAY);
    }
    bench.leave("files/orphan").await;
    bench.clock.advance(DAY / 2);
    bench.faults.crash_at(write, moment);
    let dying = janitor(&bench, RETENTION);
    let crashed = tokio::select! {
        biased;
        () = bench.faults.crashed() => true,
        passed = dying.pass(Mode::Remove) => passed.is_err() || bench.faults.has_crashed(),
    };
    bench.faults.none();
    assert_nothing_is_missing(&bench, &tasks).await;
    bench.clock.advance(DAY * 2);
    pass(&bench, RETENTION).await;
    assert_nothing_is_missing(&bench, &tasks).await;
    assert_eq!(bench.keys().await, Vec::<String>::new(), "all is old now");
    crashed
}

#[tokio::test]
async fn a_crash_between_any_two_steps_leaves_nothing_on_record_without_its_bytes() {
    for moment in [Moment::Before, Moment::After] {
        let mut crashes = 0;
        while survives_a_crash(crashes, moment).await {
            crashes += 1;
            assert!(crashes < 50, "a pass comes to an end");
        }
        assert!(crashes >= 4, "rows, then files: {crashes}");
    }
}

#[tokio::test]
async fn the_loop_works_by_itself_and_stops_when_told() {
    let bench = Bench::new().await;
    let task = bench.drawn().await;
    bench.clock.advance(DAY * 2);
    let config = JanitorConfig {
        first_wait: Duration::from_millis(1),
        interval: Duration::from_millis(1),
        pause: Duration::ZERO,
        ..JanitorConfig::new(RETENTION)
    };
    bench.faults.fail("expire", 2);
    let running = Janitor::new(Arc::clone(&bench.service), config).spawn();
    bench.until(task.id, |task| task.outputs.is_empty()).await;
    running.drain().await;
    let later = bench.drawn().await;
    bench.clock.advance(DAY * 2);
    assert_eq!(bench.task(later.id).await.outputs.len(), 1);
}
