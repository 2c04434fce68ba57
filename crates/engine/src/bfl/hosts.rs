//! Which hosts a provider may send us to.

use std::fmt;

use url::{Host, Url};

/// Hosts by name, or by the end of their name: `delivery.bfl.ai`, `*.bfl.ai`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostPatterns(Vec<String>);

/// A text that is no pattern of hosts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is neither a host such as delivery.bfl.ai nor the end of one such as *.bfl.ai")]
pub struct NotAPattern(String);

impl HostPatterns {
    /// Reads patterns.
    ///
    /// # Errors
    /// The first text that is none.
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, NotAPattern> {
        let pattern = |text: T| {
            let text = text.as_ref().trim().to_ascii_lowercase();
            let name = text.strip_prefix("*.").unwrap_or(&text);
            let good = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
            // The end of all names is the end of none.
            let is_name = name.contains('.') && !name.starts_with('.') && name.chars().all(good);
            if is_name {
                Ok(text)
            } else {
                Err(NotAPattern(text))
            }
        };
        texts
            .into_iter()
            .map(pattern)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn admit(&self, name: &str) -> bool {
        let matches = |pattern: &String| match pattern.strip_prefix('*') {
            Some(end) => name.len() > end.len() && name.ends_with(end),
            None => name == pattern,
        };
        self.0.iter().any(matches)
    }
}

/// Why an address is not called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTheProvider(String);

impl fmt::Display for NotTheProvider {
    /// Names the host alone: the rest may hold a signature.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, which is not known to be the provider's", self.0)
    }
}

/// An address that may be called: at the place of `base`, or at one of the hosts, with the usual
/// port and no less protected than `base`.
pub fn judge(address: &str, base: &Url, hosts: &HostPatterns) -> Result<Url, NotTheProvider> {
    let Ok(url) = Url::parse(address) else {
        return Err(NotTheProvider("no address".to_owned()));
    };
    let at_base = url.scheme() == base.scheme()
        && url.host() == base.host()
        && url.port_or_known_default() == base.port_or_known_default();
    let named = match url.host() {
        Some(Host::Domain(name)) => hosts.admit(&name.to_ascii_lowercase()),
        _ => false,
    };
    let protected = url.scheme() == "https" && url.port().is_none();
    let no_user = url.username().is_empty() && url.password().is_none();
    if no_user && (at_base || (named && protected)) {
        return Ok(url);
    }
    let host = url.host_str().unwrap_or("an address without a host");
    Err(NotTheProvider(host.chars().take(80).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(address: &str) -> bool {
        let base = Url::parse("https://api.bfl.ai").expect("an address");
        let hosts = HostPatterns::parse(["*.bfl.ai", "pictures.example"]).expect("patterns");
        judge(address, &base, &hosts).is_ok()
    }

    #[test]
    fn only_the_providers_hosts_are_called() {
        for good in [
            "https://api.bfl.ai/v1/get_result?id=1",
            "https://api.eu1.bfl.ai/v1/get_result?id=1",
            "https://API.US.BFL.AI/",
            "https://pictures.example/a.png?sig=1",
        ] {
            assert!(judged(good), "{good}");
        }
        for bad in [
            "http://api.bfl.ai/",
            "https://api.bfl.ai:8443/",
            "https://bfl.ai.evil.example/",
            "https://evilbfl.ai/",
            "https://bfl.ai/",
            "https://user@api.bfl.ai/",
            "https://api.bfl.ai@evil.example/",
            "https://169.254.169.254/latest",
            "https://[::1]/",
            "https://a.pictures.example/",
            "file:///etc/passwd",
            "/v1/get_result",
            "",
        ] {
            assert!(!judged(bad), "{bad}");
        }
    }

    #[test]
    fn a_base_on_this_machine_admits_itself_alone() {
        let base = Url::parse("http://127.0.0.1:4000").expect("an address");
        let none = HostPatterns::default();
        assert!(judge("http://127.0.0.1:4000/poll", &base, &none).is_ok());
        for bad in [
            "http://127.0.0.1:4001/",
            "http://localhost:4000/",
            "https://127.0.0.1:4000/",
        ] {
            assert!(judge(bad, &base, &none).is_err(), "{bad}");
        }
    }

    #[test]
    fn patterns_that_mean_too_much_are_refused() {
        for bad in [
            "*",
            "*.",
            "*.ai",
            "a b.example",
            "",
            "*.*.example",
            ".example.org",
        ] {
            assert!(HostPatterns::parse([bad]).is_err(), "{bad}");
        }
    }
}
