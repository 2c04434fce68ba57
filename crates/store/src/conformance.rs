//! What every [`Store`] promises, as checks that any of them can be run through.
//!
//! A store's own tests call [`run_all`] with a factory of fresh, empty stores. Each check is
//! named after the promise; the name of the one that runs is printed, so that a failure tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::json;
use tintype_domain::{
    AccessKey, Account, AuthKind, Epoch, Event, EventKind, ExitCode, FileId, Maker, NewTask,
    Outcome, OutputFile, ProjectId, Task, TaskId, TaskRef, TaskState, TaskToken, ToolSlug,
    UnixMillis, WorkerId,
};

use crate::{AccountChange, Claim, Error, Fenced, NewProject, Progress, Store};

mod cancel;
mod fairness;
mod follow;
mod history;
mod life;
mod limits;
mod outbox;
mod queue;
mod races;
mod reads;
mod registry;
mod repeats;
mod retention;
mod stats;

/// A point in time like those of today.
pub(crate) const START: UnixMillis = UnixMillis(1_800_000_000_000);

/// Attempts where a check is not about them.
const MAX_ATTEMPTS: u32 = 3;

/// How long the leases of the checks last.
const LEASE_MS: i64 = 10_000;

macro_rules! run_checks {
    ($factory:ident: $($module:ident::$check:ident,)*) => {
        $(
            println!("conformance: {}", stringify!($module::$check));
            $module::$check(&Bench::new($factory().await).await).await;
        )*
    };
}

/// Runs every check, each on a fresh store.
///
/// # Panics
/// When the store breaks a promise.
pub async fn run_all(factory: impl AsyncFn() -> Arc<dyn Store>) {
    run_checks!(factory:
        queue::ids_count_from_one_and_the_oldest_is_claimed_first,
        queue::a_claim_accepts_under_a_new_epoch,
        queue::concurrent_claims_never_share_a_task,
        queue::a_heartbeat_moves_the_lease,
        queue::an_expired_lease_goes_back_to_the_queue,
        queue::a_task_out_of_attempts_ends_with_a_reason,
        queue::a_queued_task_out_of_attempts_is_not_given_out_and_ends,
        queue::a_release_gives_the_attempt_back,
        queue::a_stale_epoch_changes_nothing,
        queue::an_unknown_task_is_stale,
        queue::the_first_rewriting_of_a_prompt_stays_through_all_attempts,
        life::a_life_in_full_leaves_every_event_and_time,
        life::a_failure_passes_through_the_last_states,
        life::a_completion_happens_once,
        life::times_never_run_backwards,
        life::a_new_attempt_starts_its_times_afresh,
        life::recorded_states_only_go_forward,
        life::a_refused_record_undoes_its_whole_batch,
        life::a_failure_with_exit_code_zero_is_refused,
        life::a_completion_with_a_taken_address_is_refused_whole,
        life::outputs_are_forgotten_once_and_the_task_is_kept,
        cancel::a_queued_task_is_gone_at_once,
        cancel::a_running_task_is_flagged_and_its_worker_hears_of_it,
        cancel::a_flagged_task_ends_as_its_outcome_says,
        cancel::a_flagged_task_is_never_queued_again,
        cancel::a_final_task_stays_as_it_is,
        cancel::a_task_that_stands_elsewhere_stays_as_it_is,
        cancel::only_the_owner_may_cancel,
        races::every_order_of_stops_and_ends_leaves_one_end,
        reads::everything_submitted_comes_back,
        reads::a_task_is_found_by_number_and_token_within_its_project,
        reads::pages_are_ordered_filtered_and_counted,
        reads::a_page_has_a_bound,
        reads::a_reader_sees_a_completion_whole_or_not_at_all,
        history::events_are_numbered_without_a_gap_through_all_attempts,
        history::a_history_is_read_from_any_number_and_within_its_project,
        history::a_long_history_keeps_its_end_and_its_numbers,
        follow::a_follower_hears_each_history_in_order,
        follow::what_is_heard_is_on_record_already,
        follow::what_changes_nothing_is_not_heard,
        follow::progress_is_heard_in_its_place_and_kept_nowhere,
        follow::a_follower_that_lags_is_told_and_goes_on,
        stats::runs_are_counted_by_how_they_ended,
        stats::what_is_refused_or_stale_is_not_counted,
        outbox::a_task_without_a_callback_is_not_reported,
        outbox::every_way_of_ending_is_reported_once,
        outbox::an_end_that_is_refused_is_not_reported,
        outbox::a_claim_puts_the_attempt_on_record,
        outbox::a_report_is_tried_again_in_time_under_the_same_id,
        outbox::a_report_is_given_up_with_its_reason,
        outbox::an_attempt_that_was_lost_is_recorded_and_made_again,
        outbox::no_receiver_takes_the_places_of_another,
        outbox::no_project_takes_the_places_of_another,
        outbox::a_claim_has_a_bound_and_takes_the_oldest_first,
        outbox::a_report_is_sent_again_on_demand_under_the_same_id,
        outbox::reports_are_listed_newest_first_and_filtered,
        outbox::the_attempts_that_are_kept_are_bounded,
        limits::a_new_project_has_no_limits,
        limits::a_concurrency_limit_holds_against_a_race,
        limits::a_balance_is_never_promised_twice,
        limits::only_a_success_is_paid_for_and_once,
        limits::each_picture_is_paid_for_but_none_that_was_withheld,
        limits::prices_are_each_tool_s_or_everyone_s,
        fairness::a_flood_delays_another_s_first_task_by_less_than_ten,
        fairness::shares_follow_the_weights,
        fairness::a_slow_tool_uses_up_more_of_a_share,
        fairness::a_higher_priority_always_goes_first,
        fairness::a_new_priority_is_that_of_the_waiting_tasks_too,
        fairness::a_task_that_is_queued_again_keeps_its_place,
        fairness::the_front_of_the_queue_is_what_is_claimed_next,
        repeats::a_repeated_request_gives_the_first_task,
        repeats::a_key_is_its_project_s_own,
        repeats::keys_are_forgotten_after_a_day,
        repeats::duplicates_at_the_same_time_give_one_task,
        repeats::a_refused_request_uses_up_no_key,
        repeats::the_file_of_a_request_is_recorded_with_its_task,
        registry::project_names_and_keys_are_unique,
        registry::a_nonce_counts_once_for_each_project_and_time,
        registry::files_are_found_by_address_and_by_name,
        registry::a_folder_is_made_once_for_each_name_and_parent,
        registry::files_and_folders_stand_in_folders_of_their_project,
        registry::a_task_needs_a_project,
        registry::a_healthy_store_passes_its_check,
        retention::outputs_go_when_their_tasks_ended_long_ago,
        retention::a_look_changes_nothing,
        retention::a_walk_comes_to_an_end_and_leaves_nothing_out,
        retention::one_wrong_clock_stops_no_walk,
        retention::whole_records_go_with_their_outputs,
        retention::a_record_stays_until_its_report_is_delivered,
        retention::old_uploads_go_unless_an_unfinished_task_names_them,
        retention::an_output_that_a_waiting_task_works_from_stays,
        retention::bytes_live_while_they_are_on_record_or_may_come_to_be,
        retention::what_has_expired_by_itself_is_tidied_away,
    );
}

