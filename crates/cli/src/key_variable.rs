//! Keys of other services: settings name the environment variable that holds one.

use anyhow::{anyhow, bail};

/// Variables that begin so are settings.
const OUR_PREFIX: &str = "TINTYPE_";

/// The key in the variable that `key_env` names; none where it names none.
///
/// # Errors
/// The variable is not set, or is one of this program's settings.
pub fn read(key_env: Option<&str>) -> anyhow::Result<Option<String>> {
    let Some(name) = key_env else {
        return Ok(None);
    };
    if name.starts_with(OUR_PREFIX) {
        bail!("key_env names a variable that begins with {OUR_PREFIX}: those are settings");
    }
    let key = std::env::var(name).ok().filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| anyhow!("the variable {name} that holds the key is not set"))?;
    Ok(Some(key))
}
