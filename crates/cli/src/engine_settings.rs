//! Which engines draw, and how the provider among them is reached.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use rand::SeedableRng;
use rand::rngs::StdRng;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tintype_engine::bfl::{self, BflEngine, BflOptions, HostPatterns, Pace};
use url::{Host, Url};

/// Engines by the names that they have in settings and records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineName {
    /// This program's own, with the model that is set beside it.
    Flux,
    /// Black Forest Labs.
    Bfl,
}

/// Engines in the order in which they are asked. One may be written without brackets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OneOrMore")]
pub struct EngineOrder(pub Vec<EngineName>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(EngineName),
    More(Vec<EngineName>),
}

impl From<OneOrMore> for EngineOrder {
    fn from(names: OneOrMore) -> Self {
        match names {
            OneOrMore::One(name) => Self(vec![name]),
            OneOrMore::More(names) => Self(names),
        }
    }
}

impl Default for EngineOrder {
    fn default() -> Self {
        Self(vec![EngineName::Flux])
    }
}

impl EngineOrder {
    /// Whether it can be followed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.0.is_empty() {
            bail!("engine names no engine: give \"flux\", \"bfl\" or both in an order");
        }
        let twice = |name| self.0.iter().filter(|other| *other == name).count() > 1;
        if self.0.iter().any(twice) {
            bail!("engine names an engine twice");
        }
        Ok(())
    }
}

/// How Black Forest Labs are reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BflSettings {
    /// Where the API is, without `/v1`.
    pub base_url: String,
    /// The environment variable that holds the key.
    pub key_env: String,
    /// Hosts that may be polled besides that of `base_url`.
    pub polling_hosts: Vec<String>,
    /// Hosts that pictures may be fetched from besides that of `base_url`.
    pub result_hosts: Vec<String>,
    /// Jobs at a time.
    pub active: usize,
    /// Jobs of flux-kontext-max at a time.
    pub active_kontext_max: usize,
    /// Seconds to connect.
    pub connect_seconds: u64,
    /// Seconds for one call.
    pub call_seconds: u64,
    /// Seconds for one picture.
    pub picture_seconds: u64,
}

impl Default for BflSettings {
    fn default() -> Self {
        let (limits, pace) = (bfl::Limits::default(), Pace::default());
        let hosts = vec!["*.bfl.ai".to_owned()];
        Self {
            base_url: "https://api.bfl.ai".to_owned(),
            key_env: "BFL_API_KEY".to_owned(),
            polling_hosts: hosts.clone(),
            result_hosts: hosts,
            active: limits.active,
            active_kontext_max: limits.active_kontext_max,
            connect_seconds: pace.connect.as_secs(),
            call_seconds: pace.call.as_secs(),
            picture_seconds: pace.whole_job.as_secs(),
        }
    }
}

impl BflSettings {
    /// Whether it can be used, whatever the key.
    ///
    /// # Errors
    /// The setting that does not fit.
    pub fn check(&self) -> anyhow::Result<()> {
        self.options(SecretString::default()).context("[bfl]")?;
        if self.key_env.is_empty() || self.key_env.starts_with("TINTYPE_") {
            bail!("[bfl]: key_env is the name of a variable that does not begin with TINTYPE_");
        }
        let numbers = [
            ("active", self.active as u64),
            ("active_kontext_max", self.active_kontext_max as u64),
            ("connect_seconds", self.connect_seconds),
            ("call_seconds", self.call_seconds),
            ("picture_seconds", self.picture_seconds),
        ];
        for (name, number) in numbers {
            if number == 0 {
                bail!("[bfl]: {name} must be at least 1");
            }
        }
        Ok(())
    }

    /// The key, if its variable is set.
    pub fn key(&self) -> Option<SecretString> {
        let key = std::env::var(&self.key_env).ok()?;
        let key = key.trim();
        (!key.is_empty()).then(|| SecretString::from(key))
    }

    /// Makes the engine ready.
    ///
    /// # Errors
    /// What is missing.
    pub fn engine(&self) -> anyhow::Result<BflEngine> {
        let key = self.key().with_context(|| {
            format!(
                "the engine bfl has no key: put that of your account into the environment variable {}",
                self.key_env
            )
        })?;
        let engine = BflEngine::start(self.options(key)?, StdRng::from_os_rng());
        engine.context("the engine bfl cannot be used")
    }

    /// The host of the API.
    pub fn host(&self) -> String {
        let url = Url::parse(&self.base_url).ok();
        let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
        host.to_owned()
    }

    fn options(&self, key: SecretString) -> anyhow::Result<BflOptions> {
        Ok(BflOptions {
            base_url: base_url(&self.base_url)?,
            key,
            polling_hosts: HostPatterns::parse(&self.polling_hosts).context("polling_hosts")?,
            result_hosts: HostPatterns::parse(&self.result_hosts).context("result_hosts")?,
            limits: bfl::Limits {
                active: self.active,
                active_kontext_max: self.active_kontext_max,
            },
            pace: Pace {
                connect: Duration::from_secs(self.connect_seconds),
                call: Duration::from_secs(self.call_seconds),
                whole_job: Duration::from_secs(self.picture_seconds),
                ..Pace::default()
            },
        })
    }
}

/// The key travels to this address: in the clear only within this machine.
fn base_url(text: &str) -> anyhow::Result<Url> {
    let url = Url::parse(text).ok();
    let usable = url.filter(|url| {
        let no_user = url.username().is_empty() && url.password().is_none();
        let bare = url.query().is_none() && url.fragment().is_none();
        no_user
            && bare
            && match url.scheme() {
                "https" => url.has_host(),
                "http" => is_this_machine(url),
                _ => false,
            }
    });
    usable.with_context(|| {
        format!("base_url must be an https address like https://api.bfl.ai, not \"{text}\"")
    })
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_base(base_url: &str) -> BflSettings {
        BflSettings {
            base_url: base_url.to_owned(),
            ..BflSettings::default()
        }
    }

    #[test]
    fn the_key_travels_in_the_clear_only_within_this_machine() {
        BflSettings::default().check().expect("the built-in values");
        for good in [
            "https://api.eu.bfl.ai/",
            "http://127.0.0.1:4000",
            "http://localhost:4000",
        ] {
            with_base(good).check().expect(good);
        }
        for bad in [
            "http://api.bfl.ai",
            "api.bfl.ai",
            "ftp://api.bfl.ai",
            "https://a.example/?x=1",
            "https://user@a.example",
            "https://:hush@a.example",
            "",
        ] {
            let refused = format!("{:#}", with_base(bad).check().expect_err(bad));
            assert!(refused.starts_with("[bfl]: base_url"), "{refused}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let hosts = BflSettings {
            polling_hosts: vec!["*".to_owned()],
            ..BflSettings::default()
        };
        let refused = format!("{:#}", hosts.check().expect_err("too wide"));
        assert!(
            refused.starts_with("[bfl]: polling_hosts: \"*\""),
            "{refused}"
        );
        let variable = BflSettings {
            key_env: "TINTYPE_KEY".to_owned(),
            ..BflSettings::default()
        };
        assert!(variable.check().is_err());
        let none = BflSettings {
            active: 0,
            ..BflSettings::default()
        };
        assert!(
            none.check()
                .expect_err("none")
                .to_string()
                .contains("active")
        );
    }
}
