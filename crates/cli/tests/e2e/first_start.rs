//! What a first start prints works as it stands there.

use crate::client::has_ended;
use crate::server::{LOOK_AGAIN, LOOKS, Place};
use crate::shell::Shell;

#[tokio::test]
async fn the_printed_commands_draw_a_picture() {
    let place = Place::new();
    let server = place.serve();
    let (_, commands) = server.greeting.split_once("API_KEY=").expect("commands");
    let (commands, _) = commands.split_once("\nRepeat").expect("their end");
    let (run, detail) = commands.split_once("\ncurl").expect("two calls");
    let mut shell = Shell::open();
    assert_eq!(
        shell.run(&format!("API_KEY={run}")).trim(),
        "",
        "the token is kept, not printed"
    );
    for _ in 0..LOOKS {
        let task = &shell.json(&format!("curl{detail}"))["tasklist"][0];
        if has_ended(task) {
            assert_eq!(
                (&task["pexit"], &task["outputs"][0]["name"]),
                (&"0".into(), &"0.png".into())
            );
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    panic!("the task did not end");
}

#[tokio::test]
async fn a_later_start_shows_neither_keys_nor_commands() {
    let place = Place::new();
    let first = place.serve();
    let keys = first.keys.clone().expect("a first start");
    first.kill();
    let greeting = place.serve().greeting.clone();
    assert!(
        !greeting.contains(&keys.api_key) && !greeting.contains("curl"),
        "{greeting}"
    );
}
