//! No project touches what is another's, whichever endpoint it asks and however it names it.
//!
//! To add an endpoint: a row in [`ROWS`] for each field of it that names something of a project, or
//! a line in [`NAME_NOTHING`]. One that stands in neither fails the last test here.

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};
use tintype_domain::{AuthKind, TaskRef, TaskToken};
use tintype_service::ProjectKeys;

use crate::house::{Answer, DETAIL, House, RUN, request, sign};

const EDIT: &str = "/v1/Run/black-forest-labs/flux-kontext-max";
const LIST: &str = "/v1/Task/List";
const UPLOAD: &str = "/v1/File/Upload";
const FOLDER: &str = "/v1/File/FolderCreate";
const NO_TASK: (u16, u64, &str) = (200, 1, "There is no task yet.");
const NO_FOLDER: (u16, u64, &str) = (200, 1, "There is no such folder.");

/// What somebody else asks with somebody's id in a field, and what it hears.
struct Row {
    path: &'static str,
    names: Named,
    fields: &'static [&'static str],
    refusal: (u16, u64, &'static str),
}

#[derive(Clone, Copy, PartialEq)]
enum Named {
    Task,
    Folder,
}

const TASK_FIELDS: &[&str] = &["taskid", "tasktoken", "socketaccesstoken"];

const fn of_a_task(path: &'static str, refusal: (u16, u64, &'static str)) -> Row {
    Row {
        path,
        names: Named::Task,
        fields: TASK_FIELDS,
        refusal,
    }
}

const ROWS: [Row; 6] = [
    of_a_task(DETAIL, NO_TASK),
    of_a_task("/v1/Task/Cancel", NO_TASK),
    of_a_task("/v1/Task/Kill", NO_TASK),
    of_a_task("/v1/Task/InputOutputDelete", (200, 1, "task-not-exist")),
    Row {
        path: FOLDER,
        names: Named::Folder,
        fields: &["parentid"],
        refusal: NO_FOLDER,
    },
    Row {
        path: UPLOAD,
        names: Named::Folder,
        fields: &["folderid"],
        refusal: NO_FOLDER,
    },
];

/// Endpoints whose fields name nothing of a project; runs and lists have tests of their own.
const NAME_NOTHING: [&str; 6] = [
    RUN,
    EDIT,
    LIST,
    "/v1/Tool/List",
    "/v1/Tool/Detail",
    "/v1/Tool/Explore",
];

/// A house with something of everything in the first project.
struct Theirs {
    house: House,
    /// Numbers and tokens of a finished, a running and a queued task.
    tasks: Vec<Value>,
    /// Ids of folders: one that was made, and those that the tasks' outputs lie in.
    folders: Vec<Value>,
    /// Names, ids and keys of files.
    files: Vec<String>,
    other: ProjectKeys,
}

