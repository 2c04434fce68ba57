//! Functions of single values, for the loops that are compiled for each instruction set.

/// `a * b + c`, rounded once if `FMA`: without the instruction for it, that would be a call into the
/// mathematics library.
#[inline(always)]
pub fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `1 / (1 + e^-x)`
#[inline(always)]
pub fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FMA>(-x))
}

/// Adding 1.5 · 2²³ rounds to the nearest integer and leaves it in the low bits.
const ROUND: f32 = 12_582_912.0;

/// 2 to the integer in the low bits of `shifted`: 0 for -127, infinity for 128.
#[inline(always)]
fn power_of_two(shifted: f32) -> f32 {
    f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

/// e^x to about one unit in the last place: x = n ln 2 + r with |r| ≤ ½ ln 2, and the polynomial of
/// Cephes' `expf` for e^r (<https://www.netlib.org/cephes/>, single/expf.c). 0 where the result would
/// be subnormal, infinity above 88.4.
#[inline(always)]
pub fn exp<const FMA: bool>(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Written so that a NaN stays one.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -88.0 { -88.0 } else { x };
    let shifted = multiply_add::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = multiply_add::<FMA>(n, -LN_2_HIGH, x);
    let r = multiply_add::<FMA>(n, -LN_2_LOW, r);
    let mut p = 1.987_569_1e-4;
    for coefficient in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
        1.0,
        1.0,
    ] {
        p = multiply_add::<FMA>(p, r, coefficient);
    }
    p * power_of_two(shifted)
}

/// 2^x for x ≤ 0 (or NaN, which stays) to about one unit in the last place, 0 where the result would be
/// subnormal: what a softmax needs. The polynomial is the one of degree 6 through (0, 1) whose greatest
/// relative error over |r| ≤ ½, 2.6e-9, is the least.
#[inline(always)]
pub fn exp2<const FMA: bool>(x: f32) -> f32 {
    let x = if x < -127.0 { -127.0 } else { x };
    let shifted = x + ROUND;
    let r = x - (shifted - ROUND);
    let mut p = 1.559_467_8e-4;
    for coefficient in [
        1.340_664_3e-3,
        9.617_693e-3,
        5.550_310_4e-2,
        2.402_265_2e-1,
        6.931_472_4e-1,
        1.0,
    ] {
        p = multiply_add::<FMA>(p, r, coefficient);
    }
    p * power_of_two(shifted)
}

/// x Φ(x) with the normal distribution Φ, GELU without an approximation: what is beyond |x| comes from
/// erfc(z) = t e^(p(t) - z²) with t = 2 / (2 + z) and z = |x| / √2. p is the polynomial of degree 9 whose
/// greatest error over 0 ≤ z ≤ 13, 5.8e-8, is the least.
#[inline(always)]
pub fn gelu<const FMA: bool>(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 2.0 / (2.0 + z);
    let mut p = 0.157_899_74;
    for coefficient in [
        -0.751_430_1,
        1.322_738_6,
        -0.916_864_45,
        0.101_734_73,
        -0.095_060_065,
        0.067_173_414,
        0.379_884_03,
        0.999_409_74,
        -1.265_485_6,
    ] {
        p = multiply_add::<FMA>(p, t, coefficient);
    }
    let beyond = 0.5 * t * exp::<FMA>(multiply_add::<FMA>(-z, z, p));
    let below = if x < 0.0 { beyond } else { 1.0 - beyond };
    x * below
}

#[cfg(test)]
mod tests {
    use super::{exp, exp2, gelu};
    use crate::{Activation, reference::activate};

    #[test]
    fn gelu_is_right_also_where_it_is_tiny() {
        let close = |x: f32, expected: f64, tolerance: f64| {
            for found in [gelu::<false>(x), gelu::<true>(x)] {
                let error = ((f64::from(found) - expected) / expected).abs();
                assert!(error < tolerance, "gelu({x}) is off by {error:e}");
            }
        };
        for step in -500..1_200 {
            let x = step as f32 / 100.0 + 0.003;
            close(x, activate(Activation::Gelu, f64::from(x)), 3e-6);
        }
        // mpmath, x · ncdf(x).
        close(-6.0, -5.919_525_9e-9, 3e-6);
        close(-8.0, -4.976_768_5e-15, 1e-5);
        close(-12.0, -2.131_778_5e-32, 2e-5);
        assert_eq!(gelu::<false>(0.0), 0.0);
        assert_eq!(gelu::<false>(f32::INFINITY), f32::INFINITY);
        assert_eq!(gelu::<false>(-40.0), 0.0);
        // As PyTorch: -∞ times 0.
        assert!(gelu::<false>(f32::NEG_INFINITY).is_nan());
        assert!(gelu::<false>(f32::NAN).is_nan());
    }

    #[test]
    fn exp_is_right_to_the_last_places() {
        for step in -8_700..8_800 {
            let x = step as f32 / 100.0;
            let expected = f64::from(x).exp();
            for found in [exp::<false>(x), exp::<true>(x)] {
                let error = (f64::from(found) - expected).abs() / expected;
                assert!(error < 2e-7, "exp({x}) is off by {error:e}");
            }
        }
        assert_eq!(exp::<false>(0.0), 1.0);
        assert_eq!(exp::<false>(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp::<false>(f32::INFINITY), f32::INFINITY);
        assert!(exp::<false>(f32::NAN).is_nan());
    }

    #[test]
    fn exp2_is_right_to_the_last_places() {
        for step in -12_600..=0 {
            let x = step as f32 / 100.0;
            let expected = f64::from(x).exp2();
            for found in [exp2::<false>(x), exp2::<true>(x)] {
                let error = (f64::from(found) - expected).abs() / expected;
                assert!(error < 1.5e-7, "exp2({x}) is off by {error:e}");
            }
        }
        assert_eq!(exp2::<false>(0.0), 1.0);
        assert_eq!(exp2::<false>(f32::NEG_INFINITY), 0.0);
        assert!(exp2::<false>(f32::NAN).is_nan());
    }
}
