//! Which vector instructions a device uses: detected once, or asked for by name.

use std::{fmt, str::FromStr};

use crate::cpu::amx;

/// An instruction set that the kernels are written for, the slowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain Rust, on any processor.
    Portable,
    /// x86-64 with AVX2 and FMA: f32 in registers of eight.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL: f32 in registers of sixteen.
    Avx512,
    /// x86-64 with AMX tiles (bf16 and int8), and AVX-512 around them.
    Amx,
}

impl Isa {
    /// All of them, the slowest first.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Amx];

    /// The name by which it is asked for: `portable`, `avx2`, `avx512`, `amx`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        }
    }

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            Self::Avx2 => has_avx2(),
            Self::Avx512 => has_avx512(),
            Self::Amx => has_avx512() && amx::is_available(),
        }
    }

    /// Those that this machine has, the slowest first; at least the portable one.
    pub fn available() -> Vec<Self> {
        let all = Self::ALL.into_iter();
        all.filter(|isa| isa.is_available()).collect()
    }

    /// Those that a test of every set goes through: all that there are, but on the slow machine of
    /// `tools/emulate` only what other machines lack.
    #[cfg(test)]
    pub fn under_test() -> Vec<Self> {
        let emulated = std::env::var_os("TINTYPE_EMULATED").is_some();
        let mut sets = Self::available();
        sets.retain(|isa| !emulated || *isa >= Self::Avx512);
        sets
    }

    /// The fastest that this machine has.
    pub fn best() -> Self {
        Self::available().pop().unwrap_or(Self::Portable)
    }

    /// The fastest that this machine has whose products are of f32. [`Self::Amx`] is not one: its tiles
    /// round what they multiply to bf16.
    pub fn best_in_f32() -> Self {
        Self::best().min(Self::Avx512)
    }

    /// This one, if the machine has it.
    ///
    /// # Errors
    /// [`MissingIsa`] if it does not.
    pub fn checked(self) -> Result<Self, MissingIsa> {
        if self.is_available() {
            return Ok(self);
        }
        Err(MissingIsa(self))
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = UnknownIsa;

    fn from_str(name: &str) -> Result<Self, UnknownIsa> {
        let known = Self::ALL.into_iter().find(|isa| isa.name() == name);
        known.ok_or_else(|| UnknownIsa(name.to_owned()))
    }
}

/// An instruction set was asked for that this machine lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this machine cannot run \"{0}\"; it has {there}", there = names(&Isa::available()))]
pub struct MissingIsa(pub Isa);

/// An instruction set was asked for that nobody has heard of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no instruction set \"{0}\"; there are {all}", all = names(&Isa::ALL))]
pub struct UnknownIsa(pub String);

fn names(all: &[Isa]) -> String {
    let names: Vec<&str> = all.iter().map(|isa| isa.name()).collect();
    names.join(", ")
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    // Every processor with the first has the third.
    std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    has_avx2()
        && std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512dq")
        && std::arch::is_x86_feature_detected!("avx512vl")
}

/// Whether AVX2's kernels of integers have VNNI.
#[cfg(target_arch = "x86_64")]
pub fn has_avx_vnni() -> bool {
    has_avx2() && std::arch::is_x86_feature_detected!("avxvnni")
}

/// Whether AVX-512's have it.
#[cfg(target_arch = "x86_64")]
pub fn has_avx512_vnni() -> bool {
    has_avx512() && std::arch::is_x86_feature_detected!("avx512vnni")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx2() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::Isa;

    #[test]
    fn names_lead_back_and_errors_list_what_there_is() {
        for isa in Isa::ALL {
            assert_eq!(isa.name().parse(), Ok(isa));
        }
        let unknown = "sse9".parse::<Isa>().expect_err("no such thing");
        assert_eq!(
            unknown.to_string(),
            "there is no instruction set \"sse9\"; there are portable, avx2, avx512, amx"
        );
        for isa in Isa::ALL {
            match isa.checked() {
                Ok(found) => assert_eq!(found, isa),
                Err(error) => assert!(error.to_string().contains("it has portable"), "{error}"),
            }
        }
    }
}
