//! `tintype upsample`: shows what a prompt would be rewritten to, without drawing.

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::json;
use tintype_engine::upsampling::{Purpose, Upsampler, Wish};
use tintype_service::upsampling::rewrite;

use crate::machine::Machine;
use crate::settings::{ConfigFile, Overrides, Settings, Source};
use crate::upsampling::UpsamplingSettings;

/// The command line of `upsample`.
#[derive(Debug, Args)]
pub struct UpsampleArguments {
    /// The prompt, or the instruction of an edit.
    prompt: String,
    /// It is an instruction of an edit.
    #[arg(long)]
    edit: bool,
    /// The same seed gives the same rewriting, as far as what rewrites allows it.
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// The model that would draw [default: that of the configuration].
    #[arg(
        long,
        value_name = "NAME|DIR",
        env = "TINTYPE_MODEL",
        hide_env_values = true
    )]
    model: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl UpsampleArguments {
    /// Prints the rewriting.
    ///
    /// # Errors
    /// Nobody rewrites, or he does not.
    pub fn run(self) -> anyhow::Result<()> {
        let settings = Settings::load(self.file.config.as_deref(), Overrides::default())?;
        let model = self.model.unwrap_or_else(|| settings.model.clone());
        let upsampler = upsampler(&settings, &model)?;
        let wish = Wish {
            prompt: self.prompt.clone(),
            purpose: if self.edit {
                Purpose::Edit
            } else {
                Purpose::Picture
            },
            seed: self.seed,
        };
        let text = rewritten(upsampler.as_ref(), wish)?;
        if self.json {
            let upsampler = upsampler.name();
            println!(
                "{}",
                json!({ "prompt": self.prompt, "upsampled_prompt": text, "upsampler": upsampler })
            );
        } else {
            println!("{text}");
        }
        Ok(())
    }
}

/// Who rewrites prompts for a model on this machine, by the settings for all tools.
///
/// # Errors
/// Nobody does, or he cannot be set up.
pub fn upsampler(
    settings: &Settings,
    model: &str,
) -> anyhow::Result<std::sync::Arc<dyn Upsampler>> {
    let of_all: &UpsamplingSettings = &settings.upsampling;
    let plan = of_all
        .plan(&[Source::Local(model.to_owned())])
        .context("[upsampling]")?;
    let nobody = || {
        anyhow!(
            "no upsampler is set up for {model}: set [upsampling] in the configuration \
             (docs/configuration.md)"
        )
    };
    plan.open(settings, &Machine::of(settings)?)?
        .ok_or_else(nobody)
}

/// One attempt and one retry, as a task gets.
///
/// # Errors
/// The reason why there is no rewriting.
pub fn rewritten(upsampler: &dyn Upsampler, wish: Wish) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(rewrite(upsampler, wish));
    done.map_err(|why| anyhow!("the upsampler {} {why}", upsampler.name()))
}
