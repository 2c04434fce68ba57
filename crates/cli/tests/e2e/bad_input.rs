//! Everything that clients get wrong, and everything that strangers try. Each is told in the
//! contract's words or ends as a failed task with a reason; the server goes on.

use std::io::Cursor;
use std::net::TcpListener;

use image::{ImageFormat, Rgb, RgbImage};
use serde_json::{Value, json};

use crate::client::{Client, KONTEXT, Keys, PRO, token_of};
use crate::server::{Place, Server};

/// Code and sentence of a refusal with this status.
fn refusal((status, answer): (u16, Value), expected_status: u16) -> (u64, String) {
    assert_eq!(
        (status, &answer["result"]),
        (expected_status, &json!(false)),
        "{answer}"
    );
    let error = &answer["errors"][0];
    let message = error["message"].as_str().expect("a sentence").to_owned();
    (error["code"].as_u64().expect("a code"), message)
}

async fn refused_inputs(client: &Client, inputs: Value) -> String {
    let (code, message) = refusal(
        client.send(&format!("Run/{PRO}"), inputs.to_string()).await,
        200,
    );
    assert_eq!(code, 0);
    message
}

/// After all the nonsense: alive, and drawing.
async fn goes_on(client: &Client) {
    assert!(client.is_alive().await);
    let token = client.run(PRO, json!({"prompt": "a blue square"})).await;
    client.picture(&client.ended(&token).await).await;
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let picture = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, (x * y) as u8]));
    picture
        .write_to(&mut file, ImageFormat::Png)
        .expect("a file");
    file.into_inner()
}

/// A PNG of a few bytes that claims to be 50,000 pixels wide and high.
fn pixel_bomb() -> Vec<u8> {
    const HEADER: std::ops::Range<usize> = 12..29;
    let mut file = png(8, 8);
    file[16..20].copy_from_slice(&50_000_u32.to_be_bytes());
    file[20..24].copy_from_slice(&50_000_u32.to_be_bytes());
    let checksum = crc32(&file[HEADER]);
    file[HEADER.end..HEADER.end + 4].copy_from_slice(&checksum.to_be_bytes());
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}

async fn reason_for_upload(client: &Client, bytes: Vec<u8>) -> String {
    let path = format!("Run/{KONTEXT}");
    let (status, answer) = client.send_picture(&path, "make it red", &bytes).await;
    if answer["result"] == false {
        return refusal((status, answer), 200).1;
    }
    client.reason(&token_of(status, &answer)).await
}

