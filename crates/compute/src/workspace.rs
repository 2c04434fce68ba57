//! The workspace: buffers that go from op to op instead of back to the operating system.
//!
//! A fresh buffer of some megabytes costs a page fault for every 4 KiB, more than many an op itself.
//! A device owns one workspace and takes the outputs of its ops from it; a buffer goes back when the
//! tensor that held it is dropped, so that a loop that repeats itself allocates in its first round
//! only. Models see nothing of this: tensors stay plain values.
//!
//! Buffers come in classes of sizes, at most a quarter larger than asked for. Idle ones are kept up to
//! a bound, those that were idle longest being given up first. **A buffer is not cleared**: it holds
//! what the last user left. Builds with debug assertions fill it with NaN instead, so that an op that
//! does not write all of its output is caught by its tests.

use std::{
    fmt, mem,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::cpu::aligned::Buffer as Memory;

/// Values of a cache line, which is also the widest register.
const LINE_VALUES: usize = 16;

/// Idle bytes that a workspace keeps: some of the largest buffers of a picture of a megapixel.
const IDLE_BYTES: usize = 1 << 30;

/// Each doubling of the size has this many classes.
const CLASSES_PER_DOUBLING: usize = 4;

/// A recycling store of buffers, owned by a device.
pub(crate) struct Workspace {
    idle: Mutex<Idle>,
    idle_bytes_limit: usize,
}

/// What a workspace has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkspaceStatistics {
    /// Buffers that were handed out.
    pub taken: u64,
    /// Those among them that had to be allocated.
    pub fresh: u64,
    /// Bytes of all buffers that are in use.
    pub used_bytes: usize,
    /// The most that were ever in use at one time.
    pub used_bytes_peak: usize,
    /// Bytes of the buffers that wait.
    pub idle_bytes: usize,
}

#[derive(Default)]
struct Idle {
    /// By class; those that came back last stand at the end.
    classes: Vec<Vec<Waiting>>,
    /// Counts returns: the age of a waiting buffer.
    returns: u64,
    statistics: WorkspaceStatistics,
}

struct Waiting {
    lines: Memory<f32>,
    since: u64,
}

impl Workspace {
    pub fn new() -> Arc<Self> {
        Self::with_limit(IDLE_BYTES)
    }

    fn with_limit(idle_bytes_limit: usize) -> Arc<Self> {
        Arc::new(Self {
            idle: Mutex::default(),
            idle_bytes_limit,
        })
    }

    /// A buffer of `len` values that are anything: whoever takes it writes all of them.
    pub fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let (class, lines) = class_of(len.div_ceil(LINE_VALUES));
        let recycled = self.lock().take(class, lines);
        let lines = recycled.unwrap_or_else(|| Memory::zeros(lines * LINE_VALUES));
        let mut buffer = Buffer {
            lines,
            len,
            home: self.clone(),
        };
        if cfg!(debug_assertions) {
            buffer.fill(f32::NAN);
        }
        buffer
    }

    pub fn statistics(&self) -> WorkspaceStatistics {
        self.lock().statistics
    }

    /// Gives all idle buffers back to the operating system.
    pub fn release_idle(&self) {
        let mut idle = self.lock();
        let classes = std::mem::take(&mut idle.classes);
        idle.statistics.idle_bytes = 0;
        drop(idle);
        drop(classes);
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn take(&mut self, class: usize, lines: usize) -> Option<Memory<f32>> {
        let bytes = lines * LINE_VALUES * size_of::<f32>();
        let found = self.classes.get_mut(class).and_then(Vec::pop);
        let statistics = &mut self.statistics;
        statistics.taken += 1;
        statistics.used_bytes += bytes;
        statistics.used_bytes_peak = statistics.used_bytes_peak.max(statistics.used_bytes);
        match found {
            Some(_) => statistics.idle_bytes -= bytes,
            None => statistics.fresh += 1,
        }
        found.map(|waiting| waiting.lines)
    }

    fn put(&mut self, lines: Memory<f32>) {
        let bytes = size_of_val(&*lines);
        let (class, _) = class_of(lines.len() / LINE_VALUES);
        if self.classes.len() <= class {
            self.classes.resize_with(class + 1, Vec::new);
        }
        self.returns += 1;
        let since = self.returns;
        self.classes[class].push(Waiting { lines, since });
        self.statistics.used_bytes -= bytes;
        self.statistics.idle_bytes += bytes;
    }

    /// Takes out the buffer that waits longest.
    fn oldest(&mut self) -> Option<Memory<f32>> {
        let classes = self.classes.iter_mut().filter(|class| !class.is_empty());
        let class = classes.min_by_key(|class| class[0].since)?;
        let lines = class.remove(0).lines;
        self.statistics.idle_bytes -= size_of_val(&*lines);
        Some(lines)
    }
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.statistics().fmt(f)
    }
}

