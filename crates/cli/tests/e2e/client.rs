//! A client of the task API, for tests.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::faults::{Accepted, Order};
use crate::server::{LOOK_AGAIN, LOOKS};

pub const PRO: &str = "black-forest-labs/flux-pro-1.1";
pub const KONTEXT: &str = "black-forest-labs/flux-kontext-max";

/// A project's keys.
#[derive(Debug, Clone)]
pub struct Keys {
    pub api_key: String,
    pub api_secret: String,
}

/// One for all: clients sign once.
const NONCE: &str = "1734513807";

impl Keys {
    pub fn signature(&self) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.api_key.as_bytes()).expect("any length");
        mac.update(self.api_secret.as_bytes());
        mac.update(NONCE.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }
}

/// A project's client.
pub struct Client {
    http: reqwest::Client,
    url: String,
    keys: Keys,
}

impl Client {
    pub fn new(url: &str, keys: Keys) -> Self {
        // Only the first call of a process has an effect.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client");
        Self {
            http,
            url: url.to_owned(),
            keys,
        }
    }

    fn post(&self, path: &str) -> reqwest::RequestBuilder {
        let signature = self.keys.signature();
        self.http
            .post(format!("{}/v1/{path}", self.url))
            .header("x-api-key", &self.keys.api_key)
            .header("x-nonce", NONCE)
            .header("x-signature", signature)
    }

    /// Status and JSON of a raw body.
    pub async fn send(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let request = self
            .post(path)
            .header("content-type", "application/json")
            .body(body);
        Self::told(request).await
    }

    /// A form with a prompt and a file, as a browser sends it.
    pub async fn send_picture(&self, path: &str, prompt: &str, file: &[u8]) -> (u16, Value) {
        let head = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\n{prompt}\r\n\
             --edge\r\nContent-Disposition: form-data; name=\"inputImage\"; \
             filename=\"picture.png\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        );
        let body = [head.as_bytes(), file, b"\r\n--edge--\r\n"].concat();
        let request = self
            .post(path)
            .header("content-type", "multipart/form-data; boundary=edge");
        Self::told(request.body(body)).await
    }

    async fn told(request: reqwest::RequestBuilder) -> (u16, Value) {
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        let bytes = response.bytes().await.expect("a body");
        let json = serde_json::from_slice(&bytes);
        (
            status,
            json.unwrap_or_else(|_| panic!("{status}: {}", String::from_utf8_lossy(&bytes))),
        )
    }

    /// The token of an accepted run.
    pub async fn run(&self, tool: &str, inputs: Value) -> String {
        let (status, answer) = self.send(&format!("Run/{tool}"), inputs.to_string()).await;
        token_of(status, &answer)
    }

    /// Asks for what an order says; `None` if the server died over it.
    pub async fn try_run(&self, order: &Order) -> Option<Accepted> {
        let request = self
            .post(&format!("Run/{PRO}"))
            .header("content-type", "application/json")
            .header("idempotency-key", order.key())
            .body(order.inputs().to_string());
        let bytes = request.send().await.ok()?.bytes().await.ok()?;
        let answer: Value = serde_json::from_slice(&bytes).expect("a whole answer is JSON");
        let id = answer["taskid"].as_str();
        Some(Accepted {
            id: id.unwrap_or_else(|| panic!("{answer}")).to_owned(),
            token: token_of(200, &answer),
        })
    }

    /// Waits until none of the project's tasks waits or runs.
    pub async fn queue_is_empty(&self) {
        for _ in 0..LOOKS {
            let body = json!({"type": "model", "start": "0", "limit": "1000"}).to_string();
            let (_, answer) = self.send("Task/List", body).await;
            let tasks = answer["tasklist"].as_array().expect("a list");
            if tasks.iter().all(has_ended) {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        panic!("the queue did not become empty");
    }

    pub async fn detail(&self, token: &str) -> Value {
        let body = json!({"tasktoken": token}).to_string();
        let (status, answer) = self.send("Task/Detail", body).await;
        assert_eq!((status, &answer["total"]), (200, &"1".into()), "{answer}");
        answer["tasklist"][0].clone()
    }

    /// The task once `done` says so.
    pub async fn task_when(&self, token: &str, done: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..LOOKS {
            let task = self.detail(token).await;
            if done(&task) {
                return task;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        panic!("the task did not get there: {}", self.detail(token).await);
    }

    /// The task at its end.
    pub async fn ended(&self, token: &str) -> Value {
        self.task_when(token, has_ended).await
    }

    /// The reason of a task that must fail, after the checks that every failure passes.
    pub async fn reason_of_failure(&self, tool: &str, inputs: Value) -> String {
        let token = self.run(tool, inputs).await;
        self.reason(&token).await
    }

    pub async fn reason(&self, token: &str) -> String {
        let task = self.ended(token).await;
        assert_eq!(task["status"], "task_postprocess_end", "{task}");
        assert!(
            !["", "0"].contains(&task["pexit"].as_str().expect("a text")),
            "{task}"
        );
        assert_eq!(
            (&task["outputs"], &task["totalcost"]),
            (&json!([]), &"0".into()),
            "{task}"
        );
        task["debugerror"].as_str().expect("a text").to_owned()
    }

    /// The one picture of a task that must have succeeded.
    pub async fn picture(&self, task: &Value) -> image::RgbImage {
        image::load_from_memory(&self.picture_file(task).await)
            .expect("a picture")
            .into_rgb8()
    }

    /// The same as a file.
    pub async fn picture_file(&self, task: &Value) -> Vec<u8> {
        assert_eq!(
            (&task["pexit"], &task["debugerror"]),
            (&"0".into(), &"".into()),
            "{task}"
        );
        let outputs = task["outputs"].as_array().expect("a list");
        assert_eq!(outputs.len(), 1, "{task}");
        let url = outputs[0]["url"].as_str().expect("a text");
        let response = self.http.get(url).send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        let bytes = response.bytes().await.expect("a body");
        assert_eq!(task["size"], bytes.len().to_string());
        bytes.into()
    }

    pub async fn is_alive(&self) -> bool {
        let answer = self.http.get(format!("{}/readyz", self.url)).send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    }
}

pub fn token_of(status: u16, answer: &Value) -> String {
    assert_eq!((status, &answer["result"]), (200, &json!(true)), "{answer}");
    answer["socketaccesstoken"]
        .as_str()
        .expect("a token")
        .to_owned()
}

pub fn has_ended(task: &Value) -> bool {
    ["task_postprocess_end", "task_cancel"].contains(&task["status"].as_str().unwrap_or(""))
}

pub fn is_running(task: &Value) -> bool {
    !has_ended(task) && task["status"] != "task_queue"
}
