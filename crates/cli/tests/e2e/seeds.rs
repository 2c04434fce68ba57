//! The documented commands, taken out of the documents' own text and run by a shell.
//!
//! Only host, key, secret and token are replaced: what a reader would fill in.

use image::ImageFormat;
use serde_json::Value;

use crate::client::{Keys, has_ended};
use crate::server::{LOOK_AGAIN, LOOKS, Place};
use crate::shell::Shell;

const KONTEXT_MAX: &str = include_str!("../seeds/flux-kontext-max.txt");
const PRO: &str = include_str!("../seeds/flux-pro-1.1.txt");

const HOST: &str = "https://api.wiro.ai";
const KEY: &str = "{{useSelectedProjectAPIKey}}";
const SECRET: &str = "XXXXXXXXX";
const TOKEN: &str = "eDcCm5yyUfIvMFspTwww49OUfgXkQt";

/// The shell lines of a document.
struct Commands<'a> {
    exports: Vec<&'a str>,
    run: &'a str,
    detail: &'a str,
}

impl<'a> Commands<'a> {
    fn of(text: &'a str) -> Self {
        let export = |name: &str, end: &str| cut(text, &format!("export {name}="), end);
        Self {
            exports: vec![
                export("YOUR_API_KEY", ";"),
                export("YOUR_API_SECRET", ";"),
                export("NONCE", ";"),
                export("SIGNATURE", "\";"),
            ],
            run: cut(text, "curl -X POST \"https://api.wiro.ai/v1/Run/", "}';"),
            detail: cut(
                text,
                "curl -X POST \"https://api.wiro.ai/v1/Task/Detail\"",
                "}';",
            ),
        }
    }
}

/// From the one place where `start` stands to the first `end` after it, both included.
fn cut<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let mut places = text.match_indices(start);
    let (from, _) = places
        .next()
        .unwrap_or_else(|| panic!("the text has no {start}"));
    assert!(places.next().is_none(), "the text has {start} twice");
    let length = text[from..].find(end).expect("an end") + end.len();
    &text[from..from + length]
}

/// Pastes a document's commands into a shell; returns the ended task and the picture's bytes.
async fn follow(document: &str, url: &str, keys: &Keys) -> (Value, Vec<u8>) {
    let commands = Commands::of(document);
    let mut shell = Shell::open();
    for export in &commands.exports {
        shell.run(
            &export
                .replace(KEY, &keys.api_key)
                .replace(SECRET, &keys.api_secret),
        );
    }
    let accepted = shell.json(&commands.run.replace(HOST, url));
    assert_eq!(
        (&accepted["result"], &accepted["errors"]),
        (&true.into(), &Value::Array(vec![]))
    );
    let token = accepted["socketaccesstoken"].as_str().expect("a token");
    assert_eq!(token.len(), TOKEN.len());
    let detail = commands.detail.replace(HOST, url).replace(TOKEN, token);
    for _ in 0..LOOKS {
        let answer = shell.json(&detail);
        assert_eq!(
            (&answer["total"], &answer["result"]),
            (&"1".into(), &true.into()),
            "{answer}"
        );
        let task = &answer["tasklist"][0];
        assert_eq!(
            (&task["id"], &task["socketaccesstoken"]),
            (&accepted["taskid"], &token.into())
        );
        if has_ended(task) {
            let folder = tempfile::tempdir().expect("a folder");
            let file = folder.path().join("picture");
            let address = task["outputs"][0]["url"]
                .as_str()
                .unwrap_or_else(|| panic!("{task}"));
            shell.run(&format!("curl -s -o {} '{address}'", file.display()));
            return (task.clone(), std::fs::read(file).expect("the picture"));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    panic!("the task did not end");
}

fn check(task: &Value, bytes: &[u8], format: ImageFormat, name: &str) -> image::DynamicImage {
    assert_eq!(task["status"], "task_postprocess_end", "{task}");
    assert_eq!(
        (&task["pexit"], &task["debugerror"]),
        (&"0".into(), &"".into()),
        "{task}"
    );
    assert_eq!(task["outputs"][0]["name"], name);
    assert_eq!(task["outputs"][0]["contenttype"], format.to_mime_type());
    assert_eq!(task["size"], bytes.len().to_string());
    let times = [
        "createtime",
        "accepttime",
        "preprocessstarttime",
        "preprocessendtime",
        "assigntime",
        "starttime",
        "endtime",
        "postprocessstarttime",
        "postprocessendtime",
    ];
    let times = times.map(|time| {
        task[time]
            .as_str()
            .expect("a text")
            .parse::<u64>()
            .expect("a time")
    });
    assert!(times.is_sorted() && times[0] > 0, "{task}");
    image::load_from_memory_with_format(bytes, format).expect("a picture")
}

#[tokio::test]
async fn the_documented_commands_of_kontext_max_edit_a_picture() {
    let place = Place::new();
    let server = place.serve();
    let keys = server.keys.clone().expect("a first start");
    let (task, bytes) = follow(KONTEXT_MAX, &server.url, &keys).await;
    let picture = check(&task, &bytes, ImageFormat::Jpeg, "0.jpeg");
    assert_eq!(
        task["parameters"]["inputImageUrl"],
        "input-depth-to-image-4.jpg"
    );
    assert!(picture.width() >= 64 && picture.height() >= 64);
}

#[tokio::test]
async fn the_documented_commands_of_pro_draw_a_picture() {
    let place = Place::new();
    let server = place.serve();
    let keys = server.keys.clone().expect("a first start");
    let (task, bytes) = follow(PRO, &server.url, &keys).await;
    let picture = check(&task, &bytes, ImageFormat::Png, "0.png");
    let ratio = f64::from(picture.width()) / f64::from(picture.height());
    assert!((1.5..2.1).contains(&ratio), "about 16:9, but {ratio}");
}

/// The same lines with a key whose project does not sign: the headers of the signature are stray.
/// The project is made while the server runs.
#[tokio::test]
async fn the_documented_commands_run_with_a_key_alone() {
    let place = Place::new();
    let server = place.serve();
    let keys = place.create_project(&["by key", "--auth", "key"]);
    let (task, bytes) = follow(PRO, &server.url, &keys).await;
    check(&task, &bytes, ImageFormat::Png, "0.png");
}

/// The same seed, the same picture, whichever of the two documents' servers draws it.
#[tokio::test]
async fn the_documented_seed_gives_the_same_picture_again() {
    let place = Place::new();
    let server = place.serve();
    let keys = server.keys.clone().expect("a first start");
    let (_, first) = follow(PRO, &server.url, &keys).await;
    let (_, second) = follow(PRO, &server.url, &keys).await;
    assert!(first == second, "seed 42 drew two different pictures");
}
