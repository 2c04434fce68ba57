//! What the service says of itself is what it does.
//!
//! `docs/openapi.json` is the document as outsiders see it; `INSTA_UPDATE=always` writes it anew.

use std::path::Path;

use axum::http::Method;
use serde_json::{Map, Value, json};

use crate::house::{Answer, House, request};

async fn document(house: &House) -> Value {
    house.get("/openapi.json").await.json()
}

/// All operations: path, method and what is said.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let all = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().expect("a path item");
        item.iter()
            .map(move |(verb, said)| (path.as_str(), verb.as_str(), said))
    });
    all.collect()
}

fn method(verb: &str) -> Method {
    verb.to_uppercase().parse().expect("a method")
}

#[tokio::test]
async fn the_document_is_the_one_in_the_repository() {
    let house = House::build().await;
    let answer = house.get("/openapi.json").await;
    assert_eq!(answer.header("content-type"), "application/json");
    let served = String::from_utf8(answer.bytes).expect("text");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, &served).expect("a file");
    }
    let kept = std::fs::read_to_string(&path).expect("docs/openapi.json");
    assert!(
        served == kept,
        "docs/openapi.json is not what is served: run this test with INSTA_UPDATE=always and read the difference"
    );
}

#[tokio::test]
async fn every_documented_operation_is_answered() {
    let house = House::build().await;
    let document = document(&house).await;
    for (path, verb, said) in operations(&document) {
        let answer = house.call(method(verb), path, &[]).await;
        let statuses = said["responses"].as_object().expect("responses");
        let status = answer.status.as_u16().to_string();
        assert!(statuses.contains_key(&status), "{verb} {path}: {status}");
        let expected = if said.get("security").is_some() {
            "401"
        } else if path.contains('{') {
            "404"
        } else if statuses.contains_key("101") {
            "426"
        } else {
            "200"
        };
        assert_eq!(status, expected, "{verb} {path}");
    }
}

#[tokio::test]
async fn examples_are_true() {
    let house = House::build().await;
    let document = document(&house).await;
    let mut seen = 0;
    for (path, verb, said) in operations(&document) {
        let Some(content) = said["responses"]["200"]["content"].get("application/json") else {
            continue;
        };
        let examples = content.get("examples").and_then(Value::as_object);
        for (name, example) in examples.into_iter().flatten() {
            let fault = fault(&document, &content["schema"], &example["value"]);
            assert_eq!(fault, None, "{verb} {path}: {name}");
            seen += 1;
        }
        let Some(asked) = said["requestBody"]["content"].get("application/json") else {
            continue;
        };
        let example = &asked["example"];
        assert_eq!(fault(&document, &asked["schema"], example), None, "{path}");
        let answer = house.post(path, example.to_string()).await;
        let told = answer.json();
        assert_eq!(fault(&document, &content["schema"], &told), None, "{path}");
        // The token of the examples is nobody's.
        let expected = !path.starts_with("/v1/Task/") || path.ends_with("/List");
        assert_eq!(told["result"], expected, "{path}: {told}");
    }
    assert!(seen > 20, "{seen} examples");
}

#[tokio::test]
async fn answers_about_a_task_are_as_documented_all_its_life() {
    let house = House::build().await;
    let document = document(&house).await;
    let is_documented = |path: &str, answer: Answer| {
        let content = &document["paths"][path]["post"]["responses"]["200"]["content"];
        let schema = &content["application/json"]["schema"];
        let told = answer.json();
        assert_eq!(fault(&document, schema, &told), None, "{path}");
        assert_eq!(told["result"], true, "{told}");
    };
    let ask = async |path: &str, token: &str| {
        let answer = house.post(path, json!({ "tasktoken": token }).to_string());
        is_documented(path, answer.await);
    };
    let token = house.submitted().await;
    ask("/v1/Task/Detail", &token).await;
    let task = house.claimed().await;
    ask("/v1/Task/Detail", &token).await;
    house.succeed(&task, b"a picture").await;
    ask("/v1/Task/Detail", &token).await;
    ask("/v1/Task/List", "").await;
    ask("/v1/Task/InputOutputDelete", &token).await;
    let token = house.submitted().await;
    ask("/v1/Task/Cancel", &token).await;
    let form = concat!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n",
        "text\r\n--b--\r\n"
    );
    let signature = crate::house::sign(&house.keys, "1");
    let headers = [
        ("x-api-key", house.keys.api_key.as_str()),
        ("x-nonce", "1"),
        ("x-signature", &signature),
        ("content-type", "multipart/form-data; boundary=b"),
    ];
    let upload = request(Method::POST, "/v1/File/Upload", &headers, form.into());
    is_documented("/v1/File/Upload", house.send(upload).await);
}

