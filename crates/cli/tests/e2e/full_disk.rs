//! A data folder on a disk that fills up: a small one in the memory, seen by the server alone.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::client::{Client, PRO};
use crate::server::{LOOK_AGAIN, LOOKS, Place, Server};

/// Room for the database and a few pictures.
const DISK: &str = "size=8m";

/// Runs at most while the disk is full; the database finds room for some of them in pages that it
/// has already.
const TRIES: usize = 200;

/// Whether this machine lets a test have a disk of its own.
fn disks_can_be_made() -> bool {
    let script = "mount -t tmpfs -o size=1m tmpfs /tmp";
    let tried = Command::new("unshare")
        .args(["-rm", "bash", "-c", script])
        .output();
    tried.is_ok_and(|output| output.status.success())
}

/// A server whose data folder is a disk of its own, and how the test sees that folder.
fn serve_on_a_small_disk(place: &Place) -> (Server, PathBuf) {
    let data = place.data();
    std::fs::create_dir(&data).expect("a folder");
    let script = format!("mount -t tmpfs -o {DISK} tmpfs \"$0\" && exec \"$@\"");
    let serve = place.serve_command();
    let mut command = Command::new("unshare");
    command.args(["-rm", "bash", "-c", &script]).arg(&data);
    command
        .arg(serve.get_program())
        .args(serve.get_args())
        .current_dir(place.path());
    for (name, value) in serve.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let server = Server::start(command);
    let seen = server.folder(&data);
    (server, seen)
}

fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("filler");
    let mut file = File::create(&path).expect("a file");
    let block = [0x55; 4096];
    while file.write_all(&block).is_ok() {}
    path
}

async fn try_to_run(client: &Client, seed: usize) -> (u16, Value) {
    let prompt = "a red circle ".repeat(100);
    let inputs = json!({"prompt": prompt, "seed": seed, "aspectRatio": "1:1"});
    client.send(&format!("Run/{PRO}"), inputs.to_string()).await
}

#[tokio::test]
async fn a_full_disk_refuses_or_fails_tasks_and_loses_none() {
    if !disks_can_be_made() {
        eprintln!(
            "SKIPPED: this machine does not let a test mount a disk of its own (unshare -rm)"
        );
        return;
    }
    let place = Place::new();
    let (server, data) = serve_on_a_small_disk(&place);
    let client = server.client();
    let token = client.run(PRO, json!({"prompt": "a red circle"})).await;
    client.picture(&client.ended(&token).await).await;

    let filler = fill(&data);
    let mut accepted = Vec::new();
    let mut refused = 0;
    for seed in 0..TRIES {
        let (status, answer) = try_to_run(&client, seed).await;
        if answer["result"] == true {
            accepted.push(
                answer["socketaccesstoken"]
                    .as_str()
                    .expect("a token")
                    .to_owned(),
            );
            continue;
        }
        assert_eq!(
            (status, &answer["errors"][0]["code"]),
            (503, &json!(0)),
            "{answer}"
        );
        refused += 1;
        break;
    }
    assert_eq!(
        client.detail(&token).await["pexit"],
        "0",
        "what is there can be read"
    );

    std::fs::remove_file(filler).expect("room again");
    let mut failed = 0;
    for token in &accepted {
        let task = client.ended(token).await;
        if task["pexit"] == "0" {
            client.picture(&task).await;
        } else {
            assert!(client.reason(token).await.contains("disk"), "{task}");
            failed += 1;
        }
    }
    assert!(refused + failed > 0, "the disk was not full");
    for _ in 0..LOOKS {
        let (_, answer) = try_to_run(&client, 0).await;
        if answer["result"] == true {
            let token = answer["socketaccesstoken"].as_str().expect("a token");
            client.picture(&client.ended(token).await).await;
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    panic!("the server did not recover");
}
