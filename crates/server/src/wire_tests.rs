//! Tasks of every kind, as they look on the wire.

use serde_json::json;
use tintype_domain::{
    AccessKey, Epoch, ExitCode, FileId, ProjectId, TaskId, TaskToken, ToolSlug, task::transition,
};
use uuid::Uuid;

use super::*;

const SURROUNDINGS: Surroundings<'_> = Surroundings {
    base_url: "http://pictures.example",
    tool_description: "Draws.",
};

/// A task that entered these states, 1.5 seconds apart.
fn task_that_went_through(states: &[TaskState]) -> Task {
    let created = UnixMillis(1_734_513_807_250);
    let mut state = TaskState::Queued;
    let mut times = TaskTimes {
        created,
        ..TaskTimes::default()
    };
    for (number, next) in states.iter().enumerate() {
        let at = created.plus_millis(1500 * (number as i64 + 1));
        (state, times) = transition(state, times, *next, at).expect("a legal step");
    }
    Task {
        id: TaskId(2221),
        uuid: Uuid::from_u128(0x15bc_e51f_442f_4f44_a71d_13c6_374a_62bd),
        token: TaskToken("eDcCm5yyUfIvMFspTwww49OUfgXkQt".to_owned()),
        project: ProjectId(1),
        tool: ToolSlug::new("black-forest-labs", "flux-pro-1.1"),
        parameters: json!({"prompt": "a street", "seed": "42"})
            .as_object()
            .cloned()
            .unwrap_or_default(),
        state,
        times,
        epoch: Epoch(1),
        exit_code: None,
        cancel_requested: false,
        debug_output: String::new(),
        debug_error: String::new(),
        cost_micros: 0,
        outputs: Vec::new(),
        maker: None,
        upsampled_prompt: None,
        output_folder: FileId("6c1833f39da71e6175bf292b18779baf".to_owned()),
        callback_url: None,
        warnings: vec!["a remark that stays inside".to_owned()],
    }
}

fn output(name: &str, size_bytes: u64) -> OutputFile {
    OutputFile {
        id: FileId("6bc392c93856dfce3a7d1b4261e15af3".to_owned()),
        name: name.to_owned(),
        content_type: "image/png".to_owned(),
        parent_id: FileId("6c1833f39da71e6175bf292b18779baf".to_owned()),
        size_bytes,
        added_at: UnixMillis(1_734_513_812_999),
        modified_at: UnixMillis(1_734_513_812_999),
        access_key: AccessKey("dFKlMApaSgMeHKsJyaDeKrefcHahUK".to_owned()),
        directory: "6a6af820-c5050aee".to_owned(),
        blob_key: "never shown".to_owned(),
    }
}

fn answer(task: Task) -> TasksAnswer {
    TasksAnswer {
        total: "1".to_owned(),
        errors: [],
        tasklist: vec![WireTask::of(task, SURROUNDINGS)],
        result: true,
    }
}

#[test]
fn a_finished_task_has_every_field() {
    use TaskState as S;
    let mut task = task_that_went_through(&[
        S::Accepted,
        S::PreprocessStarted,
        S::PreprocessEnded,
        S::Assigned,
        S::Started,
        S::Output,
        S::OutputFull,
        S::Ended,
        S::PostprocessStarted,
        S::Finished,
    ]);
    task.exit_code = Some(ExitCode::SUCCESS);
    task.cost_micros = 40_000;
    task.outputs = vec![output("0.png", 202_472), output("1.png", 28)];
    insta::assert_json_snapshot!(answer(task));
}

#[test]
fn a_queued_task_has_no_times_but_its_birth() {
    insta::assert_json_snapshot!(answer(task_that_went_through(&[])));
}

#[test]
fn a_task_that_failed_early_costs_nothing_and_counts_to_its_end() {
    use TaskState as S;
    let mut task = task_that_went_through(&[S::Accepted, S::PreprocessStarted, S::Finished]);
    task.exit_code = Some(ExitCode::INPUT);
    task.debug_error = "There is no file of that name.".to_owned();
    task.cost_micros = 40_000;
    let wire = WireTask::of(task, SURROUNDINGS);
    assert_eq!(
        (wire.status, wire.pexit.as_str()),
        ("task_postprocess_end", "2")
    );
    assert_eq!(
        (wire.totalcost.as_str(), wire.elapsedseconds.as_str()),
        ("0", "3.0000")
    );
    assert_eq!((wire.outputs.len(), wire.size.as_str()), (0, "0"));
}

#[test]
fn a_task_that_was_cancelled_in_the_queue_took_no_time() {
    let wire = WireTask::of(
        task_that_went_through(&[TaskState::Cancelled]),
        SURROUNDINGS,
    );
    assert_eq!((wire.status, wire.pexit.as_str()), ("task_cancel", ""));
    assert_eq!(
        (wire.totalcost.as_str(), wire.elapsedseconds.as_str()),
        ("0", "0.0000")
    );
    assert_ne!(wire.canceltime, "0");
}

#[test]
fn every_state_has_its_own_word() {
    let words: Vec<&str> = TaskState::ALL.into_iter().map(status_word).collect();
    insta::assert_snapshot!(words.join(" "));
}

#[test]
fn costs_have_twelve_places() {
    assert_eq!(cost(40_000), "0.040000000000");
    assert_eq!(cost(12_000_001), "12.000001000000");
    assert_eq!(cost(0), "0.000000000000");
    assert_eq!(cost(-5), "0.000000000000");
}
