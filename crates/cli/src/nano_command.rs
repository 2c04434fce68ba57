//! `tintype nano`: the bundled model's language.

use clap::{Args, Subcommand};
use tintype_nano::explain::{explain, explain_edit};

/// The command line of `nano`.
#[derive(Debug, Subcommand)]
pub enum NanoCommand {
    /// Show what the bundled model makes of a prompt: what it knows, and what it was not taught.
    ///
    /// Read from the words alone; nothing is drawn. What is not said, the model chooses.
    Explain(ExplainArguments),
}

/// The command line of `nano explain`.
#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// The prompt, or the instruction of an edit.
    prompt: String,
    /// It is an instruction of an edit.
    #[arg(long)]
    edit: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl NanoCommand {
    /// Prints what was understood.
    ///
    /// # Errors
    /// None but those of writing JSON.
    pub fn run(self) -> anyhow::Result<()> {
        let Self::Explain(arguments) = self;
        let found = if arguments.edit {
            explain_edit(&arguments.prompt)
        } else {
            explain(&arguments.prompt)
        };
        if arguments.json {
            println!("{}", serde_json::to_string_pretty(&found)?);
        } else {
            print!("{found}");
        }
        Ok(())
    }
}
