//! Eight-bit floating point (OCP OFP8 1.0, 2023), one number.

use half::f16;

/// Four bits of exponent (bias 7), three of mantissa; no infinities, and all ones are NaN.
pub fn e4m3(byte: u8) -> f32 {
    /// 2⁻⁹: the step of the numbers below the least normal one.
    const STEP: f32 = 1.0 / 512.0;
    let magnitude = u32::from(byte & 0x7f);
    let value = match magnitude {
        0..8 => magnitude as f32 * STEP,
        0x7f => f32::NAN,
        // Exponent and mantissa go to the top of f32's, whose bias is 120 more.
        _ => f32::from_bits((magnitude << 20) + (120 << 23)),
    };
    if byte & 0x80 == 0 { value } else { -value }
}

/// Five bits of exponent, two of mantissa: an f16 that was cut.
pub fn e5m2(byte: u8) -> f32 {
    f16::from_bits(u16::from(byte) << 8).to_f32()
}

#[cfg(test)]
mod tests {
    use super::{e4m3, e5m2};

    #[test]
    fn numbers_of_the_standard() {
        let cases = [
            (0x00, 0.0),
            (0x01, 0.001_953_125),
            (0x07, 0.013_671_875),
            (0x08, 0.015_625),
            (0x38, 1.0),
            (0xb9, -1.125),
            (0x7e, 448.0),
        ];
        for (byte, expected) in cases {
            assert_eq!(e4m3(byte), expected, "{byte:#x}");
        }
        assert!(e4m3(0x80).is_sign_negative() && e4m3(0x80) == 0.0);
        assert!(e4m3(0x7f).is_nan() && e4m3(0xff).is_nan());
        assert_eq!(
            (e5m2(0x3c), e5m2(0xc1), e5m2(0x01)),
            (1.0, -2.5, 2.0_f32.powi(-16))
        );
        assert!(e5m2(0x7c) == f32::INFINITY && e5m2(0x7d).is_nan());
    }
}
