//! Keys with which a client may repeat a request without running it twice.

/// Characters of a key at most.
pub const MAX_KEY_CHARS: usize = 255;

/// A client's key: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// A key that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("[Idempotency-Key] must have 1 to {MAX_KEY_CHARS} visible ASCII characters")]
pub struct KeyError;

impl IdempotencyKey {
    /// Reads a key as it arrived.
    ///
    /// # Errors
    /// [`KeyError`] for one that is empty, too long, or has other characters.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        let fits = (1..=MAX_KEY_CHARS).contains(&bytes.len());
        if !fits || !bytes.iter().all(u8::is_ascii_graphic) {
            return Err(KeyError);
        }
        Ok(Self(String::from_utf8_lossy(bytes).into_owned()))
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A digest of everything that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// What makes a request one that may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's key, its project's own.
    pub key: IdempotencyKey,
    /// What the request asks for.
    pub fingerprint: Fingerprint,
    /// Keys that were used before this time are forgotten.
    pub keep_after: crate::UnixMillis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_visible_and_bounded() {
        let longest = [b'x'; MAX_KEY_CHARS];
        for key in [
            &b"a"[..],
            b"!~",
            b"8e03978e-40d5-43e8-bc93-6894a57f9324",
            &longest,
        ] {
            let parsed = IdempotencyKey::parse(key).expect("a good key");
            assert_eq!(parsed.as_str().as_bytes(), key);
        }
        let too_long = [b'x'; MAX_KEY_CHARS + 1];
        for key in [
            &b""[..],
            b" ",
            b"a b",
            b"a\n",
            b"\x7f",
            "\u{e9}".as_bytes(),
            &too_long,
        ] {
            assert_eq!(IdempotencyKey::parse(key), Err(KeyError), "{key:?}");
        }
    }
}
