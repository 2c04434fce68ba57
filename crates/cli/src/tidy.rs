//! `tintype tidy`: one pass of the janitor over the data folder, also while a server runs on it.
//!
//! That is safe: what goes is decided in the database's own transactions, which servers and this
//! command take in turn, and bytes are deleted only under keys that can never come on record again
//! (`tintype_service::janitor` says why).

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tintype_service::janitor::{Janitor, JanitorConfig, Removed, Report};
use tintype_store::Mode;

use crate::data_folder::DataFolder;
use crate::settings::{ConfigFile, Overrides, Settings};
use crate::{administration, assembly};

/// The command line of `tidy`.
#[derive(Debug, Args)]
pub struct TidyArguments {
    #[command(flatten)]
    file: ConfigFile,
    /// The folder of the service [default: ~/.local/share/tintype].
    #[arg(long, value_name = "DIR", env = "TINTYPE_DATA", hide_env_values = true)]
    data: Option<PathBuf>,
    /// Remove nothing, only tell what would go.
    #[arg(long)]
    dry_run: bool,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

impl TidyArguments {
    /// Does it.
    ///
    /// # Errors
    /// What went wrong, for the person at the terminal.
    pub fn run(self) -> anyhow::Result<()> {
        administration::run(self.tidy())
    }

    async fn tidy(self) -> anyhow::Result<()> {
        let overrides = Overrides {
            data: self.data,
            ..Overrides::default()
        };
        let settings = Settings::load(self.file.config.as_deref(), overrides)?;
        let data = DataFolder::existing(&settings.data)?;
        let service = assembly::service_beside(&data).await?;
        let config = JanitorConfig {
            blob_folder: Some(data.blob_folder()),
            ..JanitorConfig::new(settings.retention.policy()?)
        };
        let mode = if self.dry_run {
            Mode::Look
        } else {
            Mode::Remove
        };
        let report = Janitor::new(service, config).pass(mode).await?;
        if self.json {
            println!("{}", as_json(&report, mode));
        } else {
            print!("{}", table(&report, mode));
        }
        Ok(())
    }
}

fn as_json(report: &Report, mode: Mode) -> serde_json::Value {
    let files = |removed: Removed| json!({ "files": removed.files, "bytes": removed.bytes });
    json!({
        "dry_run": mode == Mode::Look,
        "outputs": files(report.outputs),
        "uploads": files(report.uploads),
        "orphans": files(report.orphans),
        "leftovers": files(report.leftovers),
        "records": report.records,
        "rows": report.rows,
        "database_bytes": report.database_bytes,
        "failed": report.failed,
    })
}

fn table(report: &Report, mode: Mode) -> String {
    let title = match mode {
        Mode::Remove => "removed",
        Mode::Look => "would remove",
    };
    let files = |name: &str, removed: Removed| {
        let Removed { files, bytes } = removed;
        format!("  {name:34} {files:>9} files {:>12}\n", megabytes(bytes))
    };
    let mut text = format!("{title}\n");
    text += &files("pictures of ended tasks", report.outputs);
    text += &files("uploaded files", report.uploads);
    text += &files("files that no record points at", report.orphans);
    text += &files("remains of interrupted writes", report.leftovers);
    text += &format!("  {:34} {:>9}\n", "records of tasks", report.records);
    if mode == Mode::Remove {
        let (rows, given_back) = (report.rows, megabytes(report.database_bytes));
        text += &format!("  {:34} {rows:>9} rows  {given_back:>12}\n", "the database");
    }
    if report.failed > 0 {
        let failed = report.failed;
        text += &format!("{failed} files could not be deleted; the log above says why.\n");
    }
    text
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_reads_as_published() {
        let report = Report {
            outputs: Removed {
                files: 1_234,
                bytes: 2_345_678_901,
            },
            records: 17,
            rows: 5,
            database_bytes: 1 << 20,
            failed: 1,
            ..Report::default()
        };
        insta::assert_snapshot!("tidy_removed", table(&report, Mode::Remove));
        insta::assert_snapshot!("tidy_would_remove", table(&Report::default(), Mode::Look));
    }
}
