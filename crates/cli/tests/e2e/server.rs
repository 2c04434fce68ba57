//! A `tintype serve` process on a free port, with a data folder that outlives it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::client::{Client, Keys};

/// Between two looks at something that will happen.
pub const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Looks before a test gives up: five minutes, for busy machines.
pub const LOOKS: usize = 6000;

/// The program under test, away from the settings of whoever runs the tests.
pub fn tintype(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tintype"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TINTYPE_") {
            command.env_remove(name);
        }
    }
    command
        .current_dir(folder)
        .env("HOME", folder)
        .env_remove("XDG_DATA_HOME");
    command
}

/// A folder for a server: its data and, if the test wants one, its configuration.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    pub fn with_configuration(text: &str) -> Self {
        let place = Self::new();
        std::fs::write(place.path().join("tintype.toml"), text).expect("a file");
        place
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub fn serve_command(&self) -> Command {
        let mut command = tintype(self.path());
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(self.data());
        command
    }

    pub fn serve(&self) -> Server {
        Server::start(self.serve_command())
    }

    /// Runs `tintype project create` on the data folder.
    pub fn create_project(&self, arguments: &[&str]) -> Keys {
        let output = tintype(self.path())
            .args(["project", "create"])
            .args(arguments)
            .arg("--json")
            .arg("--data")
            .arg(self.data())
            .output()
            .expect("the program starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let keys: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let text = |name: &str| keys[name].as_str().expect("a text").to_owned();
        Keys {
            api_key: text("api_key"),
            api_secret: text("api_secret"),
        }
    }
}

impl Place {
    /// What a command on the data folder prints.
    pub fn printed(&self, arguments: &[&str]) -> String {
        let output = tintype(self.path())
            .args(arguments)
            .arg("--data")
            .arg(self.data())
            .output()
            .expect("the program starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).expect("text")
    }
}

/// A running server. Dropping it kills it.
pub struct Server {
    process: Child,
    // Kept open: a server whose output nobody reads must not care, but need not be tested for it.
    _output: BufReader<ChildStdout>,
    pub url: String,
    /// The keys that a first start shows.
    pub keys: Option<Keys>,
    /// What it printed when it was up.
    pub greeting: String,
}

impl Server {
    pub fn start(command: Command) -> Self {
        Self::try_start(command).expect("the server does not end while it starts")
    }

    /// The same for a server that may die before it is up.
    pub fn try_start(mut command: Command) -> Option<Self> {
        let mut process = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut output = BufReader::new(process.stdout.take().expect("its output"));
        let mut greeting = String::new();
        while !greeting.contains("Control-C") {
            let read = output.read_line(&mut greeting).expect("text");
            if read == 0 {
                process.wait().expect("it ends");
                return None;
            }
        }
        let told = |label: &str| {
            let line = greeting
                .lines()
                .find_map(|line| line.trim().strip_prefix(label));
            line.map(|rest| rest.trim().to_owned())
        };
        let keys = told("API key").zip(told("API secret"));
        Some(Self {
            process,
            _output: output,
            url: told("address").expect("an address"),
            keys: keys.map(|(api_key, api_secret)| Keys {
                api_key,
                api_secret,
            }),
            greeting,
        })
    }

    /// A client of the project that the first start made.
    pub fn client(&self) -> Client {
        Client::new(&self.url, self.keys.clone().expect("a first start"))
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// A folder as this server sees it, whatever disks it has to itself.
    pub fn folder(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.process.id()));
        root.join(path.strip_prefix("/").expect("an absolute path"))
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(name)
            .arg(self.process.id().to_string())
            .status();
        assert!(sent.expect("kill is there").success());
    }

    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().expect("a status").is_some()
    }

    /// As a power cut would.
    pub fn kill(mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }

    pub async fn ended(&mut self) -> ExitStatus {
        for _ in 0..LOOKS {
            if let Some(status) = self.process.try_wait().expect("a status") {
                return status;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        panic!("the server did not end");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