/// The class of a buffer of at least `lines`, and how many lines its buffers have.
fn class_of(lines: usize) -> (usize, usize) {
    let lines = lines.max(1);
    if lines <= CLASSES_PER_DOUBLING {
        return (lines - 1, lines);
    }
    // 5, 6, 7, 8, 10, 12, 14, 16, 20 …: four steps from one power of two to the next.
    let doubling = (lines - 1).ilog2();
    let step = (1 << doubling) / CLASSES_PER_DOUBLING;
    let steps = (lines - (1 << doubling)).div_ceil(step);
    let class = (doubling as usize - 1) * CLASSES_PER_DOUBLING + steps - 1;
    (class, (1 << doubling) + steps * step)
}

/// Values out of a [`Workspace`], aligned to cache lines; they go back there when this is dropped.
pub(crate) struct Buffer {
    lines: Memory<f32>,
    len: usize,
    home: Arc<Workspace>,
}

impl Buffer {
    /// Another one from the same workspace, its values anything.
    pub fn another(&self, len: usize) -> Self {
        self.home.take(len)
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.lines[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.lines[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let limit = self.home.idle_bytes_limit;
        let mut idle = self.home.lock();
        idle.put(mem::replace(&mut self.lines, Memory::zeros(0)));
        while idle.statistics.idle_bytes > limit {
            let Some(surplus) = idle.oldest() else { return };
            drop(surplus);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE_VALUES, Workspace, class_of};

    #[test]
    fn classes_are_in_order_and_waste_at_most_a_quarter() {
        let mut before = (0, 1);
        for lines in 1..5_000 {
            let (class, size) = class_of(lines);
            assert!(
                size >= lines && size <= lines + lines / 4,
                "{lines}: {size}"
            );
            assert_eq!(class_of(size), (class, size), "{lines}");
            let next = if size == before.1 {
                before.0
            } else {
                before.0 + 1
            };
            assert_eq!(class, next, "{lines}");
            before = (class, size);
        }
    }

    #[test]
    fn a_dropped_buffer_is_used_again_and_comes_poisoned() {
        let workspace = Workspace::new();
        let mut first = workspace.take(1000);
        first.fill(1.0);
        let place = first.as_ptr();
        drop(first);
        let second = workspace.take(990);
        assert_eq!((second.as_ptr(), second.len()), (place, 990));
        assert_eq!(second.as_ptr().align_offset(64), 0);
        if cfg!(debug_assertions) {
            assert!(second.iter().all(|value| value.is_nan()));
        }
        let third = second.another(1000);
        assert_ne!(third.as_ptr(), place);
        let statistics = workspace.statistics();
        assert_eq!((statistics.taken, statistics.fresh), (3, 2));
    }

    #[test]
    fn idle_buffers_are_bounded_and_the_oldest_goes_first() {
        let line = LINE_VALUES * size_of::<f32>();
        let workspace = Workspace::with_limit(3 * line);
        let buffers = [1, 2].map(|lines| workspace.take(lines * LINE_VALUES));
        assert_eq!(workspace.statistics().used_bytes, 3 * line);
        drop(buffers);
        drop(workspace.take(3 * LINE_VALUES));
        let statistics = workspace.statistics();
        assert_eq!(
            (statistics.idle_bytes, statistics.used_bytes),
            (3 * line, 0)
        );
        // Only the last one is left.
        let taken = [1, 2, 3].map(|lines| workspace.take(lines * LINE_VALUES));
        assert_eq!(workspace.statistics().fresh, 5);
        drop(taken);
    }

    #[test]
    fn idle_buffers_can_be_given_back() {
        let workspace = Workspace::new();
        let kept = workspace.take(1000);
        drop(workspace.take(1000));
        assert!(workspace.statistics().idle_bytes > 0);
        workspace.release_idle();
        let statistics = workspace.statistics();
        assert_eq!(statistics.idle_bytes, 0);
        assert!(statistics.used_bytes > 0, "what is in use stays");
        drop(kept);
        drop(workspace.take(1000));
        assert_eq!(
            workspace.statistics().fresh,
            2,
            "the one that stayed serves again"
        );
    }
}
