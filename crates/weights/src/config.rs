//! What every reader of a `config.json` does: its error, its class, sizes within reason, activations
//! by their names.

use serde::de::DeserializeOwned;
use tintype_compute::Activation;

/// Why a `config.json` was refused.
#[derive(Debug, thiserror::Error)]
#[error("config.json of the {component}: {reason}")]
pub struct Error {
    /// Which model.
    pub component: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// Deserialises a configuration whose `class_key`, if there is one, must name a known class.
///
/// # Errors
/// It is not such JSON, or of another class.
pub fn parse<T: DeserializeOwned>(
    component: &'static str,
    class_key: &str,
    classes: &[&str],
    json: &str,
) -> Result<T, Error> {
    let error = |reason: serde_json::Error| Error {
        component,
        reason: reason.to_string(),
    };
    let value: serde_json::Value = serde_json::from_str(json).map_err(error)?;
    if let Some(class) = value.get(class_key).and_then(|class| class.as_str()) {
        check(
            component,
            classes.contains(&class),
            &format!(
                "{class_key} is `{class}`; expected `{}`",
                classes.join("` or `")
            ),
        )?;
    }
    serde_json::from_value(value).map_err(error)
}

/// No width of a model is above this; products of a few widths stay far from overflowing.
pub const MAX_SIZE: usize = 1 << 20;

/// Holds a configuration's sizes against what any model may have.
///
/// # Errors
/// One is 0 or absurd.
pub fn check_sizes(component: &'static str, sizes: &[usize]) -> Result<(), Error> {
    let fits = sizes.iter().all(|size| (1..=MAX_SIZE).contains(size));
    let reason = format!("a size is 0 or above {MAX_SIZE}");
    check(component, fits, &reason)
}

/// `reason` as an error unless `holds`.
///
/// # Errors
/// The reason.
pub fn check(component: &'static str, holds: bool, reason: &str) -> Result<(), Error> {
    if holds {
        return Ok(());
    }
    Err(Error {
        component,
        reason: reason.to_owned(),
    })
}

/// The activation that one of transformers' `ACT2FN` names means.
///
/// # Errors
/// The name is not known.
pub fn activation(component: &'static str, name: &str) -> Result<Activation, Error> {
    match name {
        "relu" => Ok(Activation::Relu),
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "quick_gelu" => Ok(Activation::QuickGelu),
        "silu" | "swish" => Ok(Activation::Silu),
        other => Err(Error {
            component,
            reason: format!("unknown activation `{other}`"),
        }),
    }
}