/// A fresh store with a project in it, and short words for what the checks do often.
pub(crate) struct Bench {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) project: ProjectId,
}

impl Bench {
    /// Makes the project.
    pub(crate) async fn new(store: Arc<dyn Store>) -> Self {
        let project = store.create_project(new_project("first"), START).await;
        let project = project.expect("a fresh store takes a project").id;
        Self { store, project }
    }

    /// Queues a task.
    pub(crate) async fn submit(&self) -> Task {
        self.submit_at(START).await
    }

    async fn submit_at(&self, now: UnixMillis) -> Task {
        let task = new_task(self.project);
        self.store.submit(task, now).await.expect("submit")
    }

    /// Claims all there is.
    pub(crate) async fn claim(&self, now: UnixMillis) -> Vec<Task> {
        self.claim_within(MAX_ATTEMPTS, now).await
    }

    async fn claim_within(&self, max_attempts: u32, now: UnixMillis) -> Vec<Task> {
        let claim = Claim {
            limit: 100,
            max_attempts,
            ..claim_until(now.plus_millis(LEASE_MS))
        };
        self.store.claim(claim, now).await.expect("claim")
    }

    /// Queues a task and claims it.
    pub(crate) async fn running(&self) -> Task {
        let submitted = self.submit().await;
        let claimed = self.claim(START).await;
        let mut own = claimed.into_iter().filter(|task| task.id == submitted.id);
        own.next().expect("the new task is claimed")
    }

    /// Claims one of the tasks that are queued.
    async fn claim_one_of_many(&self) -> Task {
        let claimed = self.store.claim(claim_until(after(10)), START).await;
        claimed.expect("claim").pop().expect("a task is queued")
    }

    /// Makes another project.
    async fn project(&self, name: &str) -> ProjectId {
        let project = self.store.create_project(new_project(name), START).await;
        project.expect("a project").id
    }

    /// What the project may use, and what it uses.
    pub(crate) async fn account(&self) -> Account {
        let account = self.store.account(self.project).await.expect("account");
        account.expect("every project has one")
    }

    /// Changes that.
    pub(crate) async fn change(&self, change: AccountChange) -> Account {
        let changed = self.store.change_account(self.project, change).await;
        changed.expect("change")
    }

    /// Lets all leases of `now` and earlier run out.
    pub(crate) async fn reap(&self, now: UnixMillis) -> usize {
        self.store.reap(MAX_ATTEMPTS, now).await.expect("reap")
    }