impl Theirs {
    async fn build() -> Self {
        let house = House::build().await;
        let finished = house.submitted().await;
        let ended = house.claimed().await;
        let output = house.succeed(&ended, b"a picture").await;
        let running = house.submitted().await;
        house.claimed().await;
        let queued = house.submitted().await;
        let folder = house.post(FOLDER, r#"{"name": "mine"}"#).await.json();
        let folder = folder["list"][0]["id"].clone();
        let upload = upload(&house, &house.keys, "").await.json()["list"][0].clone();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let tasks = (1..=3).flat_map(|number| [json!(number), json!(number.to_string())]);
        let tokens = [finished, running, queued].map(Value::from);
        Self {
            tasks: tasks
                .chain(tokens)
                .chain([json!(ended.uuid.to_string())])
                .collect(),
            folders: vec![folder.clone(), json!(ended.output_folder)],
            files: vec![
                text(&upload["name"]),
                text(&upload["id"]),
                text(&upload["accesskey"]),
                text(&folder),
                "mine/mine.png".to_owned(),
                output.name,
                output.id.0,
                output.access_key.0,
                output.directory,
                ended.output_folder.0.clone(),
            ],
            other: house.project("other", AuthKind::Key, &[]).await,
            house,
        }
    }

    /// Everything that the first project can see.
    async fn look(&self) -> (Value, Vec<u8>) {
        let mut list = self.house.post(LIST, "{}").await.json();
        for task in list["tasklist"].as_array_mut().expect("a list") {
            task["estimatedseconds"].take(); // time passes
        }
        let url = list["tasklist"][2]["outputs"][0]["url"].as_str();
        let path = url
            .expect("an address")
            .strip_prefix("https://pictures.example");
        (
            list.clone(),
            self.house.get(path.expect("ours")).await.bytes,
        )
    }

    /// What the other project hears.
    async fn heard(&self, path: &str, field: &str, value: &Value) -> (u16, u64, String) {
        if path == UPLOAD {
            let folder = value.as_str().expect("a text");
            return upload(&self.house, &self.other, folder).await.error();
        }
        let body = json!({ field: value, "name": "inner" }).to_string();
        let answer = self.house.post_with_key(&self.other, path, &body).await;
        answer.error()
    }
}

/// An upload into a folder. Projects that do not sign ignore the signature.
async fn upload(house: &House, keys: &ProjectKeys, folder: &str) -> Answer {
    let body = format!(
        "--b\r\ncontent-disposition: form-data; name=\"folderid\"\r\n\r\n{folder}\r\n--b\r\n\
         content-disposition: form-data; name=\"file\"; filename=\"mine.png\"\r\n\r\nx\r\n--b--\r\n"
    );
    let headers = [
        ("x-api-key", keys.api_key.as_str()),
        ("x-nonce", "42"),
        ("x-signature", &sign(keys, "42")),
        ("content-type", "multipart/form-data; boundary=b"),
    ];
    let request = request(Method::POST, UPLOAD, &headers, Body::from(body));
    house.send(request).await
}

#[tokio::test]
async fn a_project_never_touches_another_s_tasks_and_folders() {
    let theirs = Theirs::build().await;
    let before = theirs.look().await;
    assert_eq!(before.1, b"a picture");
    for row in ROWS {
        let ids = match row.names {
            Named::Task => &theirs.tasks,
            Named::Folder => &theirs.folders,
        };
        let (status, code, sentence) = row.refusal;
        for (field, id) in row
            .fields
            .iter()
            .flat_map(|field| ids.iter().map(move |id| (field, id)))
        {
            let heard = theirs.heard(row.path, field, id).await;
            let expected = (status, code, sentence.to_owned());
            assert_eq!(heard, expected, "{} {field} {id}", row.path);
        }
    }
    assert_eq!(theirs.look().await, before);
}

#[tokio::test]
async fn a_project_lists_its_own_tasks_only_whatever_else_it_asks_for() {
    let theirs = Theirs::build().await;
    for body in [
        json!({}),
        json!({"projectid": "1"}),
        json!({"projectid": 1, "project": "default"}),
        json!({"start": "0", "limit": "100", "order": "ASC"}),
        json!({"modelName": "flux-pro-1.1"}),
        json!({"modelName": "black-forest-labs/flux-pro-1.1"}),
        json!({"taskid": "1", "tasktoken": theirs.tasks[6]}),
    ] {
        let listed = theirs
            .house
            .post_with_key(&theirs.other, LIST, &body.to_string())
            .await
            .json();
        assert_eq!(
            (&listed["total"], &listed["tasklist"]),
            (&json!("0"), &json!([])),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_run_cannot_use_another_project_s_files_or_act_for_it() {
    let theirs = Theirs::build().await;
    let before = theirs.look().await;
    let (worker, engine) = theirs.house.worker();
    for name in &theirs.files {
        let body = json!({"prompt": "x", "inputImageUrl": name, "projectid": "1"}).to_string();
        let run = theirs
            .house
            .post_with_key(&theirs.other, EDIT, &body)
            .await
            .json();
        let token = run["socketaccesstoken"]
            .as_str()
            .expect("accepted")
            .to_owned();
        let ended = theirs.house.ended(&TaskRef::Token(TaskToken(token))).await;
        assert!(
            ended.debug_error.contains("was not found"),
            "{name}: {}",
            ended.debug_error
        );
    }
    worker.drain().await;
    // The one job is that of the first project's own queued task.
    assert!(engine.jobs().len() <= 1);
    let listed = theirs
        .house
        .post_with_key(&theirs.other, LIST, r#"{"limit": "100"}"#);
    let listed = listed.await.json();
    assert_eq!(
        listed["total"],
        theirs.files.len().to_string(),
        "they are its own"
    );
    let total = |list: &Value| list["total"].clone();
    assert_eq!(total(&theirs.look().await.0), total(&before.0));
}

/// Paths of the published document that need a key.
async fn endpoints(house: &House) -> Vec<String> {
    let document = house.get("/openapi.json").await.json();
    let paths = document["paths"].as_object().expect("paths");
    let posts = paths
        .iter()
        .filter(|(_, methods)| methods["post"].is_object());
    posts.map(|(path, _)| path.clone()).collect()
}

#[tokio::test]
async fn every_endpoint_stands_in_the_table() {
    let house = House::build().await;
    for path in endpoints(&house).await {
        let rows = ROWS.iter().filter(|row| row.path == path).count();
        let told = rows > 0 || NAME_NOTHING.contains(&path.as_str());
        assert!(told, "say in this file what of a project {path} names");
    }
}

#[tokio::test]
async fn every_endpoint_asks_for_a_key() {
    let house = House::build().await;
    let endpoints = endpoints(&house).await;
    assert!(endpoints.len() >= 12);
    for path in endpoints {
        let body = Body::from(r#"{"prompt": "x", "taskid": "1", "name": "x"}"#);
        let answer = house.send(request(Method::POST, &path, &[], body)).await;
        assert_eq!(answer.error().0, 401, "{path}");
    }
}
