//! `tintype moderation`: what the rules see in a prompt, and the rules that ship with the program.

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use serde::Serialize;
use tintype_moderation::{BUILTIN_RULES, Match, Origin, RuleSet, Thresholds, Tolerance};

use crate::settings::{ConfigFile, Overrides, Settings};

/// The command line of `moderation`.
#[derive(Debug, Subcommand)]
pub enum ModerationCommand {
    /// Show what the rules see in a prompt, and whether it would be let through.
    ///
    /// Uses the rules and thresholds of the configuration. A moderation server is not asked.
    Check(CheckArguments),
    /// Print the rules that ship with the program: a file to begin with.
    Rules,
}

/// The command line of `moderation check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The prompt.
    prompt: String,
    /// How much is let through: 0 (strictest) to 6.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=6))]
    tolerance: u8,
    #[command(flatten)]
    file: ConfigFile,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What the rules say of one prompt.
#[derive(Debug, Serialize)]
struct Report {
    tolerance: u8,
    /// The category that a task would end with.
    moderated: Option<String>,
    categories: Vec<Line>,
    rules: Vec<Rule>,
}

#[derive(Debug, Serialize)]
struct Line {
    category: &'static str,
    score: f32,
    threshold: Option<f32>,
    moderated: bool,
}

#[derive(Debug, Serialize)]
struct Rule {
    category: &'static str,
    score: f32,
    line: usize,
    builtin: bool,
}

impl ModerationCommand {
    /// Prints what was asked for.
    ///
    /// # Errors
    /// When the configuration or its rule file cannot be read.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Rules => {
                print!("{BUILTIN_RULES}");
                Ok(())
            }
            Self::Check(arguments) => arguments.run(),
        }
    }
}

impl CheckArguments {
    fn run(self) -> anyhow::Result<()> {
        let settings = Settings::load(self.file.config.as_deref(), Overrides::default())?;
        let rules = settings.moderation.rule_set()?;
        let thresholds = settings.moderation.thresholds()?;
        let tolerance =
            Tolerance::new(self.tolerance).ok_or_else(|| anyhow!("a tolerance is from 0 to 6"))?;
        let report = Report::of(&rules, &thresholds, &self.prompt, tolerance);
        if self.json {
            let json = serde_json::to_string_pretty(&report).context("cannot be printed")?;
            println!("{json}");
        } else {
            print!("{}", report.text());
        }
        Ok(())
    }
}

impl Report {
    fn of(rules: &RuleSet, thresholds: &Thresholds, prompt: &str, tolerance: Tolerance) -> Self {
        let scores = rules.scores(prompt);
        let lines = scores.seen().map(|(category, score)| {
            let threshold = thresholds.threshold(category, tolerance);
            Line {
                category: category.name(),
                score,
                threshold: (threshold <= 1.0).then_some(threshold),
                moderated: score >= threshold,
            }
        });
        Self {
            tolerance: tolerance.level(),
            moderated: thresholds
                .reached(&scores, tolerance)
                .map(|category| category.to_string()),
            categories: lines.collect(),
            rules: rules.matches(prompt).iter().map(Rule::of).collect(),
        }
    }

    fn text(&self) -> String {
        let mut text = match &self.moderated {
            Some(category) => format!("Request moderated: {category}\n"),
            None => "let through\n".to_owned(),
        };
        if self.categories.is_empty() {
            return text;
        }
        text += &format!(
            "\n{:<18} {:>5}  threshold at tolerance {}\n",
            "category", "score", self.tolerance
        );
        for line in &self.categories {
            let threshold = line
                .threshold
                .map_or("–".to_owned(), |threshold| format!("{threshold:.2}"));
            let verdict = if line.moderated { "  moderated" } else { "" };
            text += &format!(
                "{:<18} {:>5.2}  {threshold}{verdict}\n",
                line.category, line.score
            );
        }
        text += "\n";
        for rule in &self.rules {
            let whose = if rule.builtin { "built-in" } else { "own" };
            text += &format!(
                "{whose} rule in line {}: {} {:.2}\n",
                rule.line, rule.category, rule.score
            );
        }
        text
    }
}

impl Rule {
    fn of(found: &Match) -> Self {
        Self {
            category: found.category.name(),
            score: found.score,
            line: found.line,
            builtin: found.origin == Origin::Builtin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_s_report_reads_as_published() {
        let rules = "[[rule]]\ncategory = \"hate\"\nscore = 0.5\nphrases = [\"marmalade\"]\n\
                     [[rule]]\ncategory = \"violence\"\nscore = 0.3\nphrases = [\"toast\"]\n";
        let rules = RuleSet::parse(rules).expect("rules");
        let report = |prompt, level| {
            let tolerance = Tolerance::new(level).expect("a level");
            Report::of(&rules, &Thresholds::default(), prompt, tolerance).text()
        };
        let text = [
            report("toast with marmalade", 2),
            report("toast", 6),
            report("jam", 0),
        ];
        insta::assert_snapshot!("moderation_check", text.join("----\n"));
    }
}
