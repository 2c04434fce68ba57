//! Money: millionths of the account's currency, as whole numbers from end to end.

/// The largest amount that may be written, in millionths: a million. Sums of a million million
/// such amounts cannot be reached by adding one at a time, so sums fit as well.
pub const MAX_AMOUNT_MICROS: i64 = 1_000_000 * MICROS;

/// Millionths in one.
const MICROS: i64 = 1_000_000;

/// Decimals that a millionth needs.
const DECIMALS: usize = 6;

/// An amount that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not an amount: write it like 50.00 or 0.04, with six decimals and a million at most"
)]
pub struct AmountError(pub String);

/// Reads an amount such as `50`, `50.00` or `0.04`: digits, and a point with one to six more.
///
/// # Errors
/// [`AmountError`] for everything else: a sign, an exponent, more decimals, more than
/// [`MAX_AMOUNT_MICROS`].
pub fn parse_micros(text: &str) -> Result<i64, AmountError> {
    amount(text)
        .filter(|micros| *micros <= MAX_AMOUNT_MICROS)
        .ok_or_else(|| AmountError(text.to_owned()))
}

fn amount(text: &str) -> Option<i64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    if decimals.len() > DECIMALS {
        return None;
    }
    let padded = format!("{decimals:0<DECIMALS$}");
    let micros = digits(decimals).and_then(|_| digits(&padded))?;
    digits(whole)?.checked_mul(MICROS)?.checked_add(micros)
}

fn digits(text: &str) -> Option<i64> {
    let only_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| only_digits)
}

/// An amount for people: two decimals, and as many more as it has, such as `50.00` or `0.035`.
pub fn display_micros(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let (whole, rest) = (
        micros.unsigned_abs() / MICROS.unsigned_abs(),
        micros.unsigned_abs() % MICROS.unsigned_abs(),
    );
    let decimals = format!("{rest:06}");
    let (cents, more) = decimals.split_at(2);
    format!("{sign}{whole}.{cents}{}", more.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_read_digit_by_digit() {
        for (text, micros) in [
            ("0", 0),
            ("50", 50_000_000),
            ("50.00", 50_000_000),
            ("0.04", 40_000),
            ("0.000001", 1),
            ("00.1", 100_000),
            ("1000000", MAX_AMOUNT_MICROS),
        ] {
            assert_eq!(parse_micros(text), Ok(micros), "{text}");
        }
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e3",
            "1,5",
            " 1",
            "0.0000001",
            "1.+1",
            "1.2.3",
            "1000000.000001",
            "99999999999999999999",
            "\u{661}",
        ] {
            assert_eq!(parse_micros(text), Err(AmountError(text.to_owned())));
        }
    }

    #[test]
    fn amounts_are_shown_with_two_decimals_or_as_many_as_it_takes() {
        for (micros, text) in [
            (50_000_000, "50.00"),
            (0, "0.00"),
            (35_000, "0.035"),
            (1, "0.000001"),
            (-1_500_000, "-1.50"),
            (i64::MIN, "-9223372036854.775808"),
        ] {
            assert_eq!(display_micros(micros), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same(micros in 0..=MAX_AMOUNT_MICROS) {
            prop_assert_eq!(parse_micros(&display_micros(micros)), Ok(micros));
        }
    }
}
