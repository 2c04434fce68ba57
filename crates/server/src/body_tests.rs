//! Bodies as they arrive, well-formed and not.

use axum::http::HeaderValue;

use super::*;

const BOUNDARY: &str = "X-EDGE";

async fn read(
    content_type: &str,
    body: impl Into<Body>,
    purpose: Purpose,
) -> Result<RawInputs, ApiError> {
    let limits = Limits {
        multipart_bytes: 4096,
        body_bytes: 2048,
        ..Limits::default()
    };
    read_within(limits, content_type, body, purpose).await
}

async fn read_within(
    limits: Limits,
    content_type: &str,
    body: impl Into<Body>,
    purpose: Purpose,
) -> Result<RawInputs, ApiError> {
    let mut headers = HeaderMap::new();
    if !content_type.is_empty() {
        let value = HeaderValue::from_str(content_type).expect("a header");
        headers.insert(header::CONTENT_TYPE, value);
    }
    BodyReader::new(limits)
        .read(&headers, body.into(), purpose)
        .await
        .map(|inputs| inputs.raw)
}

fn shown(inputs: Result<RawInputs, ApiError>) -> String {
    match inputs {
        Err(error) => format!("{:?}", error.kind()),
        Ok(inputs) => inputs
            .iter()
            .map(|(name, value)| match value {
                RawValue::Json(value) => format!("{name}={value}"),
                RawValue::File(part) => format!(
                    "{name}=<{:?} {:?} {}>",
                    part.file_name,
                    part.content_type,
                    part.bytes.len()
                ),
            })
            .collect::<Vec<_>>()
            .join(" "),
    }
}

fn form_of_three_parts() -> String {
    let part = |head: &str, text: &str| {
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n{text}\r\n")
    };
    [
        part("name=\"prompt\"", "a \u{e9}"),
        part(
            "name=\"inputImage\"; filename=\"a.png\"\r\nContent-Type: application/octet-stream",
            "12345",
        ),
        part(
            "name=\"other\"; filename=\"\"\r\nContent-Type: application/octet-stream",
            "",
        ),
        format!("--{BOUNDARY}--\r\n"),
    ]
    .concat()
}

#[tokio::test]
async fn a_brace_is_json_whatever_the_header_says() {
    for header in [
        "multipart/form-data",
        "application/json",
        "application/x-www-form-urlencoded",
        "",
        "text/plain",
    ] {
        let body = " \r\n{\"seed\": 42, \"prompt\": \"x\", \"inputImage\": [\"a\"]}";
        let inputs = read(header, body, Purpose::Run).await;
        assert_eq!(
            shown(inputs),
            "seed=42 prompt=\"x\" inputImage=[\"a\"]",
            "{header}"
        );
    }
}

#[tokio::test]
async fn multipart_gives_texts_and_files() {
    let header = format!("multipart/form-data; boundary={BOUNDARY}");
    let expected = "prompt=\"a \u{e9}\" inputImage=<Some(\"a.png\") Some(\"application/octet-stream\") 5> other=\"\"";
    assert_eq!(
        shown(read(&header, form_of_three_parts(), Purpose::Run).await),
        expected
    );
    let forgotten = read("multipart/form-data", form_of_three_parts(), Purpose::Run).await;
    assert_eq!(
        shown(forgotten),
        expected,
        "the boundary was left out of the header"
    );
}

#[tokio::test]
async fn multipart_that_breaks_off_is_unreadable() {
    let header = format!("multipart/form-data; boundary={BOUNDARY}");
    let whole = form_of_three_parts();
    let half = whole[..whole.len() / 2].to_owned();
    assert_eq!(
        shown(read(&header, half, Purpose::Run).await),
        "UnreadableBody"
    );
    assert_eq!(
        shown(read(&header, "nonsense", Purpose::Run).await),
        "UnreadableBody"
    );
    assert_eq!(
        shown(read("multipart/form-data", "--\r\n", Purpose::Run).await),
        "UnreadableBody"
    );
}

#[tokio::test]
async fn forms_and_empty_bodies_are_read() {
    let form = "application/x-www-form-urlencoded; charset=utf-8";
    let inputs = read(form, "prompt=a+b%21&seed=", Purpose::Run).await;
    assert_eq!(shown(inputs), "prompt=\"a b!\" seed=\"\"");
    assert_eq!(shown(read("application/json", "", Purpose::Run).await), "");
    assert_eq!(
        shown(read("application/json", " \n", Purpose::Run).await),
        ""
    );
}

#[tokio::test]
async fn only_task_endpoints_are_lenient() {
    let body = "{ \"tasktoken\": eDcC, }";
    assert_eq!(
        shown(read("multipart/form-data", body, Purpose::Task).await),
        "tasktoken=\"eDcC\""
    );
    assert_eq!(
        shown(read("multipart/form-data", body, Purpose::Run).await),
        "UnreadableBody"
    );
}

#[tokio::test]
async fn what_is_no_object_is_unreadable() {
    for body in [
        "[1]",
        "\"x\"",
        "{",
        "{\"a\":}",
        "nonsense",
        "{\"a\":1} x",
        "\u{0}",
    ] {
        assert_eq!(
            shown(read("application/json", body, Purpose::Run).await),
            "UnreadableBody",
            "{body}"
        );
    }
    let deep = format!("{{\"a\":{}", "[".repeat(2000));
    assert_eq!(
        shown(read("application/json", deep, Purpose::Run).await),
        "UnreadableBody"
    );
    let not_text: &[u8] = b"{\"a\":\"\xff\"}";
    assert_eq!(
        shown(read("application/json", not_text, Purpose::Task).await),
        "UnreadableBody"
    );
    let many: Vec<String> = (0..=INPUTS).map(|n| format!("\"{n}\":1")).collect();
    let many = format!("{{{}}}", many.join(","));
    assert_eq!(
        shown(read_within(Limits::default(), "", many, Purpose::Run).await),
        "UnreadableBody"
    );
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused_known_length_or_not() {
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat(3000));
    assert_eq!(
        shown(read("application/json", body.clone(), Purpose::Run).await),
        "BodyTooLarge"
    );
    let chunks: Vec<Result<String, std::io::Error>> = body
        .as_bytes()
        .chunks(100)
        .map(|c| Ok(String::from_utf8_lossy(c).into_owned()))
        .collect();
    let stream = Body::from_stream(futures::stream::iter(chunks));
    assert_eq!(
        shown(read("application/json", stream, Purpose::Run).await),
        "BodyTooLarge"
    );
    let inputs = read("multipart/form-data", body, Purpose::Run).await;
    assert!(inputs.is_ok(), "multipart bodies may be larger");
}

#[tokio::test]
async fn a_body_that_never_comes_is_given_up() {
    let impatient = Limits {
        body_idle_seconds: 0,
        ..Limits::default()
    };
    let stream = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let given_up = read_within(impatient, "application/json", stream, Purpose::Run).await;
    assert_eq!(shown(given_up), "BodyTooSlow");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_unreadable() {
    let chunks = [
        Ok(Bytes::from_static(b"{\"a\"")),
        Err(std::io::Error::other("gone")),
    ];
    let stream = Body::from_stream(futures::stream::iter(chunks));
    assert_eq!(
        shown(read("application/json", stream, Purpose::Run).await),
        "UnreadableBody"
    );
}
