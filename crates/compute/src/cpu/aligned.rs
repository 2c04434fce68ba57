//! Buffers that start on a cache line, and on huge pages when they are large.
#![expect(
    unsafe_code,
    reason = "bytes of one allocation are seen as numbers of several types"
)]

use std::{
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut, Range},
    sync::Arc,
};

#[cfg(all(target_os = "linux", not(miri)))]
use memmap2::Advice;
use memmap2::MmapMut;

use crate::MappedFile;

/// From here on a buffer asks for huge pages: two of x86-64's, so that their rounding wastes little.
/// Walking through packed weights page by page of 4 KiB costs a few percent of a product. Miri, which
/// needs minutes to look through as much, gets there earlier.
const HUGE_BYTES: usize = if cfg!(miri) { 16 << 10 } else { 4 << 20 };

/// A cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Numbers of which every pattern of bits is one, without padding.
///
/// # Safety
/// Zeros and any other bytes must be a valid value; the alignment must divide 64.
pub unsafe trait Plain: Copy {}

// SAFETY: primitive numbers.
unsafe impl Plain for f32 {}
// SAFETY: as above.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for u16 {}
// SAFETY: as above.
unsafe impl Plain for i16 {}
// SAFETY: as above.
unsafe impl Plain for i8 {}
// SAFETY: as above.
unsafe impl Plain for i32 {}

enum Bytes {
    Lines(Vec<Line>),
    Mapped(MmapMut),
    /// From this byte of a file on, never written to.
    File(Arc<MappedFile>, usize),
}

/// `length` numbers, the first one on a cache line.
pub struct Buffer<T> {
    bytes: Bytes,
    length: usize,
    numbers: PhantomData<T>,
}

impl<T: Plain> Buffer<T> {
    /// A buffer of zeros.
    pub fn zeros(length: usize) -> Self {
        let size_bytes = length * size_of::<T>();
        let mapped = (size_bytes >= HUGE_BYTES)
            .then(|| map(size_bytes))
            .flatten();
        let bytes = mapped.map_or_else(
            || Bytes::Lines(vec![Line([0; 64]); size_bytes.div_ceil(64)]),
            Bytes::Mapped,
        );
        Self {
            bytes,
            length,
            numbers: PhantomData,
        }
    }
}

impl<T: Plain> Buffer<T> {
    /// The numbers of a part of a file, little-endian, where they lie. `None`: this machine would read
    /// them otherwise, or the part is not in the file, not aligned, or not of whole numbers.
    pub fn of_file(file: Arc<MappedFile>, bytes: Range<usize>) -> Option<Self> {
        let part = file.get(bytes.clone())?;
        let fits = cfg!(target_endian = "little")
            && part.as_ptr().align_offset(64) == 0
            && part.len() % size_of::<T>() == 0;
        fits.then(|| Self {
            length: bytes.len() / size_of::<T>(),
            bytes: Bytes::File(file, bytes.start),
            numbers: PhantomData,
        })
    }

    /// The numbers as they lie in memory.
    pub fn as_bytes(&self) -> &[u8] {
        let numbers: &[T] = self;
        // SAFETY: numbers without padding (`Plain`), so all their bytes are initialised.
        unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
    }
}

/// Fresh zeroed memory, on huge pages where the system has some. `None`: the system refuses, and an
/// ordinary allocation shall try.
fn map(size_bytes: usize) -> Option<MmapMut> {
    let map = MmapMut::map_anon(size_bytes).ok()?;
    // Only advice: without huge pages everything works, a little slower. Miri knows none.
    #[cfg(all(target_os = "linux", not(miri)))]
    let _ = map.advise(Advice::HugePage);
    Some(map)
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let start: *const T = match &self.bytes {
            Bytes::Lines(lines) => lines.as_ptr().cast(),
            Bytes::Mapped(map) => map.as_ptr().cast(),
            Bytes::File(file, start) => file[*start..].as_ptr().cast(),
        };
        // SAFETY: the allocation, or the file, holds at least `length` values (`zeros`, `of_file`), all
        // bytes of it are initialised and valid (`Plain`), and all kinds start on a cache line.
        unsafe { std::slice::from_raw_parts(start, self.length) }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let start: *mut T = match &mut self.bytes {
            Bytes::Lines(lines) => lines.as_mut_ptr().cast(),
            Bytes::Mapped(map) => map.as_mut_ptr().cast(),
            Bytes::File(..) => panic!("a file is only read; this is a bug"),
        };
        // SAFETY: as in `deref`; `&mut self` keeps everybody else away.
        unsafe { std::slice::from_raw_parts_mut(start, self.length) }
    }
}

impl<T> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} numbers)", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffer, HUGE_BYTES};

    #[test]
    fn small_and_large_buffers_are_zeroed_aligned_and_writable() {
        for length in [1, 17, HUGE_BYTES / 4] {
            let mut buffer = Buffer::<f32>::zeros(length);
            assert_eq!(buffer.len(), length);
            assert!(buffer.iter().all(|v| v.to_bits() == 0));
            assert_eq!(buffer.as_ptr().align_offset(64), 0);
            buffer.fill(1.5);
            assert!(buffer.iter().all(|&v| v == 1.5));
        }
    }
}
