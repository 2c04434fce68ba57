//! `tintype doctor`: looks at everything that a service needs on this machine, and says what to do
//! about what is wrong. It changes nothing, and may run beside a server.

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use crate::data_folder::DataFolder;
use crate::machine::Machine;
use crate::settings::{ConfigFile, Overrides, Settings};

mod engines;
mod library;
mod machine;
mod moderation;
mod storage;
mod upsampling;

/// The command line of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    overrides: Overrides,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be.
    Ok,
    /// It works, and could be better.
    Note,
    /// It does not work like this.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    state: State,
    what: &'static str,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self {
            state: State::Ok,
            what,
            found: found.into(),
            advice: None,
        }
    }

    fn note(self, advice: impl Into<String>) -> Self {
        self.with(State::Note, advice)
    }

    fn wrong(self, advice: impl Into<String>) -> Self {
        self.with(State::Wrong, advice)
    }

    fn with(self, state: State, advice: impl Into<String>) -> Self {
        Self {
            state,
            advice: Some(advice.into()),
            ..self
        }
    }
}

impl DoctorArguments {
    /// Looks, and prints what was found.
    ///
    /// # Errors
    /// When something is wrong, or the settings cannot be read.
    pub fn run(self) -> anyhow::Result<()> {
        let settings = Settings::load(self.file.config.as_deref(), self.overrides)?;
        let findings = examine(&settings);
        if self.json {
            println!("{}", serde_json::to_string_pretty(&findings)?);
        } else {
            print!("{}", table(&findings));
        }
        match findings.iter().filter(|f| f.state == State::Wrong).count() {
            0 => Ok(()),
            1 => bail!("one thing is wrong; what to do stands beside it"),
            wrong => bail!("{wrong} things are wrong; what to do stands beside each"),
        }
    }
}

fn examine(settings: &Settings) -> Vec<Finding> {
    let data = DataFolder::unopened(&settings.data);
    let mut findings = vec![
        storage::data_folder(&data),
        storage::key(&data),
        storage::database(&data),
        storage::blobs(&data),
        machine::processor(),
        machine::compute(&settings.compute),
        machine::threads(settings.threads),
        machine::memory(&settings.compute),
    ];
    findings.push(library::installed(settings));
    // Where nothing can compute, the line about that says so.
    let machine = Machine::of(settings).unwrap_or_default();
    // In a server's order: what does not draw sets memory aside, and models are placed in the rest.
    let moderation = moderation::Moderators::of(settings, &machine);
    let upsampling = upsampling::Upsamplers::of(settings, &machine);
    let plans = engines::Plans::of(settings, &machine);
    findings.extend(engines::tools(settings, &plans));
    findings.extend(plans.findings());
    findings.extend(engines::beside(&machine));
    findings.extend(engines::provider(settings));
    findings.extend(engines::states(settings));
    findings.push(moderation.finding());
    findings.extend(upsampling.findings);
    findings.push(machine::public_url(settings));
    findings.push(machine::clock());
    findings
}

fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let state = match finding.state {
            State::Ok => "ok",
            State::Note => "note",
            State::Wrong => "WRONG",
        };
        text += &format!("{state:<6} {:<12} {}\n", finding.what, finding.found);
        if let Some(advice) = &finding.advice {
            text += &format!("{:<19} → {advice}\n", "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_reads_as_published() {
        let findings = [
            Finding::ok("memory", "16.0 GB, of which 9.0 GB are free"),
            Finding::ok("public URL", "none").note("set it"),
            Finding::ok("model", "there is no folder /models/x").wrong("name another one"),
        ];
        insta::assert_snapshot!("doctor_table", table(&findings));
    }

    #[test]
    fn what_cannot_work_is_wrong_and_has_advice() {
        let settings = Settings {
            data: std::path::PathBuf::from("/proc/nothing/can/be/made/here"),
            model: "/nowhere".to_owned(),
            ..Settings::default()
        };
        let findings = examine(&settings);
        let wrong: Vec<_> = findings
            .iter()
            .filter(|finding| finding.state == State::Wrong)
            .map(|finding| finding.what)
            .collect();
        assert_eq!(wrong, ["data folder", "model", "model"]);
        for finding in &findings {
            assert_eq!(finding.state == State::Ok, finding.advice.is_none());
        }
    }
}
