//! What the figures were taken on.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Flushes that are timed.
const FLUSHES: usize = 64;

/// As large as what a commit writes.
const BLOCK: [u8; 4096] = [0x55; 4096];

/// One line about the processor.
pub(crate) fn processor() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .and_then(|rest| rest.split_once(':'))
        .map_or("an unknown processor", |(_, model)| model.trim());
    format!("{cores} cores, {model}")
}

/// How long it takes the disk to make a small write durable: the middle of some tries.
pub(crate) fn flush_time(folder: &Path) -> std::io::Result<Duration> {
    let path = folder.join("flush-probe");
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        file.write_all(&BLOCK)?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed());
    }
    std::fs::remove_file(path)?;
    times.sort_unstable();
    Ok(times[FLUSHES / 2])
}
