//! What PEFT, through diffusers, writes into a LoRA file's header about itself. Files without it, and
//! without tensors of the name `alpha`, are to be applied as they are.

use serde_json::{Map, Value};

use super::names::Component;
use crate::weights::Weights;

/// Under this name, as JSON: each component's `LoraConfig`, its name and a point before every field.
const ENTRY: &str = "lora_adapter_metadata";

/// The `LoraConfig`s of a file.
#[derive(Debug, Default)]
pub(super) struct Configs(Map<String, Value>);

impl Configs {
    /// Out of a file's header. What cannot be read counts as not there.
    pub fn of(weights: &Weights) -> Self {
        Self::parse(entry(weights, ENTRY).unwrap_or_default())
    }

    fn parse(json: &str) -> Self {
        Self(serde_json::from_str(json).unwrap_or_default())
    }

    /// What a layer's product is multiplied by; 1 if nothing is said of it.
    pub fn scale(&self, component: Component, layer: &str, rank: usize) -> f32 {
        let field = |name: &str| {
            let component = match component {
                Component::Transformer => "transformer",
                Component::Clip => "text_encoder",
            };
            self.0.get(&format!("{component}.{name}"))
        };
        let patterns = field("alpha_pattern").and_then(Value::as_object);
        let own = patterns.and_then(|patterns| patterns.iter().find(|(p, _)| matches(p, layer)));
        let alpha = own.map(|(_, alpha)| alpha).or(field("lora_alpha"));
        let Some(alpha) = alpha.and_then(Value::as_f64) else {
            return 1.0;
        };
        let rank = rank as f64;
        let divisor = match field("use_rslora").and_then(Value::as_bool) {
            Some(true) => rank.sqrt(),
            _ => rank,
        };
        (alpha / divisor) as f32
    }
}

/// What the header of a file says under this name.
pub(super) fn entry<'a>(weights: &'a Weights, name: &str) -> Option<&'a str> {
    weights.files().find_map(|file| file.metadata.text(name))
}

/// Whether PEFT means a layer by a name: its whole, or its last parts.
fn matches(pattern: &str, layer: &str) -> bool {
    let pattern = pattern.trim_start_matches('^');
    let before = layer.strip_suffix(pattern);
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::{Component, Configs};

    #[test]
    fn alpha_is_that_of_the_layer_or_that_of_all() {
        let configs = Configs::parse(
            r#"{"transformer.lora_alpha": 8, "transformer.alpha_pattern": {"attn.to_q": 2, "^proj_out": 4},
                "text_encoder.lora_alpha": 9, "text_encoder.use_rslora": true}"#,
        );
        let scale = |layer| configs.scale(Component::Transformer, layer, 4);
        assert_eq!(scale("transformer_blocks.0.attn.to_k"), 2.0);
        assert_eq!(scale("transformer_blocks.0.attn.to_q"), 0.5);
        assert_eq!(scale("proj_out"), 1.0);
        assert_eq!(
            configs.scale(Component::Clip, "encoder.layers.0.mlp.fc1", 9),
            3.0
        );
    }

    #[test]
    fn without_a_word_a_lora_is_applied_as_it_is() {
        for json in [
            "",
            "{}",
            "[1]",
            "no JSON",
            r#"{"transformer.lora_alpha": "much"}"#,
        ] {
            let scale = Configs::parse(json).scale(Component::Transformer, "proj_out", 4);
            assert_eq!(scale, 1.0, "{json}");
        }
        assert_eq!(Configs::default().scale(Component::Clip, "x", 3), 1.0);
    }
}
