//! LoRAs for the bundled model, from the folder that the program looks in: by a request's parameter, as
//! a tool's default, and on the command line.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::client::{Client, PRO};
use crate::nano;
use crate::server::{Place, tintype};

/// The rank of the LoRAs here.
const RANK: usize = 2;

/// A LoRA over the queries and outputs of nano's first blocks, under diffusers' names.
fn lora(seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut number = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    let mut header = Map::new();
    let mut data = Vec::new();
    let width = nano::width();
    for block in 0..nano::double_blocks() {
        for layer in ["to_q", "to_v", "to_out.0"] {
            for (part, shape) in [("A", [RANK, width]), ("B", [width, RANK])] {
                let name = format!(
                    "transformer.transformer_blocks.{block}.attn.{layer}.lora_{part}.weight"
                );
                let start = data.len();
                data.extend((0..RANK * width).flat_map(|_| (0.5 * number()).to_le_bytes()));
                let tensor =
                    json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
                header.insert(name, tensor);
            }
        }
    }
    let header = Value::Object(header).to_string();
    let length = header.len() as u64;
    [&length.to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// Puts LoRAs where the program looks for them.
fn install(place: &Place, names: &[&str]) {
    let folder = place.data().join("loras");
    fs::create_dir_all(&folder).expect("created");
    for (seed, name) in (1..).zip(names) {
        fs::write(folder.join(format!("{name}.safetensors")), lora(seed)).expect("written");
    }
}

fn inputs(more: Value) -> Value {
    let mut inputs =
        json!({"prompt": "a red circle", "seed": "7", "aspectRatio": "1:1", "outputFormat": "png"});
    let more = more.as_object().expect("an object").clone();
    inputs.as_object_mut().expect("an object").extend(more);
    inputs
}

async fn drawn(client: &Client, more: Value) -> Vec<u8> {
    let token = client.run(PRO, inputs(more)).await;
    client.picture_file(&client.ended(&token).await).await
}

#[tokio::test]
async fn a_request_has_the_loras_that_it_names() {
    let place = Place::new();
    install(&place, &["style", "detail"]);
    let server = place.serve();
    let client = server.client();
    let with = async |loras: Value| drawn(&client, json!({ "loras": loras })).await;
    let plain = drawn(&client, json!({})).await;
    let style = with(json!("style")).await;
    assert!(style != plain, "it shows");
    assert!(with(json!("style:1.0")).await == style);
    let less = with(json!("style:0.4")).await;
    assert!(less != style && less != plain);
    let both = with(json!("style, detail:-0.5")).await;
    assert!(both != style && both != plain);
    // Without effect, to the byte.
    for nothing in ["style:0", "style:0, detail:0.0", "none", ""] {
        assert!(with(json!(nothing)).await == plain, "{nothing:?}");
    }
    assert!(
        drawn(&client, json!({})).await == plain,
        "nothing of it stays"
    );
}

#[tokio::test]
async fn what_is_asked_for_is_echoed_and_a_tools_own_loras_can_be_declined() {
    let settings = format!("[tools.\"{PRO}\"]\nmodel = \"nano\"\nloras = [\"style:0.8\"]\n");
    let place = Place::with_configuration(&settings);
    install(&place, &["style"]);
    let server = place.serve();
    let client = server.client();
    let token = client.run(PRO, inputs(json!({"loras": "none"}))).await;
    let task = client.ended(&token).await;
    assert_eq!(task["parameters"]["loras"], "none");
    let plain = client.picture_file(&task).await;
    let token = client.run(PRO, inputs(json!({}))).await;
    let task = client.ended(&token).await;
    assert_eq!(
        task["parameters"].get("loras"),
        None,
        "nobody said anything"
    );
    let usual = client.picture_file(&task).await;
    assert!(usual != plain);
    assert!(drawn(&client, json!({"loras": "style:0.8"})).await == usual);
}

#[tokio::test]
async fn loras_that_cannot_be_had_are_said_and_leave_the_next_task_alone() {
    let place = Place::new();
    install(&place, &["style"]);
    let golden = "../flux/tests/golden/lora/schnell/kohya.safetensors";
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(golden);
    let folder = place.data().join("loras");
    fs::copy(golden, folder.join("foreign.safetensors")).expect("copied");
    fs::write(folder.join("broken.safetensors"), "<!DOCTYPE html>").expect("written");
    let server = place.serve();
    let client = server.client();
    let data = place.data().display().to_string();
    for (name, expected) in [
        ("stile", "there is no LoRA stile; near it are style"),
        ("foreign", "the LoRA foreign cannot be applied to nano: "),
        ("broken", "the LoRA broken cannot be applied to nano: "),
    ] {
        let reason = client
            .reason_of_failure(PRO, inputs(json!({ "loras": name })))
            .await;
        assert!(reason.contains(expected), "{reason}");
        assert!(!reason.contains(&data), "no path: {reason}");
    }
    for bad in ["style:99", "../style", "style, style"] {
        let body = inputs(json!({ "loras": bad })).to_string();
        let (status, answer) = client.send(&format!("Run/{PRO}"), body).await;
        assert_eq!(
            (status, &answer["result"]),
            (200, &json!(false)),
            "{bad}: {answer}"
        );
        let message = answer["errors"][0]["message"].as_str().expect("a text");
        assert!(message.contains("[loras]"), "{message}");
    }
    drawn(&client, json!({"loras": "style"})).await;
}

#[tokio::test]
async fn the_command_line_draws_with_a_lora_what_the_service_draws() {
    let place = Place::new();
    install(&place, &["style"]);
    let server = place.serve();
    let served = drawn(&server.client(), json!({"loras": "style:0.7"})).await;
    let served = image::load_from_memory(&served)
        .expect("a picture")
        .into_rgb8();
    let (width, height) = (served.width().to_string(), served.height().to_string());
    let draw = |output: &str, loras: &[&str]| {
        let fixed = [
            "generate",
            "a red circle",
            "--seed",
            "7",
            "--width",
            &width,
            "--height",
            &height,
        ];
        let mut command = tintype(place.path());
        command
            .args(fixed)
            .args(["-o", output])
            .env("TINTYPE_DATA", place.data());
        for lora in loras {
            command.args(["--lora", lora]);
        }
        let output = command.output().expect("the program starts");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), errors)
    };
    for (output, loras) in [
        ("plain.png", &[][..]),
        ("zero.png", &["style:0"]),
        ("style.png", &["style:0.7"]),
    ] {
        assert_eq!(draw(output, loras), (true, String::new()), "{output}");
    }
    let file = |name: &str| fs::read(place.path().join(name)).expect("a file");
    assert!(file("zero.png") == file("plain.png"), "to the byte");
    assert!(file("style.png") != file("plain.png"));
    let style = image::open(place.path().join("style.png")).expect("a picture");
    assert!(style.into_rgb8() == served);
    let (drew, told) = draw("none.png", &["stile"]);
    assert!(
        !drew && told.contains("there is no LoRA stile; near it are style"),
        "{told}"
    );
    let (drew, told) = draw("none.png", &["./nowhere.safetensors"]);
    assert!(!drew && told.contains("nowhere.safetensors"), "{told}");
    let (drew, told) = draw("none.png", &["style:0.1", "style:0.2"]);
    assert!(
        !drew && told.contains("the LoRA style is named twice"),
        "{told}"
    );
    let names: Vec<_> = (0..9).map(|number| format!("style-{number}")).collect();
    let (drew, told) = draw(
        "none.png",
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    assert!(
        !drew && told.contains("9 LoRAs are more than the 8"),
        "{told}"
    );
    assert!(!place.path().join("none.png").exists());
}
