//! How the engine computes: the `[compute]` part of the settings. `generate` and `edit`, which read no
//! file, take it from the environment (`TINTYPE_COMPUTE__ISA`, `TINTYPE_COMPUTE__WEIGHTS`).

use std::path::PathBuf;

use anyhow::{Context, bail};
use figment::Figment;
use figment::providers::Env;
use serde::{Deserialize, Serialize};
use tintype_engine::native::{DeviceOptions, Isa, MemoryLimit, WeightFormat};

/// More is bytes or megabytes by mistake.
const MOST_GIGABYTES: f64 = 65_536.0;

/// The `[compute]` part.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ComputeSettings {
    /// `portable`, `avx2`, `avx512` or `amx`; the fastest of the machine when not given.
    pub isa: Option<String>,
    /// `exact`, `bf16` or `int8`; exact when not given.
    pub weights: Option<String>,
    /// Megabytes that the VAE's pictures may take. Where they would take more it works in strips:
    /// slower, with the same result. Unbounded when not given.
    pub vae_memory_mb: Option<u32>,
    /// Whether each thread is tied to a core of its own: for a machine that does nothing else.
    pub pin: bool,
    /// The folder where packed weights are kept, so that the next start need not read and pack them;
    /// it grows as large as the packed models.
    pub packed_cache: Option<PathBuf>,
    /// Gigabytes (2³⁰ bytes) that all models and what they draw may take together; what the machine has
    /// free when not given.
    pub memory_gb: Option<f64>,
    /// Whether `serve` loads its models before the first task needs them.
    pub preload: bool,
}

impl ComputeSettings {
    /// What the environment says.
    ///
    /// # Errors
    /// A setting that does not exist or does not fit.
    pub fn from_environment() -> anyhow::Result<Self> {
        let figment = Figment::from(Env::prefixed("TINTYPE_COMPUTE__"));
        let settings: Self = figment
            .extract()
            .map_err(|error| anyhow::anyhow!("TINTYPE_COMPUTE__…: {error}"))?;
        settings.device_options()?;
        Ok(settings)
    }

    /// The same for the engine.
    ///
    /// # Errors
    /// Names that nobody has heard of, and an instruction set that this machine lacks.
    pub fn device_options(&self) -> anyhow::Result<DeviceOptions> {
        Ok(DeviceOptions {
            isa: self.isa()?,
            weights: self.weights()?,
            vae_memory_mb: self.vae_memory_mb,
            pin: self.pin,
            packed_cache: self.packed_cache.clone(),
            memory: self.memory()?,
            ..DeviceOptions::default()
        })
    }

    fn memory(&self) -> anyhow::Result<MemoryLimit> {
        match self.memory_gb {
            None => Ok(MemoryLimit::Machine),
            // A fraction of a gigabyte may be meant; a thousand of them are not.
            Some(gigabytes) if gigabytes > 0.0 && gigabytes <= MOST_GIGABYTES => {
                let bytes = gigabytes * f64::from(1 << 30);
                Ok(MemoryLimit::Bytes(bytes as u64))
            }
            Some(gigabytes) => bail!(
                "compute.memory_gb is {gigabytes}: give the gigabytes that models may take, such as 12"
            ),
        }
    }

    fn isa(&self) -> anyhow::Result<Option<Isa>> {
        let Some(name) = &self.isa else {
            return Ok(None);
        };
        let known: Isa = name.parse().context("compute.isa")?;
        Ok(Some(known.checked().context("compute.isa")?))
    }

    fn weights(&self) -> anyhow::Result<WeightFormat> {
        let Some(name) = &self.weights else {
            return Ok(WeightFormat::default());
        };
        name.parse().context("compute.weights")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(isa: &str, weights: &str) -> anyhow::Result<DeviceOptions> {
        let settings = ComputeSettings {
            isa: Some(isa.to_owned()),
            weights: Some(weights.to_owned()),
            vae_memory_mb: Some(512),
            ..ComputeSettings::default()
        };
        settings.device_options()
    }

    #[test]
    fn names_are_understood_or_answered_with_what_there_is() {
        let found = options("portable", "int8").expect("every machine has it");
        assert_eq!(found.isa, Some(Isa::Portable));
        assert_eq!(found.weights, WeightFormat::Int8);
        assert_eq!(found.vae_memory_mb, Some(512));
        assert_eq!(found.memory, MemoryLimit::Machine);
        let limited = |memory_gb| {
            let settings = ComputeSettings {
                memory_gb: Some(memory_gb),
                ..ComputeSettings::default()
            };
            settings.device_options().map(|options| options.memory)
        };
        let half = limited(0.5).expect("half a gigabyte");
        assert_eq!(half, MemoryLimit::Bytes(1 << 29));
        for wrong in [0.0, -1.0, f64::NAN, 12e9] {
            let error = limited(wrong).expect_err("not gigabytes").to_string();
            assert!(error.contains("compute.memory_gb"), "{error}");
        }
        let error = |isa, weights| format!("{:#}", options(isa, weights).expect_err("unknown"));
        let isa = error("sse2", "exact");
        assert!(
            isa.contains("compute.isa: ") && isa.contains("portable, avx2"),
            "{isa}"
        );
        let weights = error("portable", "fp4");
        assert!(
            weights.contains("compute.weights: ") && weights.contains("int8"),
            "{weights}"
        );
        if !Isa::Amx.is_available() {
            let missing = error("amx", "exact");
            assert!(
                missing.contains("cannot run \"amx\"; it has portable"),
                "{missing}"
            );
        }
    }
}
