//! How the bundled model is made, from its own files.

use serde_json::Value;

/// A number in one of its files.
fn number(file: &str, name: &str) -> usize {
    let found = tintype_nano::files().iter().find(|(path, _)| *path == file);
    let (_, content) = found.unwrap_or_else(|| panic!("no file {file}"));
    let content: Value = serde_json::from_slice(content).expect("JSON");
    let number = content[name].as_u64().expect("a number");
    usize::try_from(number).expect("a small one")
}

/// The width of its transformer's blocks.
pub fn width() -> usize {
    let config = "transformer/config.json";
    number(config, "num_attention_heads") * number(config, "attention_head_dim")
}

/// How many double-stream blocks it has.
pub fn double_blocks() -> usize {
    number("transformer/config.json", "num_layers")
}

/// The side of its square pictures in pixels.
pub fn side() -> usize {
    number("tintype.json", "native_area").isqrt()
}
