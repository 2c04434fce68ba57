//! What goes with age, and what never does.

use tintype_domain::{
    AttemptAnswer, AttemptReport, BlobKey, FileRecord, Fingerprint, Idempotency, IdempotencyKey,
};

use super::*;
use crate::{Expired, Expiring, ExpiryStep, Mode, Upkeep};

/// More than any store looks at in one step.
const MANY: usize = 250;

fn step(what: Expiring, before: UnixMillis) -> ExpiryStep {
    ExpiryStep {
        what,
        before,
        after: 0,
        mode: Mode::Remove,
    }
}

impl Bench {
    /// Walks to the end; adds up what went.
    async fn expire(&self, mut step: ExpiryStep) -> Expired {
        let mut all = Expired::default();
        loop {
            let some = self.store.expire(step).await.expect("expire");
            all.records += some.records;
            all.bytes += some.bytes;
            all.blob_keys.extend(some.blob_keys);
            match some.next {
                Some(next) if next > step.after => step.after = next,
                Some(next) => panic!("the walk goes back to {next}"),
                None => return all,
            }
        }
    }

    /// A task that was submitted and ended, with a picture, at a time.
    async fn ended_at(&self, at: UnixMillis) -> Task {
        let submitted = self.submit_at(at).await;
        let claimed = self.claim(at).await;
        let task = claimed.into_iter().find(|task| task.id == submitted.id);
        let task = task.expect("the new task is claimed");
        let key = output_key(&task, task.epoch);
        let output = OutputFile {
            blob_key: key.to_string(),
            ..output(&task)
        };
        let outcome = Outcome::Succeeded {
            outputs: vec![output],
            withheld: 0,
            maker: None,
            debug_error: String::new(),
        };
        let completed = self.store.complete(task.id, task.epoch, outcome, at).await;
        completed.expect("complete");
        self.detail(task.id).await
    }

    async fn upload(&self, name: &str, added_at: UnixMillis) -> FileRecord {
        let number = unique();
        let id = FileId(format!("{number:032x}"));
        let file = FileRecord {
            project: self.project,
            folder: None,
            name: name.to_owned(),
            content_type: "image/png".to_owned(),
            size_bytes: 10,
            added_at,
            access_key: AccessKey(format!("{number:030}")),
            directory: format!("directory-{number}"),
            blob_key: BlobKey::Upload(id.clone()).to_string(),
            id,
        };
        self.store.add_file(file.clone()).await.expect("a file");
        file
    }

    async fn has_file(&self, file: &FileRecord) -> bool {
        let found = self.store.file_at(&file.directory, &file.name).await;
        found.expect("an answer").is_some()
    }

    /// Queues a task that works from a picture.
    async fn submit_naming(&self, picture: &str) -> Task {
        let mut task = new_task(self.project);
        let inputs = json!({ "inputImage": picture });
        task.parameters
            .extend(inputs.as_object().expect("an object").clone());
        self.store.submit(task, START).await.expect("submit")
    }

    async fn lives(&self, key: &BlobKey) -> bool {
        let live = self.store.live_blobs(vec![key.clone()]).await;
        live.expect("an answer") == [key.clone()]
    }
}

fn output_key(task: &Task, epoch: Epoch) -> BlobKey {
    BlobKey::Output {
        task: task.id,
        epoch,
        index: 0,
    }
}

pub(super) async fn outputs_go_when_their_tasks_ended_long_ago(bench: &Bench) {
    let old = bench.ended_at(START).await;
    let young = bench.ended_at(after(10)).await;
    // Made long ago, but it ends just now.
    let late = bench.running().await;
    let outcome = success(&late);
    let completed = bench
        .store
        .complete(late.id, late.epoch, outcome, after(10))
        .await;
    completed.expect("complete");

    let expired = bench.expire(step(Expiring::Outputs, after(10))).await;
    assert_eq!(expired.blob_keys, [old.outputs[0].blob_key.clone()]);
    assert_eq!((expired.records, expired.bytes), (0, 12_345));

    let kept = bench.detail(old.id).await;
    let expected = Task {
        outputs: Vec::new(),
        ..old.clone()
    };
    assert_eq!(kept, expected, "the record stays");
    let address = &old.outputs[0];
    let gone = bench.store.output_at(&address.directory, &address.name);
    assert_eq!(gone.await.expect("an answer"), None);
    assert_eq!(bench.detail(young.id).await, young);
    assert_eq!(bench.detail(late.id).await.outputs.len(), 1);
    let again = bench.expire(step(Expiring::Outputs, after(10))).await;
    assert_eq!(again, Expired::default());
}

