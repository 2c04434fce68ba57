//! Threads tied to cores, where the operating system is asked for it: Linux. Elsewhere they are free.

/// The cores that a device's threads are tied to: the first for the thread that makes the device, one
/// for each helper, and round again if there are more threads than cores.
#[derive(Clone, Debug, Default)]
pub(super) struct Cores(Vec<usize>);

#[cfg(target_os = "linux")]
impl Cores {
    /// The cores that this process may use, those first that share no core with an earlier one.
    pub fn allowed() -> Self {
        let Ok(set) = rustix::thread::sched_getaffinity(None) else {
            return Self::default();
        };
        let mut cores: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU)
            .filter(|&core| set.is_set(core))
            .collect();
        // A stable sort: hyperthreads of a core go behind the first of them.
        cores.sort_by_key(|&core| place_among_siblings(core));
        Self(cores)
    }

    /// Ties the calling thread, the `index`-th of the device, to its core. If the system refuses, the
    /// thread stays free: results are the same.
    pub fn tie(&self, index: usize) {
        if self.0.is_empty() {
            return;
        }
        let mut set = rustix::thread::CpuSet::new();
        set.set(self.0[index % self.0.len()]);
        let _ = rustix::thread::sched_setaffinity(None, &set);
    }
}

#[cfg(not(target_os = "linux"))]
impl Cores {
    /// None: only Linux is asked.
    pub fn allowed() -> Self {
        Self::default()
    }

    /// Nothing.
    pub fn tie(&self, _index: usize) {}
}

/// Which hyperthread of its core this is, from 0; 0 if the system does not say.
#[cfg(target_os = "linux")]
fn place_among_siblings(core: usize) -> usize {
    let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    let siblings = std::fs::read_to_string(path).unwrap_or_default();
    place_in_list(siblings.trim(), core)
}

/// How many numbers of a list such as `0-1` or `3,67` are less than `core`.
#[cfg(target_os = "linux")]
fn place_in_list(list: &str, core: usize) -> usize {
    let numbers = list.split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<usize>().ok()?..=last.parse().ok()?)
    });
    numbers.flatten().filter(|&other| other < core).count()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{Cores, place_in_list};

    #[test]
    fn hyperthreads_are_counted_as_the_kernel_lists_them() {
        for (list, core, place) in [
            ("0-1", 0, 0),
            ("0-1", 1, 1),
            ("3,67", 67, 1),
            ("3,67", 3, 0),
            ("", 5, 0),
        ] {
            assert_eq!(place_in_list(list, core), place, "{core} in {list:?}");
        }
    }

    #[test]
    fn a_tied_thread_stays_on_its_core() {
        let cores = Cores::allowed();
        let given = cores.0.clone();
        assert!(!given.is_empty());
        for index in 0..given.len() + 1 {
            let cores = cores.clone();
            let core = std::thread::spawn(move || {
                cores.tie(index);
                Cores::allowed().0
            });
            let expected = given[index % given.len()];
            assert_eq!(core.join().unwrap(), [expected]);
        }
    }
}
