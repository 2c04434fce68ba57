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

#[cfg(test)]
mod tests {
    use super::{exp, exp2};

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
