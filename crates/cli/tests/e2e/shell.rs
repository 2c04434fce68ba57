//! A shell that lines are pasted into.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// One bash for a whole document, as a reader has it.
pub struct Shell {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Stands on a line of its own after the output of a command.
const MARK: &str = "-- the command has ended --";

impl Shell {
    pub fn open() -> Self {
        let mut process = Command::new("bash")
            .arg("--norc")
            .env("NO_PROXY", "*")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash is there");
        let input = process.stdin.take().expect("its input");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        Self {
            process,
            input,
            output,
        }
    }

    /// What a line prints.
    pub fn run(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}\necho; echo '{MARK}'").expect("bash listens");
        let mut printed = String::new();
        loop {
            let before = printed.len();
            assert_ne!(
                self.output.read_line(&mut printed).expect("text"),
                0,
                "bash ended"
            );
            if printed[before..].trim_end() == MARK {
                printed.truncate(before);
                return printed;
            }
        }
    }

    pub fn json(&mut self, line: &str) -> Value {
        let printed = self.run(line);
        serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{line}\nprinted {printed}"))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