#[tokio::test]
async fn a_tool_s_inputs_are_those_of_its_form() {
    let house = House::build().await;
    let document = document(&house).await;
    let body = r#"{"slugowner": "black-forest-labs", "slugproject": "flux-kontext-max"}"#;
    let tool = house.post("/v1/Tool/Detail", body).await.json();
    let form = tool["tool"][0]["parameters"][0]["items"]
        .as_array()
        .expect("a form");
    let run = &document["paths"]["/v1/Run/black-forest-labs/flux-kontext-max"]["post"];
    let inputs = &run["requestBody"]["content"]["application/json"]["schema"];
    for field in form {
        let name = field["id"].as_str().expect("a name");
        let property = &inputs["properties"][name];
        assert_eq!(property["title"], field["label"], "{name}");
        let options = field["options"].as_array().expect("options");
        let listed = |value: &Value| {
            property["enum"]
                .as_array()
                .is_none_or(|all| all.contains(value))
        };
        assert!(
            options.iter().all(|option| listed(&option["value"])),
            "{name}"
        );
        if field["required"] == false {
            assert_eq!(property["default"], field["default"], "{name}");
        }
    }
    assert_eq!(inputs["required"], json!(["prompt"]));
}

#[tokio::test]
async fn the_page_shows_every_operation_and_runs_no_script() {
    let house = House::build().await;
    let document = document(&house).await;
    let answer = house.get("/docs").await;
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    let policy = answer.header("content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let page = String::from_utf8(answer.bytes).expect("text");
    for (path, _, said) in operations(&document) {
        let name = said["operationId"].as_str().expect("a name");
        assert!(page.contains(&format!("<h3 id=\"{name}\">")), "{name}");
        assert!(page.contains(path), "{path}");
    }
    for row in document["x-errors"].as_array().expect("errors") {
        let message = row["message"].as_str().expect("a message");
        assert!(page.contains(message), "{message}");
    }
    for never in ["<script", "{sections}", "address-of-this-service", "src="] {
        assert!(!page.contains(never), "{never}");
    }
    assert!(page.contains("https://pictures.example/v1/Task/Detail"));
}

/// What is wrong with a value, by the parts of JSON Schema that the document uses. Stricter than
/// they are: what no schema names may not come.
fn fault(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.strip_prefix("#/components/schemas/")?;
        let schema = document["components"]["schemas"].get(name);
        return match schema {
            Some(schema) => fault(document, schema, value).map(|fault| format!("{name}: {fault}")),
            None => Some(format!("{name} is no schema")),
        };
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let faults: Vec<_> = choices
            .iter()
            .map(|schema| fault(document, schema, value))
            .collect();
        let fitting = faults.iter().filter(|fault| fault.is_none()).count();
        return (fitting != 1).then(|| format!("fits {fitting} of several: {faults:?}"));
    }
    fault_of_kind(schema, value)
        .or_else(|| fault_of_list(document, schema, value))
        .or_else(|| fault_of_object(document, schema, value))
}

fn fault_of_kind(schema: &Value, value: &Value) -> Option<String> {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    // Whole numbers are numbers, too.
    let fits = |allowed: &Value| allowed == kind || (allowed == "number" && value.is_number());
    let allowed = match schema.get("type") {
        None => true,
        Some(Value::Array(kinds)) => kinds.iter().any(fits),
        Some(allowed) => fits(allowed),
    };
    let listed = schema["enum"]
        .as_array()
        .is_none_or(|all| all.contains(value));
    (!allowed || !listed).then(|| format!("{value} does not fit {schema}"))
}

fn fault_of_list(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    let items = value.as_array()?;
    let count = items.len() as u64;
    if schema["minItems"]
        .as_u64()
        .is_some_and(|least| count < least)
        || schema["maxItems"].as_u64().is_some_and(|most| count > most)
    {
        return Some(format!("{count} items"));
    }
    let mut faults = items
        .iter()
        .filter_map(|item| fault(document, &schema["items"], item));
    faults.next()
}

fn fault_of_object(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    let object = value.as_object()?;
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    let required = schema["required"].as_array().into_iter().flatten();
    let mut missing = required.filter_map(Value::as_str);
    if let Some(name) = missing.find(|name| !object.contains_key(*name)) {
        return Some(format!("{name} is missing"));
    }
    object.iter().find_map(|(name, value)| {
        let schema = properties.get(name).or(schema.get("additionalProperties"));
        match schema {
            Some(schema) => fault(document, schema, value).map(|fault| format!("{name}: {fault}")),
            None => Some(format!("{name} is not documented")),
        }
    })
}
