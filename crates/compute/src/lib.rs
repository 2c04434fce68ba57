//! The op set that the models are written against, and the devices that implement it.
//!
//! The set is small and stands at the models' own granularity ([`Device`]): a linear layer with its
//! epilogue, joint attention with QK-RMSNorm and RoPE, adaptive layer norm, convolution, group norm
//! with its activation. A device packs the weights the way it likes and fuses what it can.
//!
//! Two devices today: [`ReferenceDevice`] is the readable oracle, [`CpuDevice`] the fast one. The
//! conformance suite (`tests/conformance.rs`) holds every device to the oracle.
//!
//! This crate knows no model, no file format and no service. It is the only crate with unsafe code.

mod cache;
mod cpu;
mod encoding;
mod mapped;
mod ops;
mod packed;
mod picture;
mod reference;
mod stored;
mod tensor;
mod workspace;

pub use cache::{CacheSize, CachedAttention, KeyValueCache};
pub use cpu::{
    CpuDevice, CpuOptions, Isa, MissingIsa, UnknownIsa, UnknownWeightFormat, WeightFormat,
};
pub use encoding::Encoding;
pub use mapped::MappedFile;
pub use ops::{
    Activation, Attention, Chunk, Conv2d, ConvGeometry, Device, Epilogue, GroupNorm, Linear, Mask,
    Padding, QkNorm, RopeLayout, RopeTable, Segment,
};
pub use packed::{PackedImage, PackedPart};
pub use picture::{Convolution, GroupSums, Normalisation, Strip, Target};
pub use reference::ReferenceDevice;
pub use stored::{StoredMatrix, StoredValues};
pub use tensor::{Shape, Tensor};
pub use workspace::WorkspaceStatistics;
