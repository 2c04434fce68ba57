//! What clients are told, as they see it.

use axum::http::Method;
use tintype_domain::{ExitCode, Outcome};
use tintype_server::{BaseUrl, Options};

use crate::house::{DETAIL, House, RUN, request};

#[tokio::test]
async fn a_run_is_accepted() {
    let house = House::build().await;
    let answer = house.post(RUN, r#"{"prompt": "a red circle"}"#).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (200, "application/json")
    );
    let names: Vec<String> = answer
        .json()
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    assert_eq!(names, ["errors", "taskid", "socketaccesstoken", "result"]);
    let token = answer.json()["socketaccesstoken"]
        .as_str()
        .expect("a token")
        .to_owned();
    assert!(token.len() == 30 && token.bytes().all(|byte| byte.is_ascii_alphanumeric()));
}

#[tokio::test]
async fn a_task_is_told_from_the_queue_to_its_picture() {
    let house = House::build().await;
    let token = house.submitted().await;
    let body = format!(r#"{{"tasktoken": "{token}"}}"#);
    let redacted = |answer: serde_json::Value| {
        insta::assert_json_snapshot!(answer, {
            ".tasklist[].uuid" => "[uuid]",
            ".tasklist[].outputs[].uuid" => "[uuid]",
            ".tasklist[].socketaccesstoken" => "[token]",
            ".tasklist[].outputfolderid" => "[folder]",
            ".tasklist[].outputs[].parentid" => "[folder]",
        });
    };
    redacted(house.post(DETAIL, body.clone()).await.json());
    let task = house.claimed().await;
    house.succeed(&task, b"a picture").await;
    let answer = house.post(DETAIL, body).await.json();
    let ended = &answer["tasklist"][0];
    assert_eq!(ended["outputfolderid"], ended["outputs"][0]["parentid"]);
    assert_eq!(ended["uuid"], ended["outputs"][0]["uuid"]);
    redacted(answer);
}

#[tokio::test]
async fn a_failed_task_shows_its_reason_and_nothing_else() {
    let house = House::build().await;
    let token = house.submitted().await;
    let task = house.claimed().await;
    let debug_error = "The input image was not found.".to_owned();
    house
        .end(
            &task,
            Outcome::Failed {
                exit_code: ExitCode::INPUT,
                debug_error,
            },
        )
        .await;
    let answer = house
        .post(DETAIL, format!(r#"{{"tasktoken": "{token}"}}"#))
        .await
        .json();
    let task = &answer["tasklist"][0];
    assert_eq!(task["status"], "task_postprocess_end");
    assert_eq!(task["debugerror"], "The input image was not found.");
    assert_eq!(
        (&task["pexit"], &task["totalcost"]),
        (&"2".into(), &"0".into())
    );
    assert_eq!(
        (&task["outputs"], &task["size"]),
        (&serde_json::json!([]), &"0".into())
    );
}

#[tokio::test]
async fn logical_errors_are_told_with_status_200() {
    let house = House::build().await;
    let told = |path: &'static str, body: &'static str| {
        let house = &house;
        async move { house.post(path, body).await.error() }
    };
    let unnamed = "taskid or socketaccesstoken is required".to_owned();
    assert_eq!(told(DETAIL, "{}").await, (200, 0, unnamed.clone()));
    assert_eq!(
        told(DETAIL, r#"{"tasktoken": ""}"#).await,
        (200, 0, unnamed)
    );
    let unknown = "There is no task yet.".to_owned();
    assert_eq!(
        told(DETAIL, r#"{"tasktoken": "nobody"}"#).await,
        (200, 1, unknown.clone())
    );
    assert_eq!(told(DETAIL, r#"{"taskid": 9999}"#).await, (200, 1, unknown));
    let no_tool = "slug-owner-project-not-exist".to_owned();
    assert_eq!(
        told("/v1/Run/nobody/nothing", "{}").await,
        (200, 1, no_tool)
    );
    let required = "Request parameter [prompt] required".to_owned();
    assert_eq!(told(RUN, "{}").await, (200, 0, required));
    let invalid = "Request parameters are invalid.".to_owned();
    assert_eq!(told(RUN, "{\"prompt\":").await, (200, 0, invalid));
}

#[tokio::test]
async fn unknown_paths_and_methods_are_one_error() {
    let house = House::build().await;
    let expected = (404, 0, "Error parsing url.".to_owned());
    for (method, path) in [
        (Method::POST, "/v1"),
        (Method::GET, RUN),
        (Method::PUT, DETAIL),
        (Method::POST, "/"),
        (Method::POST, "/v1/task/detail"),
        (Method::POST, "/v1/Run/black-forest-labs"),
        (Method::GET, "/no-such-folder/0.png"),
        (Method::GET, "/%ff/0.png"),
        (Method::POST, "/v1/Run/%ff/x"),
    ] {
        assert_eq!(
            house.call(method.clone(), path, &[]).await.error(),
            expected,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn probes_answer_without_a_key() {
    let house = House::build().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(house.get(path).await.status, 200, "{path}");
    }
    let ready = house.get("/readyz").await;
    assert_eq!(ready.bytes, b"ready\nnothing is moderated\n");
}

#[tokio::test]
async fn the_page_greets_people_and_shows_no_secret() {
    let house = House::build().await;
    let answer = house.get("/").await;
    let page = String::from_utf8(answer.bytes.clone()).expect("text");
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert!(page.contains("https://pictures.example/v1/Run/black-forest-labs/flux-pro-1.1"));
    assert!(page.contains("flux-kontext-max") && !page.contains(&house.keys.api_key));
}

#[tokio::test]
async fn an_unconfigured_address_is_the_one_that_the_client_used() {
    let options = Options {
        base_url: BaseUrl::FromRequest,
        ..Options::default()
    };
    let house = House::with(options).await;
    let page = |host: &'static str| {
        let house = &house;
        async move {
            let request = request(
                Method::GET,
                "/",
                &[("host", host)],
                axum::body::Body::empty(),
            );
            String::from_utf8(house.send(request).await.bytes).expect("text")
        }
    };
    assert!(
        page("box.local:8787")
            .await
            .contains("http://box.local:8787/v1/Run/")
    );
    for odd in ["a<b", "user@host", "a b", ""] {
        assert!(
            page(odd).await.contains("https://pictures.example/v1/Run/"),
            "{odd}"
        );
    }
}

#[tokio::test]
async fn pages_of_other_origins_may_call() {
    let house = House::build().await;
    let asked = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "x-api-key,x-nonce,x-signature,content-type",
        ),
    ];
    let answer = house.call(Method::OPTIONS, RUN, &asked).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(
        answer
            .header("access-control-allow-headers")
            .contains("x-signature")
    );
    let answer = house
        .call(Method::POST, RUN, &[("origin", "https://app.example")])
        .await;
    assert_eq!(
        (
            answer.status.as_u16(),
            answer.header("access-control-allow-origin")
        ),
        (401, "*")
    );
}
