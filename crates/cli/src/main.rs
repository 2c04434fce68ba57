//! The one binary, `tintype`: parses the command line and hands over to a command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod administration;
mod assembly;
mod bench;
mod compute_settings;
mod data_folder;
mod doctor;
mod edit;
mod engine_settings;
mod engine_states;
mod generate;
mod greeting;
mod key_variable;
mod library;
mod logs;
mod lora_command;
mod lora_settings;
mod machine;
mod model_command;
mod models;
mod models_settings;
mod moderation;
mod moderation_command;
mod nano_command;
mod picture_classifier;
mod picture_command;
mod picture_file;
mod project;
mod project_limits;
mod retention;
mod serve;
mod settings;
mod signals;
mod table;
mod tidy;
mod upsample;
mod upsampling;
mod webhook;

/// Pictures from models of the FLUX family: an image service of your own, in one binary.
#[derive(Debug, Parser)]
#[command(
    name = "tintype",
    version,
    propagate_version = true,
    max_term_width = 100
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service.
    Serve(serve::ServeArguments),
    /// Draw a picture from a prompt, without a server.
    Generate(generate::GenerateArguments),
    /// Change a picture as an instruction says, without a server.
    Edit(edit::EditArguments),
    /// Fetch models, see which are here, check and remove them.
    #[command(subcommand)]
    Model(model_command::ModelCommand),
    /// Show what a prompt would be rewritten to, without drawing.
    ///
    /// [upsampling] in the configuration says who rewrites prompts.
    Upsample(upsample::UpsampleArguments),
    /// See what the bundled model understands.
    #[command(subcommand)]
    Nano(nano_command::NanoCommand),
    /// Make and manage projects.
    #[command(subcommand)]
    Project(project::ProjectCommand),
    /// Remove what is old and what nothing points at, once.
    ///
    /// A server does the same by itself every hour. It may be done while one runs on the same data
    /// folder. [retention] in the configuration says what is old.
    Tidy(tidy::TidyArguments),
    /// Look at what the service needs on this machine, and say what to do about what is wrong.
    ///
    /// Nothing is changed, and a server may run meanwhile. The status is 1 if something is wrong.
    Doctor(doctor::DoctorArguments),
    /// See what moderation makes of a prompt.
    #[command(subcommand)]
    Moderation(moderation_command::ModerationCommand),
    /// See which LoRAs there are, and what they are.
    #[command(subcommand)]
    Lora(lora_command::LoraCommand),
    /// Measure what the service costs on this machine, and how fast it computes.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// See and repeat the reports that were sent to callback addresses.
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Serve(command) => command.run(),
        Command::Generate(command) => command.run(),
        Command::Edit(command) => command.run(),
        Command::Model(command) => command.run(),
        Command::Upsample(command) => command.run(),
        Command::Nano(command) => command.run(),
        Command::Project(command) => command.run(),
        Command::Tidy(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Moderation(command) => command.run(),
        Command::Lora(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Webhook(command) => command.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tintype: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
#[path = "help_tests.rs"]
mod help_tests;
