//! Copies that go past the caches: an output of many megabytes would only push out what is needed next.
#![expect(
    unsafe_code,
    reason = "stores past the cache are instructions of their own"
)]

/// `target = values`. Whole cache lines go past the caches.
///
/// # Panics
/// If the slices differ in length.
pub fn copy(target: &mut [f32], values: &[f32]) {
    assert_eq!(target.len(), values.len(), "this is a bug");
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_loadu_ps, _mm_stream_ps};
        /// Values of a cache line, and bytes of it.
        const LINE: usize = 16;
        let head = target.as_ptr().align_offset(64).min(target.len());
        let (before, target) = target.split_at_mut(head);
        let (first, values) = values.split_at(head);
        before.copy_from_slice(first);
        let mut lines = target.chunks_exact_mut(LINE);
        for (line, values) in lines.by_ref().zip(values.chunks_exact(LINE)) {
            for part in 0..LINE / 4 {
                // SAFETY: both hold sixteen values; the line is aligned to 64 bytes. SSE is part of
                // x86-64.
                unsafe {
                    let four = _mm_loadu_ps(values.as_ptr().add(part * 4));
                    _mm_stream_ps(line.as_mut_ptr().add(part * 4), four);
                }
            }
        }
        let rest = lines.into_remainder();
        let done = values.len() - rest.len();
        rest.copy_from_slice(&values[done..]);
    }
    #[cfg(not(target_arch = "x86_64"))]
    target.copy_from_slice(values);
}

/// Before other threads may look at what was copied: such stores are not in order with later ones.
pub fn finish() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a fence; SSE is part of x86-64.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}
