//! The help texts, as published.

use clap::CommandFactory;

use super::*;

/// The help texts are read by people: a change of them is seen in review.
#[test]
fn help_reads_as_published() {
    let paths: &[&[&str]] = &[
        &[],
        &["serve"],
        &["generate"],
        &["edit"],
        &["model"],
        &["model", "pull"],
        &["model", "list"],
        &["model", "remove"],
        &["model", "verify"],
        &["model", "inspect"],
        &["upsample"],
        &["nano", "explain"],
        &["project", "create"],
        &["project", "set"],
        &["project", "list"],
        &["tidy"],
        &["doctor"],
        &["moderation", "check"],
        &["lora", "list"],
        &["lora", "inspect"],
        &["bench"],
        &["bench", "api"],
        &["bench", "block"],
        &["project", "show"],
        &["webhook", "list"],
        &["webhook", "redeliver"],
    ];
    for path in paths {
        let mut command = Arguments::command().term_width(90);
        command.build();
        let command = path.iter().fold(&mut command, |command, name| {
            command.find_subcommand_mut(name).expect("a subcommand")
        });
        let name = if path.is_empty() {
            "tintype".to_owned()
        } else {
            path.join("_")
        };
        insta::assert_snapshot!(format!("help_{name}"), command.render_long_help());
    }
}

#[test]
fn the_command_line_is_consistent() {
    Arguments::command().debug_assert();
}