pub(super) async fn a_look_changes_nothing(bench: &Bench) {
    let task = bench.ended_at(START).await;
    let file = bench.upload("a.png", START).await;
    for (what, keys) in [
        (Expiring::Outputs, vec![task.outputs[0].blob_key.clone()]),
        (Expiring::Records, vec![task.outputs[0].blob_key.clone()]),
        (Expiring::Uploads, vec![file.blob_key.clone()]),
    ] {
        let look = ExpiryStep {
            mode: Mode::Look,
            ..step(what, after(1))
        };
        for _ in 0..2 {
            assert_eq!(bench.expire(look).await.blob_keys, keys, "{what:?}");
        }
    }
    assert_eq!(bench.detail(task.id).await, task);
    assert!(bench.has_file(&file).await);
}

pub(super) async fn a_walk_comes_to_an_end_and_leaves_nothing_out(bench: &Bench) {
    for _ in 0..MANY {
        bench.submit().await;
    }
    let mut ended = 0;
    loop {
        let claimed = bench.claim(START).await;
        if claimed.is_empty() {
            break;
        }
        for task in claimed {
            bench.complete(&task, success(&task)).await;
            ended += 1;
        }
    }
    assert_eq!(ended, MANY);
    let expired = bench.expire(step(Expiring::Outputs, after(1))).await;
    assert_eq!(expired.blob_keys.len(), MANY);
    let forgotten = bench.expire(step(Expiring::Records, after(1))).await;
    assert_eq!(forgotten.records, MANY as u64);
    for _ in 0..MANY {
        bench.upload("a.png", START).await;
    }
    let expired = bench.expire(step(Expiring::Uploads, after(1))).await;
    assert_eq!(expired.blob_keys.len(), MANY);
}

pub(super) async fn one_wrong_clock_stops_no_walk(bench: &Bench) {
    let years_ahead = bench.ended_at(after(1_000_000_000)).await;
    let old = bench.ended_at(START).await;
    let expired = bench.expire(step(Expiring::Outputs, after(1))).await;
    assert_eq!(expired.blob_keys, [old.outputs[0].blob_key.clone()]);
    assert_eq!(bench.detail(years_ahead.id).await, years_ahead);
}

pub(super) async fn whole_records_go_with_their_outputs(bench: &Bench) {
    let old = bench.ended_at(START).await;
    let queued = bench.submit().await;
    let running = bench.running().await;
    let cancelled = bench.submit().await;
    let name = TaskRef::Id(cancelled.id);
    let cancel = bench
        .store
        .cancel(&name, bench.project, crate::Standing::Queued, START);
    cancel.await.expect("an answer");

    let expired = bench.expire(step(Expiring::Records, after(1))).await;
    assert_eq!(expired.records, 2, "what has ended: {expired:?}");
    assert_eq!(expired.blob_keys, [old.outputs[0].blob_key.clone()]);
    for gone in [&old, &cancelled] {
        for name in [TaskRef::Id(gone.id), TaskRef::Token(gone.token.clone())] {
            let found = bench.store.detail(&name, None).await;
            assert_eq!(found.expect("an answer"), None);
        }
    }
    for kept in [&queued, &running] {
        assert!(!bench.detail(kept.id).await.state.is_final());
    }
    let next = bench.submit().await;
    assert!(next.id > cancelled.id, "numbers are not given out again");
}

pub(super) async fn a_record_stays_until_its_report_is_delivered(bench: &Bench) {
    let task = NewTask {
        callback_url: Some("https://hooks.example/end".to_owned()),
        ..new_task(bench.project)
    };
    bench.store.submit(task, START).await.expect("submit");
    let task = bench.claim(START).await.remove(0);
    bench.complete(&task, failure()).await;
    let expired = bench.expire(step(Expiring::Records, after(1))).await;
    assert_eq!(expired, Expired::default());

    let claim = crate::WebhookClaim {
        limit: 1,
        per_receiver: 1,
        per_project: 1,
        lease_until: after(9),
    };
    let due = bench.store.claim_webhooks(claim, after(1)).await;
    let delivery = due.expect("an answer").remove(0);
    let report = AttemptReport {
        duration_ms: Some(5),
        answer: AttemptAnswer::Status(200),
    };
    let delivered = bench.store.record_attempt(
        task.id,
        delivery.attempt,
        report,
        crate::WebhookNext::Delivered,
    );
    assert_eq!(delivered.await.expect("an answer"), Fenced::Applied);
    let expired = bench.expire(step(Expiring::Records, after(1))).await;
    assert_eq!(expired.records, 1);
}