#[tokio::test]
async fn keys_that_are_wrong_or_missing() {
    let place = Place::new();
    let server = place.serve();
    let keys = server.keys.clone().expect("a first start");
    for (api_key, api_secret, expected) in [
        ("", "x", "Project authorization is not founded."),
        ("nobody", "x", "Project authorization is not founded."),
        (
            keys.api_key.as_str(),
            "wrong",
            "Project authorization is not valid.",
        ),
    ] {
        let keys = Keys {
            api_key: api_key.to_owned(),
            api_secret: api_secret.to_owned(),
        };
        let client = Client::new(&server.url, keys);
        let path = format!("Run/{PRO}");
        let (code, message) = refusal(client.send(&path, r#"{"prompt":"x"}"#).await, 401);
        assert_eq!((code, message.as_str()), (0, expected));
    }
    goes_on(&server.client()).await;
}

#[tokio::test]
async fn tools_and_parameters_that_do_not_exist() {
    let place = Place::new();
    let server = place.serve();
    let client = server.client();
    let unknown = client.send("Run/nobody/nothing", r#"{"prompt":"x"}"#).await;
    assert_eq!(
        refusal(unknown, 200),
        (1, "slug-owner-project-not-exist".to_owned())
    );
    assert_eq!(
        refused_inputs(&client, json!({})).await,
        "Request parameter [prompt] required"
    );
    for (name, value) in [
        ("seed", json!("absurd")),
        ("seed", json!({"deep": [1, 2]})),
        ("safetyTolerance", json!(7)),
        ("safetyTolerance", json!("-1")),
        ("aspectRatio", json!("7:3")),
        ("outputFormat", json!("gif")),
        ("promptUpsampling", json!("perhaps")),
        ("prompt", json!({"a": 1})),
    ] {
        let mut inputs = json!({"prompt": "x"});
        inputs[name] = value.clone();
        let message = refused_inputs(&client, inputs).await;
        assert!(
            message.contains(&format!("[{name}]")),
            "{name} = {value}: {message}"
        );
    }
    let message = refused_inputs(&client, json!({"prompt": "x".repeat(1 << 20)})).await;
    assert!(message.contains("[prompt]"), "{message}");
    goes_on(&client).await;
}

#[tokio::test]
async fn bodies_that_are_broken_or_too_large() {
    let place = Place::with_configuration("[limits]\nbody_bytes = 100000");
    let server = place.serve();
    let client = server.client();
    let run = format!("Run/{PRO}");
    for body in [
        "{\"prompt\": \"x\"",
        "prompt",
        "[]",
        "{\"prompt\": x}",
        "\u{0}\u{1}\u{2}",
    ] {
        let expected = (0, "Request parameters are invalid.".to_owned());
        assert_eq!(
            refusal(client.send(&run, body).await, 200),
            expected,
            "{body}"
        );
    }
    let body = json!({"prompt": "x".repeat(200_000)}).to_string();
    let (code, message) = refusal(client.send(&run, body).await, 413);
    assert_eq!((code, message.contains("100000")), (0, true), "{message}");
    goes_on(&client).await;
}

#[tokio::test]
async fn a_limit_may_come_from_the_environment() {
    let place = Place::new();
    let mut command = place.serve_command();
    command.env("TINTYPE_LIMITS__BODY_BYTES", "1000");
    let server = Server::start(command);
    let body = json!({"prompt": "x".repeat(2000)}).to_string();
    let (_, message) = refusal(server.client().send(&format!("Run/{PRO}"), body).await, 413);
    assert!(message.contains("1000"), "{message}");
}

#[tokio::test]
async fn pictures_that_are_none() {
    let place = Place::new();
    let server = place.serve();
    let client = server.client();
    let whole = png(64, 48);
    for (what, bytes) in [
        ("a text", b"this is a text and not a picture".to_vec()),
        ("a truncated picture", whole[..whole.len() / 2].to_vec()),
        ("a pixel bomb", pixel_bomb()),
        ("a bare signature", whole[..8].to_vec()),
    ] {
        let reason = reason_for_upload(&client, bytes).await;
        assert!(reason.len() > 10, "{what}: {reason}");
    }
    for text in [
        "data:image/png;base64,AAAA",
        "data:nonsense",
        "%%%",
        "no-such-file.jpg",
    ] {
        let inputs = json!({"prompt": "x", "inputImageUrl": text});
        let (status, answer) = client
            .send(&format!("Run/{KONTEXT}"), inputs.to_string())
            .await;
        if answer["result"] == false {
            assert!(
                refusal((status, answer), 200).1.contains("inputImage"),
                "{text}"
            );
        } else {
            assert!(
                client.reason(&token_of(status, &answer)).await.len() > 10,
                "{text}"
            );
        }
    }
    goes_on(&client).await;
}

#[tokio::test]
async fn addresses_inside_the_own_network() {
    let place = Place::new();
    let server = place.serve();
    let client = server.client();
    let inside = TcpListener::bind("127.0.0.1:0").expect("a port");
    inside.set_nonblocking(true).expect("a mode");
    let port = inside.local_addr().expect("an address").port();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "2130706433",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
    ] {
        let url = format!("http://{host}:{port}/picture.png");
        let inputs = json!({"prompt": "x", "inputImageUrl": url});
        let reason = client.reason_of_failure(KONTEXT, inputs).await;
        assert!(reason.contains("private"), "{host}: {reason}");
    }
    assert!(inside.accept().is_err(), "nobody has called");
    let metadata = json!({"prompt": "x", "inputImageUrl": "http://169.254.169.254/latest/"});
    assert!(
        client
            .reason_of_failure(KONTEXT, metadata)
            .await
            .contains("private")
    );
    goes_on(&client).await;
}

#[tokio::test]
async fn an_address_that_never_answers() {
    let place = Place::with_configuration(
        "danger_allow_private_addresses = true\n[fetch]\ntotal_seconds = 1",
    );
    let server: Server = place.serve();
    let client = server.client();
    // Connections wait in the backlog; nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!(
        "http://{}/picture.png",
        silent.local_addr().expect("an address")
    );
    let reason = client
        .reason_of_failure(KONTEXT, json!({"prompt": "x", "inputImageUrl": url}))
        .await;
    assert!(reason.contains("did not answer"), "{reason}");
    goes_on(&client).await;
}
