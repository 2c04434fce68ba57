//! PyTorch's CPU generator, bit for bit: the same seed draws the noise that `diffusers` draws.
//!
//! The pipeline calls [`Generator::normal`] once for each picture. What is reproduced is
//! `torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=dtype)` on an
//! x86-64 processor with AVX2, which is what the published pictures were made on:
//!
//! - the engine is MT19937, seeded with the low 32 bits of the seed (`at::mt19937`);
//! - fewer than 16 samples are drawn one by one, in f64 (`at::normal_distribution<double>`);
//! - from 16 on, uniforms in f32 are turned into normals in blocks of 16, the last block being
//!   drawn again where the number is not a multiple of 16 (`normal_fill` in
//!   `aten/src/ATen/native/cpu/DistributionTemplates.h`);
//! - those blocks use the polynomial logarithm, sine and cosine of Cephes with fused
//!   multiply-adds, not the C library's, and so must we.

/// The number of samples that are drawn together, and the least number for which that is done.
const BLOCK: usize = 16;

/// What type the pipeline draws its noise in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoiseType {
    /// A pipeline in f32.
    F32,
    /// A pipeline in bf16: the same stream, rounded to bf16, another rule for the last block.
    Bf16,
}

/// `torch.Generator("cpu")` after `manual_seed`.
#[derive(Clone)]
pub struct Generator {
    engine: Mt19937,
    cached: Option<f64>,
}

impl Generator {
    /// A generator in the state after `manual_seed(seed)`. A negative seed of torch is the same
    /// number in two's complement.
    pub fn new(seed: u64) -> Self {
        Self {
            // at::mt19937 keeps the low half only.
            engine: Mt19937::new(seed as u32),
            cached: None,
        }
    }

    /// `torch.randn(count)`: standard normal samples, in the order of the tensor's elements.
    ///
    /// For [`NoiseType::Bf16`] the values are bf16 numbers, widened to f32.
    pub fn normal(&mut self, count: usize, noise_type: NoiseType) -> Vec<f32> {
        let mut samples = match (count < BLOCK, noise_type) {
            (true, _) => (0..count).map(|_| self.normal_f64() as f32).collect(),
            (false, NoiseType::F32) => self.blocks_after_uniforms(count),
            (false, NoiseType::Bf16) => self.blocks_one_by_one(count),
        };
        if noise_type == NoiseType::Bf16 {
            for sample in &mut samples {
                *sample = half::bf16::from_f32(*sample).to_f32();
            }
        }
        samples
    }

    /// The f32 path: a uniform for every element, then the transformation, then a redrawn tail.
    fn blocks_after_uniforms(&mut self, count: usize) -> Vec<f32> {
        let mut samples: Vec<f32> = (0..count).map(|_| self.engine.uniform_f32()).collect();
        for block in samples.chunks_exact_mut(BLOCK) {
            box_muller(block);
        }
        self.redraw_tail(&mut samples);
        samples
    }

    /// The path of the narrow types: no uniforms are spent on an incomplete last block.
    fn blocks_one_by_one(&mut self, count: usize) -> Vec<f32> {
        let mut samples = vec![0.0; count];
        for block in samples.chunks_exact_mut(BLOCK) {
            block.fill_with(|| self.engine.uniform_f32());
            box_muller(block);
        }
        self.redraw_tail(&mut samples);
        samples
    }

    /// Draws the last 16 samples anew where their number is not a multiple of 16.
    fn redraw_tail(&mut self, samples: &mut [f32]) {
        if !samples.len().is_multiple_of(BLOCK) {
            let start = samples.len() - BLOCK;
            let tail = &mut samples[start..];
            tail.fill_with(|| self.engine.uniform_f32());
            box_muller(tail);
        }
    }

    /// One sample in f64; two are made at a time and the second is kept.
    fn normal_f64(&mut self) -> f64 {
        if let Some(sample) = self.cached.take() {
            return sample;
        }
        let u1 = self.engine.uniform_f64();
        let u2 = self.engine.uniform_f64();
        let radius = (-2.0 * (-u2).ln_1p()).sqrt();
        let theta = 2.0 * std::f64::consts::PI * u1;
        self.cached = Some(radius * theta.sin());
        radius * theta.cos()
    }
}

/// Turns 16 uniforms from [0, 1) into normals, in place (`normal_fill_16_AVX2`).
fn box_muller(block: &mut [f32]) {
    let (first, second) = block.split_at_mut(BLOCK / 2);
    for (a, b) in first.iter_mut().zip(second) {
        let radius = (-2.0 * cephes::ln(1.0 - *a)).sqrt();
        let (sine, cosine) = cephes::sin_cos(std::f32::consts::TAU * *b);
        // Adding the mean of 0 turns a negative zero into a positive one.
        *a = radius * cosine + 0.0;
        *b = radius * sine + 0.0;
    }
}