pub(super) async fn old_uploads_go_unless_an_unfinished_task_names_them(bench: &Bench) {
    let forgotten = bench.upload("forgotten.png", START).await;
    let by_address = bench.upload("addressed.png", START).await;
    let by_name = bench.upload("my_photo.JPG", START).await;
    let young = bench.upload("young.png", after(5)).await;
    let address = format!(
        "https://any.example/{}/{}?x=1",
        by_address.directory, by_address.name
    );
    let running = bench.submit_naming(&address).await;
    let running = bench
        .claim(START)
        .await
        .into_iter()
        .find(|task| task.id == running.id);
    let running = running.expect("it is claimed");
    bench.submit_naming("my photo.JPG").await;

    let expired = bench.expire(step(Expiring::Uploads, after(5))).await;
    assert_eq!(expired.blob_keys, std::slice::from_ref(&forgotten.blob_key));
    assert!(!bench.has_file(&forgotten).await);
    for kept in [&by_address, &by_name, &young] {
        assert!(bench.has_file(kept).await, "{}", kept.name);
    }

    bench.complete(&running, success(&running)).await;
    let expired = bench.expire(step(Expiring::Uploads, after(5))).await;
    assert_eq!(expired.blob_keys, [by_address.blob_key]);
}

pub(super) async fn an_output_that_a_waiting_task_works_from_stays(bench: &Bench) {
    let made = bench.ended_at(START).await;
    let output = &made.outputs[0];
    let address = format!("http://any.example/{}/{}", output.directory, output.name);
    let waiting = bench.submit_naming(&address).await;
    for what in [Expiring::Outputs, Expiring::Records] {
        assert_eq!(bench.expire(step(what, after(1))).await, Expired::default());
    }
    assert_eq!(bench.detail(made.id).await, made);
    let task = bench.claim(START).await.remove(0);
    assert_eq!(task.id, waiting.id);
    bench.complete(&task, failure()).await;
    let expired = bench.expire(step(Expiring::Outputs, after(1))).await;
    assert_eq!(expired.blob_keys.len(), 1);
}

pub(super) async fn bytes_live_while_they_are_on_record_or_may_come_to_be(bench: &Bench) {
    let ended = bench.ended_at(START).await;
    assert!(bench.lives(&output_key(&ended, ended.epoch)).await);
    let second_picture = BlobKey::Output {
        task: ended.id,
        epoch: ended.epoch,
        index: 1,
    };
    assert!(!bench.lives(&second_picture).await, "it has one picture");

    let running = bench.running().await;
    let first = output_key(&running, running.epoch);
    assert!(bench.lives(&first).await, "it may still be completed");
    bench.reap(after(3600)).await;
    let again = bench.claim(after(3600)).await.remove(0);
    assert_eq!(again.id, running.id);
    assert!(!bench.lives(&first).await, "the attempt was overtaken");
    let second = output_key(&again, again.epoch);
    assert!(bench.lives(&second).await);
    bench.complete(&again, failure()).await;
    assert!(!bench.lives(&second).await, "a failure has no pictures");

    bench.expire(step(Expiring::Outputs, after(9))).await;
    assert!(!bench.lives(&output_key(&ended, ended.epoch)).await);
    let mut unborn = again.clone();
    unborn.id.0 += 1;
    assert!(bench.lives(&output_key(&unborn, Epoch(1))).await);

    let upload = bench.upload("a.png", START).await;
    assert!(bench.lives(&BlobKey::Upload(upload.id)).await);
    assert!(!bench.lives(&BlobKey::Upload(FileId("0".repeat(32)))).await);
}

pub(super) async fn what_has_expired_by_itself_is_tidied_away(bench: &Bench) {
    for (name, at) in [("old", START), ("young", after(9))] {
        let used = bench.store.use_nonce(bench.project, name, at, START);
        assert!(used.await.expect("an answer"));
        let mut task = new_task(bench.project);
        task.idempotency = Some(Idempotency {
            key: IdempotencyKey::parse(name.as_bytes()).expect("a key"),
            fingerprint: Fingerprint([0; 32]),
            keep_after: START,
        });
        bench.store.submit(task, at).await.expect("submit");
    }
    let upkeep = Upkeep {
        nonces_before: after(5),
        repeats_before: after(5),
    };
    let mut rows = 0;
    loop {
        let tidied = bench.store.tidy(upkeep).await.expect("tidy");
        rows += tidied.rows;
        if !tidied.more {
            break;
        }
    }
    assert_eq!(rows, 2, "an old one of each kind");
    let used = bench
        .store
        .use_nonce(bench.project, "young", after(10), after(5));
    assert!(!used.await.expect("an answer"), "it is still remembered");
}
