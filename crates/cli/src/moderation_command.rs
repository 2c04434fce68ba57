//! `tintype moderation`: what is seen in a prompt or a picture, and the rules that ship with the program.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use serde::Serialize;
use tintype_moderation::{BUILTIN_RULES, Match, Origin, RuleSet, Scores, Thresholds, Tolerance};
use tintype_vision::Seen;

use crate::machine::Machine;
use crate::picture_classifier::DEFAULT_MODEL;
use crate::picture_file;
use crate::settings::{ConfigFile, Overrides, Settings};

/// The command line of `moderation`.
#[derive(Debug, Subcommand)]
pub enum ModerationCommand {
    /// Show what the rules see in a prompt, or the classifier in a picture, and whether it would be
    /// let through.
    ///
    /// Uses the rules, the classifier and the thresholds of the configuration. A moderation server is
    /// not asked.
    Check(CheckArguments),
    /// Print the rules that ship with the program: a file to begin with.
    Rules,
}

/// The command line of `moderation check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The prompt.
    #[arg(required_unless_present = "picture", conflicts_with = "picture")]
    prompt: Option<String>,
    /// A picture (JPEG, PNG or WebP) in the place of a prompt.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// How much is let through: 0 (strictest) to 6.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=6))]
    tolerance: u8,
    #[command(flatten)]
    file: ConfigFile,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What is said of one prompt or picture.
#[derive(Debug, Serialize)]
struct Report {
    tolerance: u8,
    /// The category that a task would end with.
    moderated: Option<String>,
    categories: Vec<Line>,
    /// Of a prompt: the rules that found something.
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<Vec<Rule>>,
    /// Of a picture: what the classifier saw.
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<Label>>,
}

#[derive(Debug, Serialize)]
struct Label {
    label: String,
    score: f32,
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
        let report = self.report()?;
        if self.json {
            let json = serde_json::to_string_pretty(&report).context("cannot be printed")?;
            println!("{json}");
        } else {
            print!("{}", report.text());
        }
        Ok(())
    }

    fn report(&self) -> anyhow::Result<Report> {
        let settings = Settings::load(self.file.config.as_deref(), Overrides::default())?;
        let thresholds = settings.moderation.thresholds()?;
        let tolerance =
            Tolerance::new(self.tolerance).ok_or_else(|| anyhow!("a tolerance is from 0 to 6"))?;
        if let Some(file) = &self.picture {
            let picture = picture_file::read(file)?;
            let classifier = settings
                .moderation
                .classifier(&settings.data, &Machine::of(&settings)?)?;
            let classifier = classifier.ok_or_else(|| {
                anyhow!(
                    "no classifier judges pictures here; get one: tintype model pull {DEFAULT_MODEL}"
                )
            })?;
            let (seen, scores) = classifier.look(&picture);
            return Ok(Report::of_picture(seen, &scores, &thresholds, tolerance));
        }
        let rules = settings.moderation.rule_set()?;
        let prompt = self.prompt.as_deref().unwrap_or_default();
        Ok(Report::of(&rules, &thresholds, prompt, tolerance))
    }
}

impl Report {
    fn of(rules: &RuleSet, thresholds: &Thresholds, prompt: &str, tolerance: Tolerance) -> Self {
        let found = rules.matches(prompt).iter().map(Rule::of).collect();
        Self {
            rules: Some(found),
            ..Self::of_scores(&rules.scores(prompt), thresholds, tolerance)
        }
    }

    fn of_picture(
        seen: Vec<Seen>,
        scores: &Scores,
        thresholds: &Thresholds,
        tolerance: Tolerance,
    ) -> Self {
        let labels = seen.into_iter().map(|seen| Label {
            label: seen.label,
            score: seen.score,
        });
        Self {
            labels: Some(labels.collect()),
            ..Self::of_scores(scores, thresholds, tolerance)
        }
    }

    fn of_scores(scores: &Scores, thresholds: &Thresholds, tolerance: Tolerance) -> Self {
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
                .reached(scores, tolerance)
                .map(|category| category.to_string()),
            categories: lines.collect(),
            rules: None,
            labels: None,
        }
    }

    fn text(&self) -> String {
        let mut text = match &self.moderated {
            Some(category) if self.labels.is_some() => format!("Content moderated: {category}\n"),
            Some(category) => format!("Request moderated: {category}\n"),
            None => "let through\n".to_owned(),
        };
        self.add_categories(&mut text);
        for label in self.labels.iter().flatten() {
            text += &format!("the classifier sees {}: {:.2}\n", label.label, label.score);
        }
        for rule in self.rules.iter().flatten() {
            let whose = if rule.builtin { "built-in" } else { "own" };
            text += &format!(
                "{whose} rule in line {}: {} {:.2}\n",
                rule.line, rule.category, rule.score
            );
        }
        text
    }

    fn add_categories(&self, text: &mut String) {
        if self.categories.is_empty() {
            return;
        }
        *text += &format!(
            "\n{:<18} {:>5}  threshold at tolerance {}\n",
            "category", "score", self.tolerance
        );
        for line in &self.categories {
            let threshold = line
                .threshold
                .map_or("–".to_owned(), |threshold| format!("{threshold:.2}"));
            let verdict = if line.moderated { "  moderated" } else { "" };
            *text += &format!(
                "{:<18} {:>5.2}  {threshold}{verdict}\n",
                line.category, line.score
            );
        }
        *text += "\n";
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
