//! From the many spellings of a value to one text.
//!
//! The same field arrives as a number, a boolean, a string or an array of one, depending on the
//! client; form builders send `""` and `null` for what a person left empty.

use serde_json::Value;

/// What a field says once its JSON type is out of the way.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Coerced {
    /// `null`, or an array with nothing in it: as if the field had not come.
    Absent,
    /// `""`, or only blanks.
    Empty,
    /// A value.
    Text(String),
    /// An object, or several values at once.
    Unusable,
}

/// Flattens one JSON value.
pub(crate) fn coerce(value: &Value) -> Coerced {
    match value {
        Value::Null => Coerced::Absent,
        Value::Bool(flag) => Coerced::Text(flag.to_string()),
        Value::Number(number) => Coerced::Text(number.to_string()),
        Value::String(text) if text.trim().is_empty() => Coerced::Empty,
        Value::String(text) => Coerced::Text(text.clone()),
        Value::Array(items) => match items.as_slice() {
            [] => Coerced::Absent,
            [Value::Array(_)] => Coerced::Unusable,
            [one] => coerce(one),
            _ => Coerced::Unusable,
        },
        Value::Object(_) => Coerced::Unusable,
    }
}

/// A whole number within reach of every 64-bit range, or how the text fails to be one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Whole {
    /// A number; fractions are cut off, since the contract admits "integer or float".
    Number(i128),
    /// A number beyond every range.
    Beyond,
    /// Not a number.
    NotANumber,
}

/// Reads a number as clients write it: `42`, `42.0`, `4.2e1`.
pub(crate) fn whole_number(text: &str) -> Whole {
    /// Floats up to here convert to `i128` without saturating; every range is far below.
    const REACH: f64 = 1e30;
    let text = text.trim();
    if let Ok(number) = text.parse::<i128>() {
        return Whole::Number(number);
    }
    // `parse::<f64>` also takes "inf" and "NaN", which no client means as a number.
    let looks_numeric = text.chars().any(|c| c.is_ascii_digit());
    match text.parse::<f64>() {
        // -0.5 must not pass as 0: what lies below zero stays below it.
        Ok(number) if looks_numeric && number.abs() < REACH => Whole::Number(if number < 0.0 {
            number.floor()
        } else {
            number.trunc()
        } as i128),
        Ok(_) if looks_numeric => Whole::Beyond,
        _ => Whole::NotANumber,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_spelling_of_a_value_becomes_one_text() {
        let text = |text: &str| Coerced::Text(text.to_owned());
        for (value, expected) in [
            (json!(null), Coerced::Absent),
            (json!([]), Coerced::Absent),
            (json!(""), Coerced::Empty),
            (json!("  \n"), Coerced::Empty),
            (json!([""]), Coerced::Empty),
            (json!(true), text("true")),
            (json!(42), text("42")),
            (json!(2.5), text("2.5")),
            (json!("42"), text("42")),
            (json!(["42"]), text("42")),
            (json!([42]), text("42")),
            (
                json!(18_446_744_073_709_551_615_u64),
                text("18446744073709551615"),
            ),
            (json!(["a", "b"]), Coerced::Unusable),
            (json!([["a"]]), Coerced::Unusable),
            (json!({ "a": 1 }), Coerced::Unusable),
        ] {
            assert_eq!(coerce(&value), expected, "{value}");
        }
    }

    #[test]
    fn numbers_are_read_as_clients_write_them() {
        for (text, expected) in [
            ("42", Whole::Number(42)),
            (" 42 ", Whole::Number(42)),
            ("+42", Whole::Number(42)),
            ("-1", Whole::Number(-1)),
            ("42.0", Whole::Number(42)),
            ("42.9", Whole::Number(42)),
            ("-0.5", Whole::Number(-1)),
            ("4.2e1", Whole::Number(42)),
            ("18446744073709551615", Whole::Number(u64::MAX.into())),
            (
                "18446744073709551616",
                Whole::Number(i128::from(u64::MAX) + 1),
            ),
            ("1e400", Whole::Beyond),
            ("1e31", Whole::Beyond),
            ("inf", Whole::NotANumber),
            ("NaN", Whole::NotANumber),
            ("forty-two", Whole::NotANumber),
            ("42abc", Whole::NotANumber),
            ("0x2a", Whole::NotANumber),
        ] {
            assert_eq!(whole_number(text), expected, "{text}");
        }
    }
}
