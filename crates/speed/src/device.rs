//! The device that is measured.

use std::sync::Arc;

use clap::Args;
use tintype_compute::{CpuDevice, CpuOptions, Device, Isa, WeightFormat};

/// How the device is asked for.
#[derive(Debug, Args)]
pub struct DeviceArguments {
    /// Threads that compute; 0 means as many as the machine has.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Tie each thread to a core of its own.
    #[arg(long)]
    pin: bool,
    /// The instruction set: portable, avx2, avx512, amx [default: the fastest of this machine].
    #[arg(long, value_name = "NAME")]
    isa: Option<Isa>,
    /// How weights are kept: exact, bf16, int8. The random ones are values of bf16.
    #[arg(long, value_name = "FORMAT", default_value_t = WeightFormat::Exact)]
    weights: WeightFormat,
}

/// The device, and what it is made of.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) device: Arc<dyn Device>,
    pub(crate) threads: usize,
    pub(crate) isa: Isa,
    pub(crate) weights: WeightFormat,
}

impl DeviceArguments {
    pub(crate) fn choose(&self) -> anyhow::Result<Chosen> {
        let device = CpuDevice::with_options(CpuOptions {
            threads: self.threads,
            pin: self.pin,
            isa: self.isa,
            weights: self.weights,
        })?;
        Ok(Chosen {
            threads: device.threads(),
            isa: device.isa(),
            weights: device.weights(),
            device: Arc::new(device),
        })
    }
}