/// Logarithm, sine and cosine by the polynomials of S. Moshier's Cephes library, in the order of
/// operations of J. Pommier's and G. Garberoglio's vector version (`avx_mathfun.h`) as compilers
/// fuse it.
mod cephes {
    const LN_POLYNOMIAL: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_84e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_7e-1,
        2.000_071_4e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    /// ln 2 in two parts: the first has few bits, so that its product with an exponent is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    /// π/4 in three parts, for the same reason.
    const QUARTER_PI: [f32; 3] = [0.785_156_25, 2.418_756_5e-4, 3.774_895e-8];
    const SIN_POLYNOMIAL: [f32; 3] = [-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1];
    const COS_POLYNOMIAL: [f32; 3] = [2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2];

    /// Horner's rule with fused multiply-adds.
    fn polynomial(coefficients: &[f32], x: f32) -> f32 {
        let mut terms = coefficients.iter();
        let first = terms.next().copied().unwrap_or(0.0);
        terms.fold(first, |sum, &term| sum.mul_add(x, term))
    }

    /// Natural logarithm of a number in (0, 1].
    pub fn ln(x: f32) -> f32 {
        let bits = x.max(f32::MIN_POSITIVE).to_bits();
        let mut exponent = (bits >> 23) as f32 - 126.0;
        // The mantissa as a number in [0.5, 1).
        let mut mantissa = f32::from_bits((bits & 0x807f_ffff) | 0x3f00_0000);
        if mantissa < std::f32::consts::FRAC_1_SQRT_2 {
            exponent -= 1.0;
            mantissa += mantissa - 1.0;
        } else {
            mantissa -= 1.0;
        }
        let square = mantissa * mantissa;
        let sum = polynomial(&LN_POLYNOMIAL, mantissa) * mantissa;
        let sum = sum.mul_add(square, exponent * LN_2[1]);
        let sum = (-0.5f32).mul_add(square, sum);
        exponent.mul_add(LN_2[0], mantissa + sum)
    }

    /// Sine and cosine of a non-negative number.
    pub fn sin_cos(x: f32) -> (f32, f32) {
        let octant = ((x * (4.0 / std::f32::consts::PI)) as u32 + 1) & !1;
        let multiple = octant as f32;
        let angle = QUARTER_PI
            .iter()
            .fold(x, |angle, part| (-part).mul_add(multiple, angle));
        let square = angle * angle;
        let even = polynomial(&COS_POLYNOMIAL, square) * square;
        let even = even.mul_add(square, -(square * 0.5)) + 1.0;
        let odd = (polynomial(&SIN_POLYNOMIAL, square) * square).mul_add(angle, angle);
        let (sine, cosine) = if octant & 2 == 0 {
            (odd, even)
        } else {
            (even, odd)
        };
        let negate = |value: f32, flag: bool| if flag { -value } else { value };
        (
            negate(sine, octant & 4 != 0),
            negate(cosine, octant.wrapping_sub(2) & 4 == 0),
        )
    }
}

/// The Mersenne Twister of M. Matsumoto and T. Nishimura (1998).
#[derive(Clone)]
struct Mt19937 {
    state: [u32; Self::LENGTH],
    next: usize,
}

impl Mt19937 {
    const LENGTH: usize = 624;
    const OFFSET: usize = 397;

    fn new(seed: u32) -> Self {
        let mut state = [seed; Self::LENGTH];
        for i in 1..Self::LENGTH {
            let previous = state[i - 1];
            state[i] = 1_812_433_253u32
                .wrapping_mul(previous ^ (previous >> 30))
                .wrapping_add(i as u32);
        }
        Self {
            state,
            next: Self::LENGTH,
        }
    }

    fn twist(&mut self) {
        for i in 0..Self::LENGTH {
            let low = self.state[(i + 1) % Self::LENGTH];
            let mixed = (self.state[i] & 0x8000_0000) | (low & 0x7fff_ffff);
            let odd = if low & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + Self::OFFSET) % Self::LENGTH] ^ (mixed >> 1) ^ odd;
        }
        self.next = 0;
    }

    fn next_u32(&mut self) -> u32 {
        if self.next == Self::LENGTH {
            self.twist();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// A number in [0, 1) with 24 bits.
    fn uniform_f32(&mut self) -> f32 {
        (self.next_u32() & 0x00ff_ffff) as f32 * (1.0 / 16_777_216.0)
    }

    /// A number in [0, 1) with 53 bits, of two words, the first one high.
    fn uniform_f64(&mut self) -> f64 {
        let high = u64::from(self.next_u32());
        let low = u64::from(self.next_u32());
        let bits = ((high << 32) | low) & ((1 << 53) - 1);
        bits as f64 * (1.0 / (1u64 << 53) as f64)
    }
}
