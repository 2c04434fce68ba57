//! The data folder and what lies in it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tintype_service::KEY_FILE_NAME;
use tintype_store::sqlite::inspect;

use super::Finding;
use crate::data_folder::DataFolder;

/// Flushes that are measured; the middle one counts.
const FLUSHES: usize = 5;

/// A task is written and flushed a few times in its life: beyond this the disk is what one waits
/// for.
const SLOW_FLUSH: Duration = Duration::from_millis(50);

pub(super) fn data_folder(data: &DataFolder) -> Finding {
    let path = data.path();
    let shown = path.display();
    if !path.exists() {
        let nearest = path.ancestors().skip(1).find(|folder| folder.is_dir());
        let missing = Finding::ok("data folder", format!("{shown} is not there yet"));
        return match nearest.map(flush_time) {
            Some(Ok(_)) => missing.note("the first `tintype serve` makes it"),
            _ => missing.wrong("it cannot be made there either; name another one with --data"),
        };
    }
    match flush_time(path) {
        Err(error) => Finding::ok("data folder", format!("cannot write to {shown}: {error}"))
            .wrong("make it writable for the user that runs the service, or free space"),
        Ok(time) => {
            let millis = time.as_secs_f64() * 1e3;
            let fine = Finding::ok(
                "data folder",
                format!("{shown} is writable; a flush takes {millis:.1} ms"),
            );
            if time > SLOW_FLUSH {
                return fine.note("each task waits for a few flushes: a local SSD is quicker");
            }
            fine
        }
    }
}

/// Writes a small file to the disk a few times, and removes it.
fn flush_time(folder: &Path) -> std::io::Result<Duration> {
    let path = folder.join(format!(".tintype-doctor-{}", std::process::id()));
    let measured = measure(&path);
    let _ = fs::remove_file(&path);
    measured
}

fn measure(path: &Path) -> std::io::Result<Duration> {
    let mut file = File::create_new(path)?;
    let mut times = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        file.write_all(&[0; 4096])?;
        let start = Instant::now();
        file.sync_data()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[FLUSHES / 2])
}

pub(super) fn key(data: &DataFolder) -> Finding {
    let path = data.path().join(KEY_FILE_NAME);
    let Ok(metadata) = fs::metadata(&path) else {
        if data.database().is_file() {
            return Finding::ok("key file", format!("{} is missing", path.display()))
                .wrong("restore it from a backup: without it the secrets cannot be opened");
        }
        return Finding::ok("key file", "none yet").note("it is made with the first project");
    };
    let mode = metadata.permissions().mode() & 0o777;
    let found = Finding::ok("key file", format!("{} (mode {mode:03o})", path.display()));
    if mode & 0o077 != 0 {
        return found.wrong(format!("others can read it: chmod 600 {}", path.display()));
    }
    found
}

pub(super) fn database(data: &DataFolder) -> Finding {
    let path = data.database();
    if !path.is_file() {
        return Finding::ok("database", "none yet").note("the first `tintype serve` makes it");
    }
    let facts = match inspect(&path) {
        Ok(facts) => facts,
        Err(error) => {
            return Finding::ok("database", format!("{}: {error}", path.display()))
                .wrong("restore it from a backup, or move it away to begin anew");
        }
    };
    let (version, ours) = (facts.version, facts.current_version);
    let megabytes = facts.size_bytes as f64 / 1e6;
    let found = Finding::ok("database", format!("{megabytes:.1} MB, version {version}"));
    if version < ours {
        return found.note(format!("the next start brings it to version {ours}"));
    }
    if version > ours {
        let advice = "a later program wrote it: use that one, or restore a backup";
        return found.wrong(format!(
            "this program knows versions up to {ours}; {advice}"
        ));
    }
    found
}

pub(super) fn blobs(data: &DataFolder) -> Finding {
    let path = data.blob_folder();
    if !path.exists() {
        return Finding::ok("files", "none yet").note("the first `tintype serve` makes the folder");
    }
    match flush_time(&path) {
        Ok(_) => Finding::ok("files", format!("{} is writable", path.display())),
        Err(error) => Finding::ok(
            "files",
            format!("cannot write to {}: {error}", path.display()),
        )
        .wrong("make it writable for the user that runs the service, or free space"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_key_that_others_can_read_is_wrong() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataFolder::unopened(folder.path());
        assert_eq!(key(&data).state, State::Note);
        let path = folder.path().join(KEY_FILE_NAME);
        fs::write(&path, "key").expect("a file");
        for (mode, state) in [(0o600, State::Ok), (0o640, State::Wrong)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
            assert_eq!(key(&data).state, state, "{mode:o}");
        }
        assert_eq!(
            data_folder(&data).advice.is_some(),
            data_folder(&data).state != State::Ok
        );
    }

    #[test]
    fn a_file_that_is_no_database_is_wrong() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataFolder::unopened(folder.path());
        fs::write(
            data.database(),
            "not a database, but long enough to be read as one",
        )
        .expect("a file");
        assert_eq!(database(&data).state, State::Wrong);
        assert_eq!(key(&data).state, State::Wrong, "its key is lost");
        assert_eq!(
            fs::read_dir(folder.path()).expect("a folder").count(),
            1,
            "nothing is left"
        );
    }
}
