//! Examples of answers: the wire types themselves, filled with the values of the published
//! documents. What is added to a type is in its example, too.

use serde::Serialize;
use serde_json::{Value, json};
use tintype_catalog::Catalog;
use tintype_domain::{
    AccessKey, Epoch, ExitCode, FileId, FileRecord, Folder, Maker, OutputFile, ProjectId, Task,
    TaskId, TaskState, TaskTimes, TaskToken, ToolSlug, ToolStats, UnixMillis,
};
use tintype_service::ToolReport;
use uuid::Uuid;

use crate::openapi::PLACE_OF_BASE_URL;
use crate::wire::{DoneAnswer, RunAnswer, Surroundings, TasksAnswer, WireTask};
use crate::wire_files::{FolderAnswer, UploadAnswer, WireFile, WireFolder};
use crate::wire_tools::{ExploreAnswer, Extent, ToolsAnswer, WireShelf, WireTool};

const TOKEN: &str = "eDcCm5yyUfIvMFspTwww49OUfgXkQt";
const DIRECTORY: &str = "6a6af820-c5050aee-40bd7b83-a2e186c6-7f61f7da-3894e49c-fc0eeb66-9b500fe2";
const CREATED: UnixMillis = UnixMillis(1_734_513_807_000);

pub(crate) fn accepted(_: &Catalog) -> Value {
    on_the_wire(&RunAnswer {
        errors: [],
        taskid: "2221".to_owned(),
        socketaccesstoken: TOKEN.to_owned(),
        result: true,
    })
}

pub(crate) fn finished(catalog: &Catalog) -> Value {
    one_task(catalog, finished_task())
}

pub(crate) fn cancelled(catalog: &Catalog) -> Value {
    let task = finished_task();
    one_task(
        catalog,
        Task {
            state: TaskState::Cancelled,
            times: TaskTimes {
                created: CREATED,
                cancelled: Some(CREATED.plus_millis(2000)),
                ..TaskTimes::default()
            },
            exit_code: None,
            outputs: Vec::new(),
            maker: None,
            ..task
        },
    )
}

pub(crate) fn done(_: &Catalog) -> Value {
    on_the_wire(&DoneAnswer {
        result: true,
        errors: [],
    })
}

pub(crate) fn tools(catalog: &Catalog) -> Value {
    of_tools(catalog, Some(catalog.tools().len()), Extent::Card)
}

pub(crate) fn tool(catalog: &Catalog) -> Value {
    of_tools(catalog, None, Extent::Whole)
}

pub(crate) fn shelves(catalog: &Catalog) -> Value {
    let shelf = catalog.shelves().into_iter().next();
    on_the_wire(&ExploreAnswer {
        result: true,
        errors: [],
        explore: shelf
            .map(|shelf| WireShelf::of(1, shelf))
            .into_iter()
            .collect(),
    })
}

pub(crate) fn uploaded(_: &Catalog) -> Value {
    let file = FileRecord {
        id: FileId("6bc392c93856dfce3a7d1b4261e15af3".to_owned()),
        project: ProjectId(1),
        folder: None,
        name: "circle.png".to_owned(),
        content_type: "image/png".to_owned(),
        size_bytes: 202_472,
        added_at: CREATED,
        access_key: AccessKey("dFKlMApaSgMeHKsJyaDeKrefcHahUK".to_owned()),
        directory: DIRECTORY.to_owned(),
        blob_key: String::new(),
    };
    on_the_wire(&UploadAnswer::of(WireFile::of(file, PLACE_OF_BASE_URL)))
}

pub(crate) fn folder(_: &Catalog) -> Value {
    on_the_wire(&FolderAnswer::of(WireFolder::of(Folder {
        id: FileId("6c1833f39da71e6175bf292b18779baf".to_owned()),
        project: ProjectId(1),
        parent: None,
        name: "inputs".to_owned(),
        added_at: CREATED,
    })))
}

/// A request that names a task.
pub(crate) fn token(_: &Catalog) -> Value {
    json!({ "tasktoken": TOKEN })
}

fn of_tools(catalog: &Catalog, total: Option<usize>, extent: Extent) -> Value {
    let tool = (1..).zip(catalog.tools()).last();
    let report = tool.map(|(number, tool)| ToolReport {
        number,
        tool,
        price_micros: 40_000,
        stats: ToolStats {
            mean_ms: Some(6_000),
            runs: 12,
            successes: 11,
            failures: 1,
            last_run: Some(CREATED),
        },
    });
    on_the_wire(&ToolsAnswer {
        result: true,
        errors: [],
        total,
        tool: report
            .map(|report| WireTool::of(report, extent))
            .into_iter()
            .collect(),
    })
}

fn one_task(catalog: &Catalog, task: Task) -> Value {
    let tool = catalog.tool(&task.tool);
    let surroundings = Surroundings {
        base_url: PLACE_OF_BASE_URL,
        tool_description: tool.map_or("", |tool| &tool.description),
    };
    on_the_wire(&TasksAnswer {
        total: "1".to_owned(),
        errors: [],
        tasklist: vec![WireTask::of(task, surroundings)],
        result: true,
    })
}

fn finished_task() -> Task {
    let at = |seconds: i64| Some(CREATED.plus_millis(seconds * 1000));
    let parameters = json!({
        "prompt": "a red circle left of a blue square on a white background",
        "promptUpsampling": "false", "safetyTolerance": "2", "aspectRatio": "1:1",
        "seed": "42", "outputFormat": "png",
    });
    Task {
        id: TaskId(2221),
        uuid: Uuid::from_u128(0x15bc_e51f_442f_4f44_a71d_13c6_374a_62bd),
        token: TaskToken(TOKEN.to_owned()),
        project: ProjectId(1),
        tool: ToolSlug::new("black-forest-labs", "flux-pro-1.1"),
        parameters: parameters.as_object().cloned().unwrap_or_default(),
        state: TaskState::Finished,
        times: TaskTimes {
            created: CREATED,
            accepted: at(0),
            preprocess_started: at(0),
            preprocess_ended: at(0),
            assigned: at(0),
            started: at(2),
            ended: at(6),
            postprocess_started: at(6),
            postprocess_ended: at(7),
            cancelled: None,
        },
        epoch: Epoch(1),
        exit_code: Some(ExitCode::SUCCESS),
        cancel_requested: false,
        debug_output: String::new(),
        debug_error: String::new(),
        cost_micros: 0,
        outputs: vec![picture()],
        maker: Some(Maker {
            engine: "flux".to_owned(),
            model: "nano".to_owned(),
        }),
        upsampled_prompt: None,
        output_folder: FileId("6c1833f39da71e6175bf292b18779baf".to_owned()),
        callback_url: None,
        warnings: Vec::new(),
    }
}

fn picture() -> OutputFile {
    OutputFile {
        id: FileId("6bc392c93856dfce3a7d1b4261e15af3".to_owned()),
        name: "0.png".to_owned(),
        content_type: "image/png".to_owned(),
        parent_id: FileId("6c1833f39da71e6175bf292b18779baf".to_owned()),
        size_bytes: 202_472,
        added_at: CREATED.plus_millis(5000),
        modified_at: CREATED.plus_millis(5000),
        access_key: AccessKey("dFKlMApaSgMeHKsJyaDeKrefcHahUK".to_owned()),
        directory: DIRECTORY.to_owned(),
        blob_key: String::new(),
    }
}

fn on_the_wire(answer: &impl Serialize) -> Value {
    serde_json::to_value(answer).expect("an answer is JSON; this is a bug")
}
