//! The machine and the settings.

use std::time::{SystemTime, UNIX_EPOCH};

use tintype_engine::native::Isa;
use tintype_engine::native::memory::of_this_machine;
use tintype_words::Bytes;

use super::Finding;
use crate::compute_settings::ComputeSettings;
use crate::settings::Settings;

/// The first of January 2026: no clock is right that shows less.
const RECENT_SECONDS: u64 = 1_767_225_600;

/// The bundled model and its pictures, with room to spare.
const ENOUGH_MEMORY_BYTES: u64 = 1 << 30;

pub(super) fn processor() -> Finding {
    let features = features();
    let found = if features.is_empty() {
        "no vector units that are known here".to_owned()
    } else {
        features.join(", ")
    };
    let finding = Finding::ok("processor", format!("{found}; the device is cpu"));
    if cfg!(target_arch = "x86_64") && !features.contains(&"avx2") {
        return finding.note("without AVX2 and FMA pictures take several times as long");
    }
    finding
}

fn features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let known = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let known = [("neon", cfg!(target_arch = "aarch64"))];
    let there = known.into_iter().filter(|(_, there)| *there);
    there.map(|(name, _)| name).collect()
}

/// Which kernels compute, and how weights are kept.
pub(super) fn compute(settings: &ComputeSettings) -> Finding {
    let options = match settings.device_options() {
        Ok(options) => options,
        Err(error) => {
            return Finding::ok("compute", "nothing can compute like this")
                .wrong(format!("{error:#}"));
        }
    };
    let best = Isa::best();
    let used = options.isa.unwrap_or(best);
    let there: Vec<&str> = Isa::available().iter().map(|isa| isa.name()).collect();
    let (there, weights) = (there.join(", "), options.weights);
    let found = format!("{used} kernels (this machine has {there}), {weights} weights");
    let finding = Finding::ok("compute", found);
    if used < best {
        return finding.note(format!(
            "compute.isa = \"{used}\" forces slower ones than {best}"
        ));
    }
    finding
}

pub(super) fn threads(wanted: Option<usize>) -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = wanted.unwrap_or(cores);
    let finding = Finding::ok("threads", format!("{threads} of {cores} cores"));
    if threads > cores {
        return finding.note(format!(
            "more than cores only slows down: --threads {cores}"
        ));
    }
    finding
}

/// What the machine has, and what of it models may take.
pub(super) fn memory(settings: &ComputeSettings) -> Finding {
    let Some(memory) = of_this_machine() else {
        return Finding::ok("memory", "cannot tell")
            .note("a large model needs its size twice over");
    };
    let (total, available) = (Bytes(memory.total_bytes), Bytes(memory.available_bytes));
    let limit = match settings.memory_gb {
        Some(limit) => format!("; models may take {limit} GiB"),
        None => String::new(),
    };
    let found = format!("{total}, of which {available} are free{limit}");
    let finding = Finding::ok("memory", found);
    if memory.available_bytes < ENOUGH_MEMORY_BYTES {
        return finding.note("that is little even for the bundled model: end other programs");
    }
    finding
}

pub(super) fn public_url(settings: &Settings) -> Finding {
    match &settings.public_url {
        Some(url) => Finding::ok("public URL", url.clone()),
        None => Finding::ok("public URL", "none: the host that each client used")
            .note("behind a proxy, set --public-url to the address that clients know"),
    }
}

pub(super) fn clock() -> Finding {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    let finding = Finding::ok("clock", format!("{seconds} seconds since 1970 (UTC)"));
    if seconds < RECENT_SECONDS {
        return finding.wrong("it is years behind: set it, and let NTP keep it");
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn the_kernels_that_compute_are_named() {
        let settings = |isa: &str| ComputeSettings {
            isa: Some(isa.to_owned()),
            ..ComputeSettings::default()
        };
        let best = compute(&ComputeSettings::default());
        assert_eq!(best.state, State::Ok);
        assert!(best.found.starts_with(Isa::best().name()), "{}", best.found);
        let forced = compute(&settings("portable"));
        assert!(
            forced.found.starts_with("portable kernels"),
            "{}",
            forced.found
        );
        assert_eq!(forced.state == State::Note, Isa::best() > Isa::Portable);
        let wrong = compute(&settings("mmx"));
        assert_eq!(wrong.state, State::Wrong);
        assert!(
            wrong
                .advice
                .is_some_and(|advice| advice.contains("portable"))
        );
    }
}
