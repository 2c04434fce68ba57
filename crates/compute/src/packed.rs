//! Packed layers as bytes: what a cache keeps of them, and how they come back.

use std::{borrow::Cow, ops::Range, sync::Arc};

use crate::MappedFile;

/// A linear layer's packed weight as it lies in memory; its bias is not part of it.
#[derive(Clone, Debug)]
pub struct PackedImage<'a> {
    /// How the device reads the bytes, in its own words.
    pub form: Cow<'static, str>,
    /// All of them.
    pub bytes: &'a [u8],
}

/// The same as a part of a file. The device uses it where it lies, so it must start on a multiple of
/// [`PackedPart::ALIGNMENT`] bytes.
#[derive(Clone, Debug)]
pub struct PackedPart<'a> {
    /// As [`PackedImage::form`] was.
    pub form: &'a str,
    /// The file, mapped.
    pub file: Arc<MappedFile>,
    /// Where the bytes lie in it.
    pub bytes: Range<usize>,
    /// Features of the layer's input.
    pub in_features: usize,
    /// Features of the layer's output.
    pub out_features: usize,
}

impl PackedPart<'_> {
    /// A page of memory: so that a layer's pages are its own.
    pub const ALIGNMENT: usize = 4096;
}
