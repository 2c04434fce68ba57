//! A picture classifier that is installed judges what goes in and what comes out.
//!
//! The model is a tiny random one: what it sees means nothing, but it always sees something. So a
//! threshold of 0 stops every picture, and one above 1 none.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::client::{Client, KONTEXT, PRO};
use crate::server::{Place, tintype};

const SETTINGS: &str = "[moderation]\nmode = \"required\"\n[moderation.thresholds]\n\
                        sexual = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.1]\n\
                        \"violence/graphic\" = [1.1, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1]\n";

fn install(place: &Place) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vision/tests/golden/sigmoid/model");
    let folder = place.data().join("models/nsfw-vit");
    fs::create_dir_all(&folder).expect("created");
    for file in fs::read_dir(golden).expect("golden files") {
        let file = file.expect("an entry").path();
        let name = file.file_name().expect("a name");
        fs::copy(&file, folder.join(name)).expect("copied");
    }
}

/// A picture that the server knows itself.
fn edit(tolerance: &str) -> Value {
    let picture = image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8, y as u8, 80]));
    let mut png = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut png, image::ImageFormat::Png)
        .expect("a PNG");
    let base64 = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, png.into_inner());
    json!({"prompt": "make it blue", "safetyTolerance": tolerance, "inputImage": base64})
}

#[tokio::test]
async fn what_it_sees_counts_at_the_tasks_tolerance() {
    let place = Place::with_configuration(SETTINGS);
    install(&place);
    let keys = place.create_project(&["gallery"]);
    let server = place.serve();
    assert!(
        !server.greeting.contains("not moderated"),
        "{}",
        server.greeting
    );
    let client = Client::new(&server.url, keys);

    let draw = |tolerance: &str| json!({"prompt": "a red circle", "safetyTolerance": tolerance});
    let reason = client.reason_of_failure(PRO, draw("5")).await;
    assert_eq!(reason, "Content moderated: sexual");
    let token = client.run(PRO, draw("6")).await;
    client.picture(&client.ended(&token).await).await;

    let reason = client.reason_of_failure(KONTEXT, edit("2")).await;
    assert_eq!(reason, "Request moderated: sexual");
    let token = client.run(KONTEXT, edit("6")).await;
    client.picture(&client.ended(&token).await).await;
}

#[test]
fn a_picture_can_be_asked_about_without_a_server() {
    let place = Place::with_configuration(SETTINGS);
    let picture = place.path().join("picture.png");
    image::RgbImage::new(30, 20)
        .save(&picture)
        .expect("written");
    let check = |arguments: &[&str]| {
        let mut command = tintype(place.path());
        command
            .args(["moderation", "check", "--picture"])
            .arg(&picture);
        command.args(arguments).env("TINTYPE_DATA", place.data());
        let output = command.output().expect("the program starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (text, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (_, refusal) = check(&[]);
    assert!(refusal.contains("tintype model pull nsfw-vit"), "{refusal}");
    install(&place);
    let (text, _) = check(&[]);
    assert!(text.starts_with("Content moderated: sexual\n"), "{text}");
    assert!(text.contains("the classifier sees gore: "), "{text}");
    let (json, _) = check(&["--json", "--tolerance", "6"]);
    let report: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (
            &report["moderated"],
            report["labels"].as_array().map(Vec::len)
        ),
        (&Value::Null, Some(3))
    );
}

#[tokio::test]
async fn one_that_cannot_be_used_keeps_the_service_from_starting() {
    let place = Place::with_configuration("[moderation.classifier]\nmodel = \"/nowhere\"\n");
    let output = place.serve_command().output().expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains("[moderation.classifier]"), "{errors}");
    assert!(errors.contains("/nowhere"), "{errors}");
}
