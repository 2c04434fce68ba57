//! Secrets at rest: sealed with ChaCha20-Poly1305 under a key that lies in a file of its own.
//!
//! Checking a signature needs the secret itself, so it cannot be hashed away. Sealing protects a
//! copy of the database that travels without the key file; it does not protect against someone
//! who can read both.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use rand::CryptoRng;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use tintype_store::Store;

/// The name of the key file in the data folder.
pub const KEY_FILE_NAME: &str = "secret.key";

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

/// Stands in front of everything sealed, so that another scheme can follow.
const SCHEME: u8 = 1;

/// Mixed into every seal together with the project's key: a secret cannot be moved to another row.
const PURPOSE: &[u8] = b"tintype project secret\0";

/// Everyone but the file's owner.
const OTHERS: u32 = 0o077;

/// Why secrets cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// There are projects, but not the key that their secrets were sealed with.
    #[error(
        "{path} is missing, but there are projects whose secrets were sealed with it. Put the file \
         back from a backup; without it their secrets cannot be opened, and the projects must be \
         made anew in an empty data folder", path = .0.display()
    )]
    Missing(PathBuf),
    /// The key file belongs to other secrets.
    #[error(
        "{path} is not the key that the secrets of the existing projects were sealed with. Put the \
         right file back from a backup", path = .0.display()
    )]
    WrongKey(PathBuf),
    /// The key file does not hold a key.
    #[error("{path} does not hold 64 hexadecimal digits", path = .0.display())]
    Malformed(PathBuf),
    /// The key file cannot be read or made.
    #[error("cannot use the key file {path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The projects cannot be listed.
    #[error(transparent)]
    Store(#[from] tintype_store::Error),
    /// The bytes were not sealed with this key for this project, or were changed since.
    #[error("the sealed secret cannot be opened with this key file")]
    Unopenable,
}

/// Seals and opens the secrets of projects.
pub struct SealingKey(SecretBox<[u8; KEY_BYTES]>);

impl SealingKey {
    /// The key of a data folder: read if it is there, made if there is nothing yet that was
    /// sealed.
    ///
    /// # Errors
    /// [`SealingError::Missing`] and [`SealingError::WrongKey`] when projects exist that this
    /// folder's key file cannot open: a key is never silently replaced.
    pub async fn of_data_folder(
        folder: &Path,
        store: &dyn Store,
        rng: &mut (impl CryptoRng + Send),
    ) -> Result<Self, SealingError> {
        let path = folder.join(KEY_FILE_NAME);
        let projects = store.projects().await?;
        let key = match Self::read(&path)? {
            Some(key) => key,
            None if projects.is_empty() => Self::make(&path, rng)?,
            None => return Err(SealingError::Missing(path)),
        };
        for project in &projects {
            if key.open(&project.api_key, &project.sealed_secret).is_err() {
                return Err(SealingError::WrongKey(path));
            }
        }
        Ok(key)
    }

    /// A key that is written nowhere.
    pub fn ephemeral(rng: &mut impl CryptoRng) -> Self {
        let mut key = Box::new([0; KEY_BYTES]);
        rng.fill_bytes(key.as_mut_slice());
        Self(SecretBox::new(key))
    }

    fn read(path: &Path) -> Result<Option<Self>, SealingError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => SecretString::from(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(SealingError::File {
                    path: path.into(),
                    source,
                });
            }
        };
        warn_if_readable_by_others(path);
        let mut key = Box::new([0; KEY_BYTES]);
        hex::decode_to_slice(text.expose_secret().trim(), key.as_mut_slice())
            .map_err(|_| SealingError::Malformed(path.into()))?;
        Ok(Some(Self(SecretBox::new(key))))
    }

    /// Makes the key file. It appears whole or not at all, and never replaces one: if another
    /// process was faster, that one's key counts.
    fn make(path: &Path, rng: &mut impl CryptoRng) -> Result<Self, SealingError> {
        let failed = |source| SealingError::File {
            path: path.into(),
            source,
        };
        let key = Self::ephemeral(rng);
        let text = SecretString::from(format!("{}\n", hex::encode(key.0.expose_secret())));
        let draft = path.with_extension(format!("key.{:016x}", rng.next_u64()));
        let written = write_private(&draft, text.expose_secret().as_bytes());
        let linked = written.and_then(|()| fs::hard_link(&draft, path));
        let removed = fs::remove_file(&draft);
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Self::read(path)?.ok_or_else(|| failed(error));
            }
            other => other.map_err(failed)?,
        }
        removed.map_err(failed)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)?;
        Ok(key)
    }

    /// Seals a secret for the project with this API key.
    pub fn seal(&self, api_key: &str, secret: &str, rng: &mut impl CryptoRng) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let aad = associated(api_key);
        let payload = Payload {
            msg: secret.as_bytes(),
            aad: &aad,
        };
        let sealed = self
            .cipher()
            .encrypt(&Nonce::from(nonce), payload)
            .expect("sealing fails only beyond 256 GB; this is a bug");
        [&[SCHEME], nonce.as_slice(), &sealed].concat()
    }

    /// Opens what [`SealingKey::seal`] made for the same API key.
    ///
    /// # Errors
    /// [`SealingError::Unopenable`].
    pub fn open(&self, api_key: &str, sealed: &[u8]) -> Result<SecretString, SealingError> {
        let body = sealed
            .strip_prefix(&[SCHEME])
            .ok_or(SealingError::Unopenable)?;
        let (nonce, body) = body
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(SealingError::Unopenable)?;
        let aad = associated(api_key);
        let payload = Payload {
            msg: body,
            aad: &aad,
        };
        let secret = self
            .cipher()
            .decrypt(&Nonce::from(*nonce), payload)
            .map_err(|_| SealingError::Unopenable)?;
        String::from_utf8(secret)
            .map(SecretString::from)
            .map_err(|_| SealingError::Unopenable)
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(self.0.expose_secret().into())
    }
}

fn associated(api_key: &str) -> Vec<u8> {
    [PURPOSE, api_key.as_bytes()].concat()
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Volumes of container platforms force modes of their own, so this is no reason to refuse.
fn warn_if_readable_by_others(path: &Path) {
    let mode = fs::metadata(path)
        .map(|metadata| metadata.permissions().mode())
        .unwrap_or(0);
    if mode & OTHERS != 0 {
        tracing::warn!(
            file.path = %path.display(),
            "the key file is open to other users of this machine: chmod 600 it"
        );
    }
}
