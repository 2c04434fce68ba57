//! The bundled model's upsampler: it fills in what a prompt leaves open, in the model's own language.

use async_trait::async_trait;

use crate::upsampling::{NotUpsampled, Purpose, Upsampler, Wish};

/// Rewrites prompts of the bundled model's language, at once and without a model.
#[derive(Debug, Clone, Copy, Default)]
pub struct NanoUpsampler;

#[async_trait]
impl Upsampler for NanoUpsampler {
    fn name(&self) -> &str {
        tintype_nano::NAME
    }

    async fn rewrite(&self, wish: &Wish) -> Result<String, NotUpsampled> {
        let rewrite = match wish.purpose {
            Purpose::Picture => tintype_nano::upsample,
            Purpose::Edit => tintype_nano::upsample_edit,
        };
        rewrite(&wish.prompt, wish.seed).ok_or(NotUpsampled::Foreign)
    }
}
