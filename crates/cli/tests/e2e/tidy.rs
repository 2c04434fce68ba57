//! `tintype tidy` beside a running server.

use serde_json::{Value, json};

use crate::client::PRO;
use crate::server::{LOOK_AGAIN, LOOKS, Place, tintype};

fn tidy(place: &Place, arguments: &[&str]) -> Value {
    let output = tintype(place.path())
        .args(["tidy", "--json", "--data"])
        .arg(place.data())
        .args(arguments)
        .output()
        .expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test]
async fn old_pictures_go_while_the_server_runs() {
    let place = Place::with_configuration("[retention]\noutputs = \"1s\"\n");
    let server = place.serve();
    let client = server.client();
    let inputs = json!({"prompt": "a red circle", "seed": 1, "aspectRatio": "1:1"});
    let token = client.run(PRO, inputs.clone()).await;
    let ended = client.ended(&token).await;
    assert_eq!(ended["outputs"].as_array().map(Vec::len), Some(1));

    let mut removed = Value::Null;
    for _ in 0..LOOKS {
        let would = tidy(&place, &["--dry-run"]);
        removed = tidy(&place, &[]);
        if removed["outputs"]["files"] == 1 {
            break;
        }
        assert_eq!(would["outputs"]["files"], 0, "it was too young then, too");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    assert_eq!(removed["outputs"]["files"], 1, "{removed}");
    let detail = client.detail(&token).await;
    assert_eq!(detail["outputs"], json!([]), "{detail}");
    assert_eq!(detail["status"], ended["status"], "the record stays");
    assert!(
        !place.data().join("blobs/tasks").exists(),
        "no empty folders"
    );

    let again = client.run(PRO, inputs).await;
    let again = client.ended(&again).await;
    client.picture(&again).await;
}

#[test]
fn a_folder_without_a_service_is_told_and_left_alone() {
    let place = Place::new();
    let output = tintype(place.path())
        .args(["tidy", "--data"])
        .arg(place.data())
        .output()
        .expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains("there is no data folder"), "{errors}");
    assert!(!place.data().exists());
}
