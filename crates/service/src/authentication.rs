//! Who is asking: API keys, signatures, allowed networks and single-use nonces.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tintype_domain::{AuthKind, Project};

use crate::{AuthError, Credentials, Principal, Service, networks};

/// Hexadecimal digits of an HMAC-SHA256.
const SIGNATURE_DIGITS: usize = 64;

/// Characters of a nonce at most: clients send times and small random numbers.
const MAX_NONCE_CHARS: usize = 256;

/// How long a project with `strict_nonce` remembers a nonce: 30 days. A signature that leaked can
/// be used again after that, so such a project should change its keys more often.
pub(crate) const NONCE_MEMORY_MILLIS: i64 = 30 * 24 * 3600 * 1000;

impl Service {
    /// Checks what a client sent to prove itself.
    ///
    /// # Errors
    /// [`AuthError`], each with the sentence that clients see.
    pub async fn authenticate(&self, credentials: &Credentials) -> Result<Principal, AuthError> {
        let api_key = credentials
            .api_key
            .as_deref()
            .map(str::trim)
            .unwrap_or_default();
        if api_key.is_empty() {
            return Err(AuthError::UnknownKey);
        }
        let project = self
            .store
            .project_by_key(api_key)
            .await?
            .ok_or(AuthError::UnknownKey)?;
        let nonce = match project.auth {
            AuthKind::Key => None,
            AuthKind::Signature => Some(self.check_signature(&project, credentials)?),
        };
        if !networks::allows(&project.allowed_networks, credentials.remote) {
            return Err(AuthError::ForbiddenAddress(networks::canonical(
                credentials.remote,
            )));
        }
        if let (Some(nonce), true) = (nonce, project.strict_nonce) {
            self.spend_nonce(&project, nonce).await?;
        }
        Ok(Principal {
            project: project.id,
            name: project.name,
        })
    }

    /// Returns the nonce of a request that is signed well.
    fn check_signature<'a>(
        &self,
        project: &Project,
        credentials: &'a Credentials,
    ) -> Result<&'a str, AuthError> {
        let nonce = filled(&credentials.nonce).ok_or(AuthError::SignatureRequired)?;
        let header = filled(&credentials.signature).ok_or(AuthError::SignatureRequired)?;
        let signature = find_signature(header).ok_or(AuthError::Invalid)?;
        let secret = self.open_secret(project)?;
        // Clients hash the nonce as they wrote it, so the header is taken as it came.
        let mut mac = Hmac::<Sha256>::new_from_slice(project.api_key.as_bytes())
            .expect("an HMAC key may have any length; this is a bug");
        mac.update(secret.expose_secret().as_bytes());
        mac.update(nonce.as_bytes());
        // `verify_slice` compares in constant time.
        mac.verify_slice(&signature)
            .map_err(|_| AuthError::Invalid)?;
        Ok(nonce)
    }

    fn open_secret(&self, project: &Project) -> Result<SecretString, AuthError> {
        let opened = self
            .sealing_key
            .open(&project.api_key, &project.sealed_secret);
        opened.map_err(|error| {
            let reason = format!("project {}: {error}", project.id);
            AuthError::Store(tintype_store::Error::Corrupt { reason })
        })
    }

    async fn spend_nonce(&self, project: &Project, nonce: &str) -> Result<(), AuthError> {
        if nonce.chars().count() > MAX_NONCE_CHARS {
            return Err(AuthError::Invalid);
        }
        let now = self.now();
        let keep_after = now.plus_millis(-NONCE_MEMORY_MILLIS);
        let fresh = self
            .store
            .use_nonce(project.id, nonce, now, keep_after)
            .await?;
        if fresh {
            Ok(())
        } else {
            Err(AuthError::Invalid)
        }
    }
}

fn filled(header: &Option<String>) -> Option<&str> {
    header.as_deref().filter(|text| !text.trim().is_empty())
}

/// The signature in a header as shells hand it over: `SHA2-256(stdin)= <hex>`, `(stdin)= <hex>`,
/// `<hex> *stdin`, or bare. It is the one run of exactly 64 hexadecimal digits, in either case.
pub(crate) fn find_signature(header: &str) -> Option<[u8; SIGNATURE_DIGITS / 2]> {
    let mut runs = header
        .split(|c: char| !c.is_ascii_hexdigit())
        .filter(|run| run.len() == SIGNATURE_DIGITS);
    let (run, none) = (runs.next()?, runs.next());
    if none.is_some() {
        return None;
    }
    let mut signature = [0; SIGNATURE_DIGITS / 2];
    hex::decode_to_slice(run, &mut signature).ok()?;
    Some(signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_found_in_whatever_a_shell_prints_around_it() {
        let digits = "0123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789";
        let expected: [u8; 32] = hex::decode(digits)
            .expect("hex")
            .try_into()
            .expect("32 bytes");
        for header in [
            digits.to_owned(),
            digits.to_uppercase(),
            format!("SHA2-256(stdin)= {digits}"),
            format!("(stdin)= {digits}"),
            format!("{digits} *stdin"),
            format!("  {digits}\t"),
        ] {
            assert_eq!(find_signature(&header), Some(expected), "{header}");
        }
        for header in [
            String::new(),
            "SHA2-256(stdin)= ".to_owned(),
            digits[1..].to_owned(),
            format!("0{digits}"),
            format!("{digits} {digits}"),
        ] {
            assert_eq!(find_signature(&header), None, "{header}");
        }
    }
}
