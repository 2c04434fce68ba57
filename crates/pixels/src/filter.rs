//! Pillow's resampling filters.

use std::f64::consts::PI;

/// Lobes of Lanczos on each side.
const LOBES: f64 = 3.0;

/// The free parameter of the cubic filter, as Pillow has it.
const CUBIC: f64 = -0.5;

/// How neighbouring pixels are weighed, each wider where a picture is shrunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The pixels below the output's, all alike.
    Box,
    /// A triangle.
    Bilinear,
    /// A sinc of one lobe under a Hamming window.
    Hamming,
    /// A cubic of two lobes.
    Bicubic,
    /// A sinc of three lobes, windowed by the first lobe of a wider one.
    Lanczos,
}

impl Filter {
    /// The filter that Pillow (and every `preprocessor_config.json`) gives this number; 0, the nearest
    /// pixel, is none of them.
    pub fn of_number(number: u64) -> Option<Self> {
        match number {
            1 => Some(Self::Lanczos),
            2 => Some(Self::Bilinear),
            3 => Some(Self::Bicubic),
            4 => Some(Self::Box),
            5 => Some(Self::Hamming),
            _ => None,
        }
    }

    /// How far from the centre it is not zero.
    pub(crate) fn support(self) -> f64 {
        match self {
            Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => LOBES,
        }
    }

    /// The weight at a distance from the centre.
    pub(crate) fn weight(self, x: f64) -> f64 {
        match self {
            Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Hamming => hamming(x.abs()),
            Self::Bicubic => cubic(x.abs()),
            Self::Lanczos => lanczos(x),
        }
    }
}

fn hamming(x: f64) -> f64 {
    match x {
        0.0 => 1.0,
        x if x >= 1.0 => 0.0,
        // Pillow has these two factors as f32.
        x => sinc(x) * (f64::from(0.54f32) + f64::from(0.46f32) * (x * PI).cos()),
    }
}

fn cubic(x: f64) -> f64 {
    if x < 1.0 {
        ((CUBIC + 2.0) * x - (CUBIC + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * CUBIC
    } else {
        0.0
    }
}

/// sinc(x) sinc(x/3) within three lobes.
fn lanczos(x: f64) -> f64 {
    if (-LOBES..LOBES).contains(&x) {
        sinc(x) * sinc(x / LOBES)
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * PI;
    x.sin() / x
}
