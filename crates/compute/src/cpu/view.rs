//! Workspace buffers, which hold f32, seen as numbers of the types that products of bf16 and of integers take.
#![expect(unsafe_code, reason = "numbers are seen as numbers of another type")]

use super::aligned::Plain;

/// The same bytes as numbers of another type.
///
/// # Panics
/// If they do not start where such a number may.
pub fn view<T: Plain>(values: &[f32]) -> &[T] {
    assert!(values.as_ptr().cast::<T>().is_aligned(), "this is a bug");
    let count = size_of_val(values) / size_of::<T>();
    // SAFETY: the slice is aligned (just checked) and as long in bytes; any bytes are a `Plain` number.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), count) }
}

/// The same, to be written.
///
/// # Panics
/// If they do not start where such a number may.
pub fn view_mut<T: Plain>(values: &mut [f32]) -> &mut [T] {
    assert!(values.as_ptr().cast::<T>().is_aligned(), "this is a bug");
    let count = size_of_val(values) / size_of::<T>();
    // SAFETY: as above; the borrow is exclusive, and any bytes are an f32, too.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), count) }
}
