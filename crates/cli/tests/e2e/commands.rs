//! Commands that end by themselves, and servers that cannot start: one sentence and a status.

use std::net::TcpListener;
use std::process::Command;

use crate::server::{Place, tintype};

/// Status and standard error of a command that must fail.
fn failure(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr).expect("text");
    let told = text.lines().filter(|line| line.starts_with("tintype: "));
    assert_eq!(told.count(), 1, "one sentence: {text}");
    text
}

#[test]
fn a_port_in_use_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let place = Place::new();
    let mut command = tintype(place.path());
    command
        .args(["serve", "--listen", &address, "--data"])
        .arg(place.data());
    let text = failure(&mut command);
    assert!(
        text.contains(&address) && text.contains("--listen"),
        "{text}"
    );
}

#[test]
fn a_data_folder_that_cannot_be_one_is_said() {
    let place = Place::new();
    std::fs::write(place.data(), "a file").expect("a file");
    let text = failure(&mut place.serve_command());
    assert!(text.contains("data folder"), "{text}");
}

#[test]
fn a_data_folder_in_use_is_said() {
    let place = Place::new();
    let _running = place.serve();
    let text = failure(&mut place.serve_command());
    assert!(text.contains("in use by process"), "{text}");
}

#[test]
fn a_setting_that_does_not_exist_is_said() {
    let place = Place::with_configuration("lisen = \"127.0.0.1:0\"");
    let text = failure(&mut place.serve_command());
    assert!(text.contains("lisen"), "{text}");
}

#[test]
fn the_environment_wins_over_the_file_and_flags_over_both() {
    let place = Place::with_configuration("public_url = \"https://file.example\"");
    let url = |server: crate::server::Server| server.url.clone();
    assert_eq!(url(place.serve()), "https://file.example");
    let mut command = place.serve_command();
    command.env("TINTYPE_PUBLIC_URL", "https://environment.example");
    assert_eq!(
        url(crate::server::Server::start(command)),
        "https://environment.example"
    );
    let mut command = place.serve_command();
    command.env("TINTYPE_PUBLIC_URL", "https://environment.example");
    command.args(["--public-url", "https://flag.example"]);
    assert_eq!(
        url(crate::server::Server::start(command)),
        "https://flag.example"
    );
}

#[test]
fn a_project_is_made_before_a_first_start() {
    let place = Place::new();
    let keys = place.create_project(&["mine", "--auth", "signature", "--allow-ip", "127.0.0.0/8"]);
    assert_ne!(keys.api_key, keys.api_secret);
    assert!(place.serve().keys.is_none(), "there is a project already");
}

#[test]
fn a_name_that_is_taken_is_said() {
    let place = Place::new();
    place.create_project(&["mine"]);
    let mut command = tintype(place.path());
    command
        .args(["project", "create", "mine", "--data"])
        .arg(place.data());
    assert!(failure(&mut command).contains("\"mine\""));
    let mut command = tintype(place.path());
    command
        .args(["project", "create", "b", "--allow-ip", "1.2.3", "--data"])
        .arg(place.data());
    assert!(failure(&mut command).contains("1.2.3"));
}
