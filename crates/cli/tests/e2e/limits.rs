//! `tintype project set`, beside a running server.

use std::process::Output;

use serde_json::{Value, json};

use crate::client::{Client, PRO};
use crate::server::{Place, tintype};

fn project(place: &Place, arguments: &[&str]) -> Output {
    let mut command = tintype(place.path());
    command
        .arg("project")
        .args(arguments)
        .arg("--data")
        .arg(place.data());
    command.output().expect("the program starts")
}

fn set(place: &Place, arguments: &[&str]) -> Value {
    let output = project(place, &[&["set"], arguments, &["--json"]].concat());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test]
async fn limits_prices_and_balances_hold_at_once_beside_a_server() {
    let place = Place::new();
    let keys = place.create_project(&["shop"]);
    let server = place.serve();
    let client = Client::new(&server.url, keys);
    let inputs = json!({"prompt": "a red circle", "aspectRatio": "1:1"});

    let price = format!("{PRO}=0.04");
    let shown = set(&place, &["shop", "--balance", "0.07", "--price", &price]);
    assert_eq!(
        (&shown["balance"], &shown["prices"][0]["price"]),
        (&json!("0.07"), &json!("0.04"))
    );
    let token = client.run(PRO, inputs.clone()).await;
    let (status, refused) = client.send(&format!("Run/{PRO}"), inputs.to_string()).await;
    let error = &refused["errors"][0];
    assert_eq!((status, &error["code"]), (200, &json!(97)), "{refused}");
    let task = client.ended(&token).await;
    assert_eq!(task["totalcost"], "0.040000000000");
    let shown = set(&place, &["shop", "--add-balance", "0.01"]);
    let money = (&shown["balance"], &shown["spent"], &shown["reserved"]);
    assert_eq!(money, (&json!("0.04"), &json!("0.04"), &json!("0.00")));

    set(
        &place,
        &["shop", "--concurrency", "0", "--balance", "50.00"],
    );
    let (_, refused) = client.send(&format!("Run/{PRO}"), inputs.to_string()).await;
    let message = refused["errors"][0]["message"].as_str().expect("a text");
    assert_eq!(refused["errors"][0]["code"], 96);
    assert!(
        message.contains("$50.00, you can run up to 0 tasks"),
        "{message}"
    );
    set(
        &place,
        &[
            "shop",
            "--concurrency",
            "unlimited",
            "--balance",
            "unlimited",
        ],
    );
    client.run(PRO, inputs).await;

    let listed = project(&place, &["list"]);
    let listed = String::from_utf8(listed.stdout).expect("text");
    assert!(
        listed.contains("shop") && listed.contains("balance     unlimited"),
        "{listed}"
    );
}

#[test]
fn what_does_not_fit_is_said() {
    let place = Place::new();
    place.create_project(&["shop"]);
    for (arguments, said) in [
        (&["nobody"][..], "\"nobody\""),
        (&["shop", "--add-balance", "5"], "--balance"),
        (&["shop", "--weight", "0"], "weight"),
        (&["shop", "--priority", "-101"], "priority"),
        (&["shop", "--price", "no/tool=1"], "no/tool"),
        (&["shop", "--balance", "1e3"], "1e3"),
        (&["shop", "--concurrency", "many"], "unlimited"),
    ] {
        let output = project(&place, &[&["set"], arguments].concat());
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && text.contains(said),
            "{arguments:?}: {text}"
        );
    }
    let shown = set(
        &place,
        &[
            "shop",
            "--priority",
            "-5",
            "--weight",
            "3",
            "--strict-nonce",
            "true",
        ],
    );
    let told = (&shown["priority"], &shown["weight"], &shown["strict_nonce"]);
    assert_eq!(told, (&json!(-5), &json!(3), &json!(true)));
}
