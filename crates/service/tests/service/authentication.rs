//! Who is let in.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tintype_domain::AuthKind;
use tintype_service::{AuthError, Credentials, NewProjectRequest, Principal, ProjectKeys, Service};

use crate::bench::{Bench, credentials};

fn signed(keys: &ProjectKeys, nonce: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(keys.api_key.as_bytes()).expect("any length");
    mac.update(keys.api_secret.as_bytes());
    mac.update(nonce.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

struct Door {
    service: Arc<Service>,
    keys: ProjectKeys,
}

impl Door {
    async fn new(change: impl FnOnce(&mut NewProjectRequest)) -> Self {
        let bench = Bench::new().await;
        let mut request = NewProjectRequest {
            name: "door".into(),
            auth: AuthKind::Signature,
            allowed_networks: Vec::new(),
            strict_nonce: false,
        };
        change(&mut request);
        let keys = bench
            .service
            .create_project(request)
            .await
            .expect("a project");
        Self {
            service: bench.service,
            keys,
        }
    }

    async fn knock(&self, credentials: Credentials) -> Result<Principal, String> {
        self.service
            .authenticate(&credentials)
            .await
            .map_err(|error| error.to_string())
    }

    async fn knock_with(&self, nonce: Option<&str>, signature: Option<&str>) -> Result<(), String> {
        self.knock(credentials(Some(&self.keys.api_key), nonce, signature))
            .await
            .map(drop)
    }
}

const UNKNOWN: &str = "Project authorization is not founded.";
const UNSIGNED: &str =
    "Project requires signature authentication. x-signature and x-nonce headers are required.";
const INVALID: &str = "Project authorization is not valid.";

#[tokio::test]
async fn a_signature_is_accepted_as_shells_print_it_and_again_for_every_poll() {
    let door = Door::new(|_| {}).await;
    let hex = signed(&door.keys, "1734513807");
    for header in [
        hex.clone(),
        hex.to_uppercase(),
        format!("SHA2-256(stdin)= {hex}"),
        format!("(stdin)= {hex}"),
        format!("{hex} *stdin"),
    ] {
        assert_eq!(
            door.knock_with(Some("1734513807"), Some(&header)).await,
            Ok(()),
            "{header}"
        );
    }
}

#[tokio::test]
async fn a_wrong_signature_is_not_valid() {
    let door = Door::new(|_| {}).await;
    let hex = signed(&door.keys, "1");
    let wrong = hex.replace(|c: char| c.is_ascii_digit(), "a");
    for (nonce, signature) in [
        ("2", hex.as_str()),
        ("1", &wrong),
        ("1", &hex[1..]),
        ("1", "nonsense"),
        (" 1", &hex),
    ] {
        let answer = door.knock_with(Some(nonce), Some(signature)).await;
        assert_eq!(answer, Err(INVALID.to_owned()), "{nonce} {signature}");
    }
}

#[tokio::test]
async fn what_is_missing_is_told() {
    let door = Door::new(|_| {}).await;
    let hex = signed(&door.keys, "1");
    for (nonce, signature) in [
        (None, None),
        (Some("1"), None),
        (None, Some(hex.as_str())),
        (Some("1"), Some("")),
    ] {
        assert_eq!(
            door.knock_with(nonce, signature).await,
            Err(UNSIGNED.to_owned())
        );
    }
    for api_key in [None, Some(""), Some("nobody's")] {
        let answer = door
            .knock(credentials(api_key, Some("1"), Some(&hex)))
            .await;
        assert_eq!(answer, Err(UNKNOWN.to_owned()), "{api_key:?}");
    }
}

#[tokio::test]
async fn a_key_only_project_ignores_stray_signature_headers() {
    let door = Door::new(|request| request.auth = AuthKind::Key).await;
    assert_eq!(door.knock_with(None, None).await, Ok(()));
    assert_eq!(door.knock_with(Some("1"), Some("nonsense")).await, Ok(()));
}

#[tokio::test]
async fn only_allowed_networks_are_let_in() {
    let door = Door::new(|request| {
        request.auth = AuthKind::Key;
        request.allowed_networks = vec!["10.0.0.0/8".into(), "2001:db8::/32".into()];
    })
    .await;
    let from = |remote: &str| {
        let mut credentials = credentials(Some(&door.keys.api_key), None, None);
        credentials.remote = remote.parse().expect("an address");
        door.knock(credentials)
    };
    assert!(from("10.1.2.3").await.is_ok());
    assert!(from("::ffff:10.1.2.3").await.is_ok());
    assert!(from("2001:db8::5").await.is_ok());
    let refused = |ip: &str| Err(format!("Requested ip {ip} is not allowed."));
    assert_eq!(from("203.0.113.9").await, refused("203.0.113.9"));
    assert_eq!(from("::ffff:203.0.113.9").await, refused("203.0.113.9"));
}

#[tokio::test]
async fn a_strict_project_takes_a_nonce_once() {
    let door = Door::new(|request| request.strict_nonce = true).await;
    let (first, second) = (signed(&door.keys, "1"), signed(&door.keys, "2"));
    let wrong = signed(&door.keys, "3");
    assert_eq!(
        door.knock_with(Some("1"), Some(&wrong)).await,
        Err(INVALID.to_owned())
    );
    assert_eq!(
        door.knock_with(Some("1"), Some(&first)).await,
        Ok(()),
        "a refusal spends nothing"
    );
    assert_eq!(
        door.knock_with(Some("1"), Some(&first)).await,
        Err(INVALID.to_owned())
    );
    assert_eq!(door.knock_with(Some("2"), Some(&second)).await, Ok(()));
}

#[tokio::test]
async fn a_store_that_cannot_be_asked_is_nobodys_fault() {
    let bench = Bench::new().await;
    bench.faults.fail("project_by_key", 1);
    let credentials = credentials(Some(&bench.keys.api_key), None, None);
    let error = bench
        .service
        .authenticate(&credentials)
        .await
        .expect_err("an error");
    assert!(matches!(
        error,
        AuthError::Store(tintype_store::Error::Unavailable { .. })
    ));
}
