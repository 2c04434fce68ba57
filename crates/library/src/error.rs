//! What can go wrong, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::FileDigest;
use crate::names::{ModelName, Repository};

/// Why something could not be done with the library.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such model.
    #[error("there is no model {name}{}", proposals(near))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What may have been meant.
        near: Vec<String>,
    },
    /// A model that is known and not installed.
    #[error("the model {name} is not installed: fetch it with `tintype model pull {name}`")]
    NotInstalled {
        /// Which one.
        name: ModelName,
    },
    /// A name that no model can have.
    #[error("{0}")]
    Name(#[from] crate::names::Unfit),
    /// An operator's manifest that cannot be used.
    #[error("the manifest {} cannot be used: {reason}", path.display())]
    Manifest {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The record of an installed model cannot be read.
    #[error(
        "{} is damaged ({reason}): remove the model's folder and pull it again",
        path.display()
    )]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A folder that the library did not make, and leaves alone.
    #[error(
        "{} was not fetched by `tintype model pull`: move it away, or delete it yourself",
        path.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// Somebody else works on the model.
    #[error("another tintype works on the model {name}: wait until it has ended")]
    Locked {
        /// Which one.
        name: ModelName,
    },
    /// A file or folder cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The disk has no room.
    #[error(
        "{} lacks room: {} are still to be fetched, {} are free; free some, or name a folder on \
         another disk with --data",
        folder.display(), amount(*needed), amount(*free)
    )]
    NoSpace {
        /// Where.
        folder: PathBuf,
        /// Bytes that are still to be written.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// Nothing may be fetched.
    #[error(
        "offline mode is on (models.offline or HF_HUB_OFFLINE), and the model {name} is not \
         installed completely"
    )]
    Offline {
        /// Which model.
        name: ModelName,
    },
    /// The hub's address cannot be used.
    #[error("the hub's address cannot be used: {0}")]
    HubAddress(String),
    /// The token cannot be sent.
    #[error("the token in HF_TOKEN has characters that no token has: copy it again")]
    Token,
    /// The HTTP client cannot be made.
    #[error("cannot prepare for the network: {0}")]
    Client(String),
    /// The hub wants to know who asks.
    #[error("{}", denied(*status, repository, page, *token))]
    Denied {
        /// 401 or 403.
        status: u16,
        /// What was asked for.
        repository: Repository,
        /// The page where its terms are taken.
        page: String,
        /// Whether a token was sent.
        token: bool,
    },
    /// The hub has no such thing.
    #[error("{host} has no {what}")]
    NotFound {
        /// The hub.
        host: String,
        /// What was asked for.
        what: String,
    },
    /// An answer that nobody expects.
    #[error("{host} answered with status {status} for {what}")]
    Status {
        /// Who answered.
        host: String,
        /// How.
        status: u16,
        /// What was asked for.
        what: String,
    },
    /// It was tried several times.
    #[error(
        "{what} could not be fetched, tried {attempts} times: {reason}; what has arrived is kept, \
         and the same command goes on from there"
    )]
    GaveUp {
        /// What was asked for.
        what: String,
        /// How often, in a row.
        attempts: u32,
        /// What happened the last time.
        reason: String,
    },
    /// Two lengths that differ.
    #[error("{file}: the hub says {promised} bytes, {host} sends {sent}; nothing of it is kept")]
    Length {
        /// The file.
        file: String,
        /// What the hub says.
        promised: u64,
        /// Who sends it.
        host: String,
        /// What it sends.
        sent: u64,
    },
    /// Bytes that are not those of the file.
    #[error(
        "{file} arrived with wrong bytes (SHA-256 {got}, not {expected}) and was thrown away; try \
         again, or another hub"
    )]
    WrongBytes {
        /// The file.
        file: String,
        /// What it should hold.
        expected: FileDigest,
        /// What it held.
        got: FileDigest,
    },
    /// The hub has another file than the manifest.
    #[error("{file} on {host} is another file than this program knows: {reason}")]
    Changed {
        /// The file.
        file: String,
        /// The hub.
        host: String,
        /// What differs.
        reason: String,
    },
    /// An address that leads to another one, again and again.
    #[error("{host} leads from one address to the next for {what}, {hops} times and more")]
    Redirects {
        /// The hub.
        host: String,
        /// What was asked for.
        what: String,
        /// How often it was followed.
        hops: usize,
    },
    /// An address that leads where nothing is fetched from.
    #[error("{host} leads to an address that is not followed for {what}: {reason}")]
    Redirect {
        /// The hub.
        host: String,
        /// What was asked for.
        what: String,
        /// Why not.
        reason: &'static str,
    },
    /// A list of files that cannot be used.
    #[error("the list of files of {repository} cannot be used: {reason}")]
    Listing {
        /// Whose.
        repository: Repository,
        /// What is wrong with it.
        reason: String,
    },
    /// A part of the program has broken down.
    #[error("a download broke down: {0}")]
    Broken(String),
}

impl Error {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// An amount of bytes for people.
pub(crate) fn amount(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

fn proposals(near: &[String]) -> String {
    let all = "`tintype model list` shows those that `tintype model pull` can fetch";
    match near {
        [] => format!("; {all}"),
        near => format!("; did you mean {}? {all}", near.join(", ")),
    }
}

fn denied(status: u16, repository: &Repository, page: &str, token: bool) -> String {
    if token {
        return format!(
            "the hub refuses {repository} (status {status}) to the owner of the token in HF_TOKEN: \
             accept its licence at {page} with the same account, and see that the token may read it"
        );
    }
    format!(
        "the hub gives {repository} only to people that it knows (status {status}): accept its \
         licence at {page}, make a token there (Settings, Access Tokens, read), and run the command \
         again with HF_TOKEN set to it"
    )
}
