//! Parameters of this service that tools take besides their published form: one file says what each
//! of them is, and the tools' files name those that they take.

use std::sync::LazyLock;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::Input;

static EXTRAS: LazyLock<Vec<Input>> = LazyLock::new(|| {
    let file = include_str!("../tools/extras.json");
    serde_json::from_str(file).expect("the built-in parameters are readable; this is a bug")
});

/// The inputs that a tool's file names.
///
/// # Errors
/// A name that is not there.
pub(crate) fn named<'de, D: Deserializer<'de>>(file: D) -> Result<Vec<Input>, D::Error> {
    let names = Vec::<String>::deserialize(file)?;
    let input = |name: &String| EXTRAS.iter().find(|input| input.id == *name).cloned();
    let unknown = |name| D::Error::custom(format!("there is no extra parameter {name}"));
    let inputs = names
        .iter()
        .map(|name| input(name).ok_or_else(|| unknown(name)));
    inputs.collect()
}
