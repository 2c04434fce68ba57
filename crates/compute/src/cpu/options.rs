//! How a cpu device computes.

use std::{fmt, str::FromStr};

use super::Isa;

/// What a [`CpuDevice`](crate::CpuDevice) is made of. The default: all cores, the fastest instructions
/// of the machine, exact weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuOptions {
    /// Threads, the calling one among them; 0 means as many as the machine has.
    pub threads: usize,
    /// Whether each thread is tied to a core of its own, among those that the process may use: the
    /// thread that makes the device to the first, which should then be the one that calls it. For a
    /// machine, or a share of one, that does nothing else. Only on Linux; elsewhere it does nothing.
    pub pin: bool,
    /// The instruction set; `None` means the fastest that the machine has.
    pub isa: Option<Isa>,
    /// How the weights of linear layers and convolutions are kept.
    pub weights: WeightFormat,
}

/// How packed weights are kept in memory. Sums are f32 in every case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WeightFormat {
    /// Every value as it came: as bf16 where bf16 holds all values of a weight exactly; in the file's
    /// encoding if that is f16, eight-bit floats or blocks; else as f32. On AMX, the latter are multiplied
    /// by the AVX-512 kernels: tiles would round them. So is attention over what such weights made.
    #[default]
    Exact,
    /// Rounded to bf16: half the memory of f32.
    Bf16,
    /// Rounded to eight bits with a scale for each output channel: a quarter of the memory of f32. The
    /// weights of convolutions are kept as [`Self::Exact`] says.
    Int8,
}

impl WeightFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Exact, Self::Bf16, Self::Int8];

    /// The name by which it is asked for: `exact`, `bf16`, `int8`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for WeightFormat {
    type Err = UnknownWeightFormat;

    fn from_str(name: &str) -> Result<Self, UnknownWeightFormat> {
        let known = Self::ALL.into_iter().find(|format| format.name() == name);
        known.ok_or_else(|| UnknownWeightFormat(name.to_owned()))
    }
}

/// A weight format was asked for that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no weight format \"{0}\"; there are exact, bf16, int8")]
pub struct UnknownWeightFormat(pub String);

#[cfg(test)]
mod tests {
    use super::WeightFormat;

    #[test]
    fn weight_formats_are_found_by_name() {
        for format in WeightFormat::ALL {
            assert_eq!(format.name().parse(), Ok(format));
        }
        let error = "fp4".parse::<WeightFormat>().expect_err("no such format");
        assert!(error.to_string().contains("exact, bf16, int8"), "{error}");
    }
}
