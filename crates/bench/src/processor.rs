//! The account of what a process has computed, from Linux.

use std::time::Duration;

use anyhow::Context;

/// Linux counts in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// What a process has computed for so far, its children not counted. `None` is this one.
pub(crate) fn time_of(pid: Option<u32>) -> anyhow::Result<Duration> {
    let who = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let path = format!("/proc/{who}/stat");
    let stat = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {path}: processor time is measured on Linux only"))?;
    ticks(&stat)
        .map(|ticks| TICK * ticks)
        .with_context(|| format!("{path} does not read as documented"))
}

/// The user's and the system's part: fields 14 and 15, see proc(5). The second field is a name
/// in brackets that may hold anything.
fn ticks(stat: &str) -> Option<u32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parts_are_counted_whatever_the_program_is_called() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194304 97 0 0 0 123 45 6 7 20 0 1 0 299 0 0";
        assert_eq!(ticks(stat), Some(168));
        assert_eq!(ticks("nonsense"), None);
    }

    #[test]
    fn this_process_has_an_account() {
        assert!(time_of(None).is_ok());
    }
}
