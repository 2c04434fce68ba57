//! What a person sees of a pull: a bar on a terminal, lines elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tintype_library::RelativePath;
use tintype_library::pull::{Planned, Watcher};

use super::amount;

/// The share between two lines of progress, in percent.
const LINE_EVERY_PERCENT: u64 = 10;

/// The one that suits where standard error goes.
pub(super) fn watcher() -> std::sync::Arc<dyn Watcher> {
    if std::io::stderr().is_terminal() {
        return std::sync::Arc::new(Bar(ProgressBar::new_spinner()));
    }
    std::sync::Arc::new(Lines::default())
}

/// What is going to happen, in a sentence.
fn sentence(planned: &Planned) -> String {
    let missing = planned.bytes.saturating_sub(planned.arrived_bytes);
    let mut text = format!("fetching {} in {} files", amount(missing), planned.files);
    if planned.arrived_bytes > 0 {
        text += &format!(", {} are here already", amount(planned.arrived_bytes));
    }
    if planned.shared_files > 0 {
        let (files, bytes) = (planned.shared_files, amount(planned.shared_bytes));
        text += &format!(", {files} files ({bytes}) are shared with other models");
    }
    text
}

fn again(file: &RelativePath, reason: &str, wait: Duration) -> String {
    format!(
        "{file}: {reason}; again in {:.0} s",
        wait.as_secs_f64().ceil()
    )
}

/// On a terminal.
struct Bar(ProgressBar);

impl Watcher for Bar {
    fn checking(&self, file: &RelativePath) {
        self.0.set_message(format!("reading {file}"));
        self.0.tick();
    }

    fn planned(&self, planned: &Planned) {
        self.0.println(sentence(planned));
        let style = "{bar:32} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left  {wide_msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            self.0.set_style(style);
        }
        self.0.set_length(planned.bytes);
        self.0.set_position(planned.arrived_bytes);
        self.0.reset_eta();
        self.0.enable_steady_tick(Duration::from_millis(200));
    }

    fn received(&self, file: &RelativePath, bytes: u64) {
        self.0.inc(bytes);
        self.0.set_message(file.to_string());
    }

    fn dropped(&self, _: &RelativePath, bytes: u64) {
        self.0.dec(bytes);
    }

    fn waiting(&self, file: &RelativePath, reason: &str, wait: Duration) {
        self.0.println(again(file, reason, wait));
    }

    fn finished(&self, file: &RelativePath, bytes: u64) {
        self.0
            .println(format!("{file} is whole ({})", amount(bytes)));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Into a file or a pipe.
#[derive(Default)]
struct Lines {
    total: AtomicU64,
    /// What has arrived, and the share that the last line told.
    arrived: Mutex<(u64, u64)>,
}

impl Watcher for Lines {
    fn checking(&self, file: &RelativePath) {
        eprintln!("reading {file}");
    }

    fn planned(&self, planned: &Planned) {
        eprintln!("{}", sentence(planned));
        self.total.store(planned.bytes, Ordering::Relaxed);
        if let Ok(mut arrived) = self.arrived.lock() {
            arrived.0 = planned.arrived_bytes;
        }
    }

    fn received(&self, _: &RelativePath, bytes: u64) {
        let total = self.total.load(Ordering::Relaxed).max(1);
        let Ok(mut arrived) = self.arrived.lock() else {
            return;
        };
        arrived.0 += bytes;
        let percent =
            arrived.0.saturating_mul(100) / total / LINE_EVERY_PERCENT * LINE_EVERY_PERCENT;
        if percent > arrived.1 {
            arrived.1 = percent;
            eprintln!("{percent} % ({} of {})", amount(arrived.0), amount(total));
        }
    }

    fn dropped(&self, _: &RelativePath, bytes: u64) {
        if let Ok(mut arrived) = self.arrived.lock() {
            arrived.0 = arrived.0.saturating_sub(bytes);
        }
    }

    fn waiting(&self, file: &RelativePath, reason: &str, wait: Duration) {
        eprintln!("{}", again(file, reason, wait));
    }

    fn finished(&self, file: &RelativePath, bytes: u64) {
        eprintln!("{file} is whole ({})", amount(bytes));
    }
}