    async fn enter(&self, task: &Task, state: TaskState, at: UnixMillis) -> Fenced {
        let progress = progress(task, EventKind::Entered { state }, at);
        self.store.record(vec![progress]).await.expect("record")[0]
    }

    pub(crate) async fn complete(&self, task: &Task, outcome: Outcome) -> Fenced {
        let completed = self.store.complete(task.id, task.epoch, outcome, START);
        completed.await.expect("complete")
    }

    async fn release(&self, task: &Task) -> Fenced {
        let released = self.store.release(task.id, task.epoch, START).await;
        released.expect("release")
    }

    /// The task as it stands now.
    pub(crate) async fn detail(&self, task: TaskId) -> Task {
        let found = self.store.detail(&TaskRef::Id(task), None).await;
        found.expect("detail").expect("the task is there")
    }

    /// Everything that is kept of a task's life.
    pub(crate) async fn history(&self, task: TaskId) -> Vec<Event> {
        let found = self.store.history(&TaskRef::Id(task), None, 0).await;
        found.expect("history").expect("the task is there")
    }

    /// The states that a task has entered, in order.
    async fn states_entered(&self, task: TaskId) -> Vec<TaskState> {
        self.history(task).await.iter().map(state_of).collect()
    }

    /// All that is known of a task.
    async fn record(&self, task: TaskId) -> (Task, Vec<Event>) {
        (self.detail(task).await, self.history(task).await)
    }
}

/// The state that an event of a history is about.
pub(crate) fn state_of(event: &Event) -> TaskState {
    match event.kind {
        EventKind::Entered { state } => state,
        EventKind::Progress { .. } => panic!("progress is kept nowhere, yet here is {event:?}"),
    }
}

/// A number that no other call gets.
fn unique() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn new_project(name: &str) -> NewProject {
    NewProject {
        name: name.to_owned(),
        api_key: format!("key of {name}"),
        sealed_secret: vec![0, 1, 2, 255],
        auth: AuthKind::Signature,
        allowed_networks: vec!["10.0.0.0/8".to_owned()],
        strict_nonce: true,
    }
}

/// A task of the tool `owner/model`.
pub(crate) fn new_task(project: ProjectId) -> NewTask {
    let number = unique();
    let serde_json::Value::Object(parameters) = json!({"prompt": "a cookie", "seed": "42"}) else {
        unreachable!("the literal is an object")
    };
    NewTask {
        uuid: uuid::Uuid::from_u128(number.unsigned_abs().into()),
        token: TaskToken(format!("{number:030}")),
        project,
        tool: ToolSlug::new("owner", "model"),
        parameters,
        output_folder: FileId(format!("{number:032x}")),
        callback_url: None,
        callback_base_url: None,
        warnings: Vec::new(),
        uploads: Vec::new(),
        pictures: 1,
        idempotency: None,
    }
}

/// A claim of one task by the worker of the checks.
pub(crate) fn claim_until(lease_until: UnixMillis) -> Claim {
    Claim {
        worker: WorkerId("worker".to_owned()),
        limit: 1,
        lease_until,
        max_attempts: MAX_ATTEMPTS,
    }
}

fn progress(task: &Task, kind: EventKind, at: UnixMillis) -> Progress {
    Progress {
        task: task.id,
        epoch: task.epoch,
        at,
        kind,
    }
}

/// A step of four.
fn step(step: u32) -> EventKind {
    EventKind::Progress {
        step,
        steps: 4,
        elapsed_millis: u64::from(step) * 250,
    }
}

/// A picture of the task.
pub(crate) fn output(task: &Task) -> OutputFile {
    let number = unique();
    OutputFile {
        id: FileId(format!("{number:032x}")),
        name: "0.png".to_owned(),
        content_type: "image/png".to_owned(),
        parent_id: task.output_folder.clone(),
        size_bytes: 12_345,
        added_at: START,
        modified_at: START,
        access_key: AccessKey(format!("{number:030}")),
        directory: format!("directory-{number}"),
        blob_key: format!("{}/{}/0", task.id, task.epoch),
    }
}

/// Success with one picture.
pub(crate) fn success(task: &Task) -> Outcome {
    Outcome::Succeeded {
        outputs: vec![output(task)],
        withheld: 0,
        maker: Some(maker()),
        debug_error: String::new(),
    }
}

fn maker() -> Maker {
    Maker {
        engine: "an engine".to_owned(),
        model: "its model".to_owned(),
    }
}

fn failure() -> Outcome {
    Outcome::Failed {
        exit_code: ExitCode::ENGINE,
        debug_error: "the engine ran out of memory".to_owned(),
    }
}

/// The time `seconds` after the start.
pub(crate) fn after(seconds: i64) -> UnixMillis {
    START.plus_millis(seconds * 1000)
}

fn stale(task: &Task) -> Task {
    Task {
        epoch: Epoch(task.epoch.0 - 1),
        ..task.clone()
    }
}

fn assert_rejected<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::Rejected { .. })), "{result:?}");
}
