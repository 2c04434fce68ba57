//! Reading single fields of a request, in whatever JSON type a client chose for them.

use std::ops::RangeInclusive;

use serde_json::Value;
use tintype_catalog::InputError;
use tintype_service::{RawInputs, RawValue};

use crate::errors::{ApiError, Kind};

/// Whole numbers beyond this are no counts; every float up to here is exact.
const MAX_COUNT: u64 = 1 << 53;

/// Any count.
pub(crate) const ANY_COUNT: RangeInclusive<u64> = 0..=MAX_COUNT;

/// What a field says, without blanks around it; `None` if it did not come or came empty.
pub(crate) fn text(inputs: &RawInputs, name: &str) -> Option<String> {
    let (_, value) = inputs.iter().find(|(given, _)| given == name)?;
    let RawValue::Json(value) = value else {
        return None;
    };
    let text = as_text(value)?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// A whole number, as `20`, `"20"` or `20.0`; `None` if it did not come or came empty.
///
/// # Errors
/// [`Kind::InvalidInputs`] for what is no number, or one out of the range.
pub(crate) fn count(
    inputs: &RawInputs,
    name: &str,
    range: RangeInclusive<u64>,
) -> Result<Option<u64>, ApiError> {
    let Some(text) = text(inputs, name) else {
        return Ok(None);
    };
    let id = name.to_owned();
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    let Some(number) = number.map(f64::trunc) else {
        return Err(refused(&InputError::NotANumber { id }));
    };
    let (min, max) = (*range.start(), *range.end());
    // Both ends are exact as floats: see `MAX_COUNT`.
    if number < min as f64 || number > max as f64 {
        return Err(refused(&InputError::OutOfRange { id, min, max }));
    }
    Ok(Some(number as u64))
}

/// A field that the caller finds fault with, in the words that runs use.
pub(crate) fn refused(error: &InputError) -> ApiError {
    ApiError::with_sentences(Kind::InvalidInputs, vec![error.to_string()])
}

/// Numbers, texts and lists of one of these.
fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) if items.len() == 1 => match &items[0] {
            Value::Array(_) => None,
            item => as_text(item),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> RawInputs {
        vec![("limit".to_owned(), RawValue::Json(value))]
    }

    #[test]
    fn counts_are_read_from_every_type() {
        for value in [
            json!(20),
            json!("20"),
            json!(" 20 "),
            json!(["20"]),
            json!(20.0),
        ] {
            assert_eq!(
                count(&of(value.clone()), "limit", ANY_COUNT),
                Ok(Some(20)),
                "{value}"
            );
        }
        for value in [json!(""), json!(null), json!([]), json!({"a": 1})] {
            assert_eq!(
                count(&of(value.clone()), "limit", ANY_COUNT),
                Ok(None),
                "{value}"
            );
        }
    }

    #[test]
    fn what_is_no_count_is_refused_by_name() {
        let sentence = |value: Value, range| {
            let refused = count(&of(value), "limit", range).expect_err("it is refused");
            assert_eq!(refused.kind(), Kind::InvalidInputs);
            refused
        };
        let not_a_number = InputError::NotANumber {
            id: "limit".to_owned(),
        };
        for value in [json!("many"), json!("NaN"), json!("inf"), json!("1e999")] {
            assert_eq!(sentence(value, ANY_COUNT), refused(&not_a_number));
        }
        let out_of_range = InputError::OutOfRange {
            id: "limit".to_owned(),
            min: 0,
            max: 9,
        };
        for value in [json!(-1), json!("10"), json!(1e300)] {
            assert_eq!(sentence(value, 0..=9), refused(&out_of_range));
        }
    }
}
