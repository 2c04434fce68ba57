//! Uploads and their folders.

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};
use tintype_domain::{AuthKind, ExitCode, TaskRef, TaskToken};
use tintype_service::ProjectKeys;

use crate::house::{Answer, House, request};

const UPLOAD: &str = "/v1/File/Upload";
const FOLDER: &str = "/v1/File/FolderCreate";
const EDIT: &str = "/v1/Run/black-forest-labs/flux-kontext-max";

/// The first bytes of a PNG tell its type.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\nand whatever follows";

const PICTURE: &[u8] = include_bytes!("../../../service/samples/input-depth-to-image-4.jpg");

async fn upload(house: &House, keys: &ProjectKeys, folder: &str, file: &[u8]) -> Answer {
    let head = format!(
        "--b\r\ncontent-disposition: form-data; name=\"folderid\"\r\n\r\n{folder}\r\n--b\r\n\
         content-disposition: form-data; name=\"file\"; filename=\"my cat.png\"\r\n\
         content-type: application/octet-stream\r\n\r\n"
    );
    let body = [head.as_bytes(), file, b"\r\n--b--\r\n"].concat();
    let headers = [
        ("x-api-key", keys.api_key.as_str()),
        ("content-type", "multipart/form-data; boundary=b"),
    ];
    house
        .send(request(Method::POST, UPLOAD, &headers, Body::from(body)))
        .await
}

async fn folder(house: &House, keys: &ProjectKeys, body: Value) -> Answer {
    house.post_with_key(keys, FOLDER, &body.to_string()).await
}

#[tokio::test]
async fn an_upload_is_shown_and_served() {
    let house = House::build().await;
    let keys = house.project("uploads", AuthKind::Key, &[]).await;
    let answer = upload(&house, &keys, "", PNG).await.json();
    let url = answer["list"][0]["url"].as_str().expect("an address");
    let path = url
        .strip_prefix("https://pictures.example")
        .expect("our own");
    let served = house.get(path).await;
    assert_eq!(served.bytes, PNG);
    assert_eq!(served.header("content-type"), "image/png");
    insta::assert_json_snapshot!(answer, {
        ".list[].id" => "[id]",
        ".list[].url" => "[url]",
        ".list[].accesskey" => "[key]",
    });
}

#[tokio::test]
async fn an_upload_is_used_by_address_and_by_name_in_its_own_project_only() {
    let house = House::build().await;
    let keys = house.project("uploads", AuthKind::Key, &[]).await;
    let other = house.project("other", AuthKind::Key, &[]).await;
    let _worker = house.worker();
    let answer = upload(&house, &keys, "", PICTURE).await.json();
    let url = answer["list"][0]["url"].as_str().expect("an address");
    let name = answer["list"][0]["name"].as_str().expect("a name");
    let on_another_host = url.replace("https://pictures.example", "http://localhost:8787");
    for (keys, image, exit_code) in [
        (&keys, url, ExitCode::SUCCESS),
        (&keys, name, ExitCode::SUCCESS),
        (&keys, "my cat.png", ExitCode::SUCCESS),
        (&keys, &on_another_host, ExitCode::SUCCESS),
        (&other, name, ExitCode::INPUT),
    ] {
        let run = json!({"prompt": "x", "inputImage": image}).to_string();
        let token = house.post_with_key(keys, EDIT, &run).await.json();
        let token = TaskToken(
            token["socketaccesstoken"]
                .as_str()
                .expect("a token")
                .to_owned(),
        );
        let ended = house.ended(&TaskRef::Token(token)).await;
        assert_eq!(
            ended.exit_code,
            Some(exit_code),
            "{image}: {}",
            ended.debug_error
        );
    }
}

#[tokio::test]
async fn folders_are_made_once_and_hold_files_and_folders() {
    let house = House::build().await;
    let keys = house.project("uploads", AuthKind::Key, &[]).await;
    let answer = folder(&house, &keys, json!({"name": "Holiday_2026-07"}))
        .await
        .json();
    let id = answer["list"][0]["id"].as_str().expect("an id").to_owned();
    let again = folder(
        &house,
        &keys,
        json!({"name": "Holiday_2026-07", "parentid": ""}),
    )
    .await;
    assert_eq!(again.json(), answer);
    let inner = folder(&house, &keys, json!({"name": "beach", "parentid": [id]}))
        .await
        .json();
    assert_eq!(inner["list"][0]["parentid"], id);
    let file = upload(&house, &keys, &id, PNG).await.json();
    assert_eq!(file["list"][0]["parentid"], id);
    insta::assert_json_snapshot!(answer, { ".list[].id" => "[id]" });
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused() {
    let house = House::build().await;
    let keys = house.project("uploads", AuthKind::Key, &[]).await;
    let no_file = (200, 0, "Request files [file] required".to_owned());
    for body in ["", "{}", r#"{"file": "cat.png"}"#] {
        let answer = house.post_with_key(&keys, UPLOAD, body).await;
        assert_eq!(answer.error(), no_file, "{body}");
    }
    let empty = "Request parameters are invalid. [file] is empty: it has 0 bytes".to_owned();
    assert_eq!(
        upload(&house, &keys, "", b"").await.error(),
        (200, 0, empty)
    );
    let no_name = (200, 0, "Request parameter [name] required".to_owned());
    for body in [json!({}), json!({"name": " "})] {
        assert_eq!(folder(&house, &keys, body).await.error(), no_name);
    }
    for name in ["a b", "../up", "caf\u{e9}", &"x".repeat(121)] {
        let (status, code, sentence) = folder(&house, &keys, json!({"name": name})).await.error();
        assert_eq!((status, code), (200, 0));
        assert!(sentence.contains("[name] may have letters"), "{sentence}");
    }
    let too_large = vec![0; (100 << 20) + 1];
    let answer = upload(&house, &keys, "", &too_large).await.error();
    let sentence = "Request parameters are invalid. [file] is larger than 100 MB".to_owned();
    assert_eq!(answer, (200, 0, sentence));
}

#[tokio::test]
async fn folders_of_another_project_are_unknown() {
    let house = House::build().await;
    let keys = house.project("uploads", AuthKind::Key, &[]).await;
    let other = house.project("other", AuthKind::Key, &[]).await;
    let answer = folder(&house, &keys, json!({"name": "mine"})).await.json();
    let id = answer["list"][0]["id"].as_str().expect("an id");
    let unknown = (200, 1, "There is no such folder.".to_owned());
    for id in [id, "0", "' OR 1=1"] {
        assert_eq!(
            upload(&house, &other, id, PNG).await.error(),
            unknown,
            "{id}"
        );
        let inner = folder(&house, &other, json!({"name": "inner", "parentid": id})).await;
        assert_eq!(inner.error(), unknown, "{id}");
    }
}

#[tokio::test]
async fn a_large_file_is_kept_whole() {
    let house = House::build().await;
    let keys = house.project("uploads", AuthKind::Key, &[]).await;
    let file = [PNG, &vec![b'x'; 5 << 20]].concat();
    let answer = upload(&house, &keys, "", &file).await.json();
    let uploaded = &answer["list"][0];
    assert_eq!(uploaded["size"], file.len().to_string(), "{answer}");
    let url = uploaded["url"].as_str().expect("an address");
    let path = url
        .strip_prefix("https://pictures.example")
        .expect("our own");
    assert!(house.get(path).await.bytes == file, "the bytes come back");
}
