//! What becomes of the targets of the [`table`]. Nobody outside this machine is asked: a
//! scripted resolver stands for the DNS.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use url::Url;

use super::super::resolve::{GuardedResolver, Lookup, NotAdmitted};
use super::table::*;
use super::*;

/// Answers names from a list, one answer after another; the last one stays.
#[derive(Default)]
struct Script {
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    asked: Mutex<Vec<String>>,
}

impl Script {
    fn of(names: &[(&str, &[&[&str]])]) -> Arc<Self> {
        let address = |text: &&str| text.parse().expect("an address");
        let answers = names.iter().map(|(name, answers)| {
            let mut answers: Vec<Vec<IpAddr>> = answers
                .iter()
                .map(|answer| answer.iter().map(address).collect())
                .collect();
            answers.reverse();
            ((*name).to_owned(), answers)
        });
        Arc::new(Self {
            answers: Mutex::new(answers.collect()),
            asked: Mutex::default(),
        })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

#[async_trait]
impl Lookup for Script {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.asked
            .lock()
            .expect("not poisoned")
            .push(name.to_owned());
        let mut answers = self.answers.lock().expect("not poisoned");
        let answers = answers.get_mut(name.trim_end_matches('.'));
        let answers = answers.ok_or_else(|| io::Error::other("no such name"))?;
        let last = answers.len() == 1;
        let next = if last {
            answers[0].clone()
        } else {
            answers.pop().expect("more than one")
        };
        Ok(next)
    }
}

fn scripted(script: &Arc<Script>, allowed: &[&str]) -> GuardedClient {
    let config = GuardConfig {
        allowed: AllowedTargets::parse(allowed.iter().copied()).expect("targets"),
        ..GuardConfig::default()
    };
    GuardedClient::with_lookup(&config, script.clone())
}

#[tokio::test]
async fn private_targets_are_refused_however_they_are_written() {
    let script = Script::of(&[]);
    let client = scripted(&script, &[]);
    for (url, host) in PRIVATE {
        assert_eq!(refused(&client, url).await, host, "{url}");
    }
    for name in LOCAL_NAMES {
        refused(&client, &format!("http://{name}/a.png")).await;
    }
    assert_eq!(script.asked(), [""; 0], "nobody was asked");
}

#[tokio::test]
async fn names_that_lead_inside_are_refused_when_they_are_resolved() {
    for (name, addresses) in NAMES_THAT_LEAD_INSIDE {
        let script = Script::of(&[(name, &[addresses])]);
        let client = scripted(&script, &[]);
        for url in [format!("http://{name}:9/"), format!("https://{name}/")] {
            assert_eq!(refused(&client, &url).await, name, "{url}");
        }
        assert_eq!(script.asked(), [name, name]);
    }
}

#[tokio::test]
async fn what_is_no_address_of_the_web_is_refused() {
    let script = Script::of(&[]);
    let client = scripted(&script, &["0.0.0.0/0", "::/0"]);
    for url in NO_ADDRESSES.iter().chain(&OTHER_SCHEMES) {
        let error = client.get(url, &limits()).await.expect_err("refused");
        assert!(matches!(error, GuardedError::Address), "{url}: {error}");
    }
    assert_eq!(script.asked(), [""; 0], "nobody was asked");
}

#[tokio::test]
async fn public_targets_stay_reachable() {
    for (address, resolved) in PUBLIC {
        let url = Url::parse(address).expect("an address");
        let host = url.host_str().expect("a host").trim_end_matches('.');
        let script = match resolved {
            "" => Script::of(&[]),
            resolved => Script::of(&[(host, &[&[resolved]])]),
        };
        let client = scripted(&script, &[]);
        client.guard.judge(&url).expect("admitted");
        if !resolved.is_empty() {
            let expected = Some(vec![resolved.to_owned()]);
            assert_eq!(admitted(&client, host).await, expected, "{address}");
        }
    }
}

/// The addresses that a client would connect to for a name.
async fn admitted(client: &GuardedClient, name: &str) -> Option<Vec<String>> {
    use reqwest::dns::Resolve;
    let resolver = GuardedResolver {
        guard: client.guard.clone(),
        lookup: client.lookup.clone(),
    };
    match resolver.resolve(name.parse().expect("a name")).await {
        Ok(found) => Some(found.map(|address| address.ip().to_string()).collect()),
        Err(error) => {
            assert!(error.is::<NotAdmitted>(), "{error}");
            None
        }
    }
}

#[tokio::test]
async fn of_a_name_with_both_only_public_addresses_are_connected_to() {
    let answer: &[&str] = &["10.0.0.1", "1.1.1.1", "::1", "2606:4700::1111"];
    let script = Script::of(&[("both.example", &[answer])]);
    let public = ["1.1.1.1", "2606:4700::1111"].map(str::to_owned);
    let found = admitted(&scripted(&script, &[]), "both.example").await;
    assert_eq!(found, Some(public.to_vec()));
}

/// 127.0.0.1 stands for the public internet here: the operator's list lets it in.
#[tokio::test]
async fn a_name_that_is_rebound_is_judged_again_for_each_connection() {
    let again = "HTTP/1.1 302 Found\r\nlocation: /inside\r\nconnection: close\r\n\r\n";
    let server = server(again).await;
    let port = Url::parse(&server)
        .expect("an address")
        .port()
        .expect("one");
    let script = Script::of(&[("rebind.example", &[&["127.0.0.1"], &["127.0.0.2"]])]);
    let client = scripted(&script, &["127.0.0.1"]);
    let url = format!("http://rebind.example:{port}/");
    assert_eq!(refused(&client, &url).await, "rebind.example");
    // Once for each connection and never beside one: no answer is judged that is not used.
    assert_eq!(script.asked(), ["rebind.example"; 2]);
}

#[tokio::test]
async fn the_operator_s_list_opens_what_it_names_and_no_more() {
    let inside: &[&[&str]] = &[&["10.9.9.9"]];
    let script = Script::of(&[
        ("pictures.internal", inside),
        ("a.corp.example", inside),
        ("corp.example", inside),
        ("evilcorp.example", inside),
    ]);
    let list = [
        "10.1.0.0/16",
        "fd00::/8",
        "Pictures.Internal.",
        "*.corp.example",
        "::ffff:10.2.0.0/112",
    ];
    let client = scripted(&script, &list);
    let judge = |url: &str| {
        client
            .guard
            .judge(&Url::parse(url).expect("an address"))
            .is_ok()
    };
    for open in [
        "http://10.1.2.3/",
        "http://[::ffff:10.1.2.3]/",
        "http://[fd00::1]/",
        "http://10.2.0.9/",
    ] {
        assert!(judge(open), "{open}");
    }
    for shut in [
        "http://10.3.0.1/",
        "http://127.0.0.1/",
        "http://other.internal/",
        "http://localhost/",
        "ftp://10.1.2.3/",
    ] {
        assert!(!judge(shut), "{shut}");
    }
    let found = Some(vec!["10.9.9.9".to_owned()]);
    for (name, expected) in [
        ("pictures.internal", &found),
        ("a.corp.example", &found),
        ("corp.example", &None),
        ("evilcorp.example", &None),
    ] {
        assert_eq!(&admitted(&client, name).await, expected, "{name}");
    }
}

#[test]
fn entries_that_say_nothing_are_named() {
    for entry in [
        "",
        "10.0.0.0/33",
        "a b",
        "http://a/",
        "*.",
        "*",
        "a/24",
        "*.10.0.0.1",
        "ho*st",
    ] {
        let error = AllowedTargets::parse([entry])
            .expect_err("refused")
            .to_string();
        assert!(
            error.starts_with(&format!("\"{entry}\" is neither")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn the_guard_can_be_turned_off() {
    let server = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let client = GuardedClient::new(&GuardConfig {
        danger_allow_private_addresses: true,
        ..GuardConfig::default()
    });
    let got = client.get(&server, &limits()).await.expect("an answer");
    assert_eq!(&got[..], b"ok");
}
