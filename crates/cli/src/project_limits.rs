//! `tintype project set` and `list`: what projects may use, and what they use.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use tintype_domain::money::{display_micros, parse_micros};
use tintype_domain::{Price, Priced, ToolSlug};
use tintype_service::{ProjectReport, Service};
use tintype_store::{AccountChange, BalanceChange};

use crate::assembly;
use crate::data_folder::DataFolder;

/// The word for no limit.
const UNLIMITED: &str = "unlimited";

/// The command line of `project set`.
#[derive(Debug, Args)]
pub struct SetArguments {
    /// The project's name.
    name: String,
    /// How many of its tasks may wait or run at the same time: a number, or "unlimited".
    #[arg(long, value_name = "N", value_parser = limit)]
    concurrency: Option<Limit<u32>>,
    /// What it may spend: an amount such as 50.00, or "unlimited". The price of a task is
    /// reserved while it waits and runs, and paid when it succeeds.
    #[arg(long, value_name = "AMOUNT", value_parser = amount_limit)]
    balance: Option<Limit<i64>>,
    /// Add to what it may spend.
    #[arg(long, value_name = "AMOUNT", value_parser = amount, conflicts_with = "balance")]
    add_balance: Option<i64>,
    /// What a successful run costs: owner/model=0.04, or *=0.04 for all tools without a price of
    /// their own; "none" takes a price off the list. May be given more than once. It holds for
    /// tasks that are submitted from now on.
    #[arg(long = "price", value_name = "TOOL=AMOUNT", value_parser = price)]
    prices: Vec<(Priced, Option<i64>)>,
    /// Its share of the machine when several projects want it: one of weight 2 gets twice as much
    /// as one of weight 1, the usual. For tasks that are submitted from now on.
    #[arg(long, value_name = "WEIGHT")]
    weight: Option<u32>,
    /// Tasks of a higher priority go first, always: while there are any, lower ones wait,
    /// however long. The usual is 0. For tasks that wait, too.
    #[arg(long, value_name = "PRIORITY", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Whether a nonce that was used before is refused.
    #[arg(long, value_name = "true|false")]
    strict_nonce: Option<bool>,
    #[command(flatten)]
    place: Place,
}

/// The command line of `project list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Place {
    /// The folder of the service [default: ~/.local/share/tintype].
    #[arg(long, value_name = "DIR", env = "TINTYPE_DATA", hide_env_values = true)]
    data: Option<PathBuf>,
    /// Print a line of JSON for each project.
    #[arg(long)]
    json: bool,
}

/// A limit, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit<T> {
    None,
    Of(T),
}

fn limit(text: &str) -> Result<Limit<u32>, String> {
    match text {
        UNLIMITED => Ok(Limit::None),
        number => number
            .parse()
            .map(Limit::Of)
            .map_err(|_| format!("write a whole number, or \"{UNLIMITED}\"")),
    }
}

fn amount_limit(text: &str) -> Result<Limit<i64>, String> {
    match text {
        UNLIMITED => Ok(Limit::None),
        text => amount(text).map(Limit::Of),
    }
}

fn amount(text: &str) -> Result<i64, String> {
    parse_micros(text).map_err(|error| error.to_string())
}

fn price(text: &str) -> Result<(Priced, Option<i64>), String> {
    let (tool, price) = text
        .split_once('=')
        .ok_or("write it like owner/model=0.04, *=0.04 or owner/model=none")?;
    let of = match tool.split_once('/') {
        _ if tool == "*" => Priced::Any,
        Some((owner, model)) => Priced::Tool(ToolSlug::new(owner, model)),
        None => return Err(format!("\"{tool}\" is neither owner/model nor *")),
    };
    let micros = match price {
        "none" => None,
        price => Some(amount(price)?),
    };
    Ok((of, micros))
}

impl SetArguments {
    fn change(&self) -> AccountChange {
        let balance = self.balance.map(|balance| match balance {
            Limit::None => BalanceChange::Unlimited,
            Limit::Of(micros) => BalanceChange::Set(micros),
        });
        AccountChange {
            concurrency: self.concurrency.map(|limit| match limit {
                Limit::None => None,
                Limit::Of(number) => Some(number),
            }),
            balance: balance.or(self.add_balance.map(BalanceChange::Add)),
            weight: self.weight,
            priority: self.priority,
            prices: self.prices.clone(),
            strict_nonce: self.strict_nonce,
        }
    }
}

impl Place {
    async fn service(&self) -> anyhow::Result<Arc<Service>> {
        assembly::service_beside(&DataFolder::named(self.data.clone())?).await
    }

    fn print(&self, report: &ProjectReport) -> anyhow::Result<()> {
        let printed = Printed::of(report);
        if self.json {
            println!("{}", serde_json::to_string(&printed)?);
        } else {
            print!("{}", printed.text());
        }
        Ok(())
    }
}

/// Changes a project, and shows it as it is then.
///
/// # Errors
/// What does not fit, for the person at the terminal.
pub async fn set(arguments: SetArguments) -> anyhow::Result<()> {
    let service = arguments.place.service().await?;
    let change = arguments.change();
    let report = service.change_project(&arguments.name, change).await?;
    arguments.place.print(&report)
}

/// Shows all projects.
///
/// # Errors
/// When the data folder cannot be read.
pub async fn list(arguments: ListArguments) -> anyhow::Result<()> {
    let reports = arguments.place.service().await?.project_reports().await?;
    for (index, report) in reports.iter().enumerate() {
        if index > 0 && !arguments.place.json {
            println!();
        }
        arguments.place.print(report)?;
    }
    Ok(())
}

/// A project for people and programs. Amounts are decimal texts; what is unlimited is `null`.
#[derive(Serialize)]
struct Printed {
    name: String,
    api_key: String,
    strict_nonce: bool,
    concurrency: Option<u32>,
    active: u64,
    balance: Option<String>,
    available: Option<String>,
    reserved: String,
    spent: String,
    weight: u32,
    priority: i32,
    prices: Vec<PrintedPrice>,
}

#[derive(Serialize)]
struct PrintedPrice {
    tool: String,
    price: String,
}

impl Printed {
    fn of(report: &ProjectReport) -> Self {
        let account = &report.account;
        Self {
            name: report.project.name.clone(),
            api_key: report.project.api_key.clone(),
            strict_nonce: report.project.strict_nonce,
            concurrency: account.concurrency,
            active: account.active,
            balance: account.balance_micros.map(display_micros),
            available: account.available_micros().map(display_micros),
            reserved: display_micros(account.reserved_micros),
            spent: display_micros(account.spent_micros),
            weight: account.weight,
            priority: account.priority,
            prices: report.prices.iter().map(PrintedPrice::of).collect(),
        }
    }

    fn text(&self) -> String {
        let unlimited = || UNLIMITED.to_owned();
        let concurrency = self
            .concurrency
            .map_or_else(unlimited, |limit| limit.to_string());
        let balance = self.balance.clone().unwrap_or_else(unlimited);
        let nonces = if self.strict_nonce {
            "once each"
        } else {
            "any"
        };
        let mut lines = vec![
            ("project", self.name.clone()),
            ("API key", self.api_key.clone()),
            ("nonces", nonces.to_owned()),
            ("tasks", format!("{} of {concurrency}", self.active)),
            (
                "balance",
                format!("{balance}, {} of it reserved", self.reserved),
            ),
            ("spent", self.spent.clone()),
            ("weight", self.weight.to_string()),
            ("priority", self.priority.to_string()),
        ];
        let prices = self.prices.iter();
        lines.extend(prices.map(|price| ("price", format!("{} {}", price.price, price.tool))));
        let lines = lines
            .iter()
            .map(|(name, value)| format!("{name:<11} {value}\n"));
        lines.collect()
    }
}

impl PrintedPrice {
    fn of(price: &Price) -> Self {
        Self {
            tool: match &price.of {
                Priced::Any => "*".to_owned(),
                Priced::Tool(tool) => tool.to_string(),
            },
            price: display_micros(price.micros),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_read() {
        let tool = Priced::Tool(ToolSlug::new("a", "b"));
        assert_eq!(price("a/b=0.04"), Ok((tool.clone(), Some(40_000))));
        assert_eq!(price("*=1"), Ok((Priced::Any, Some(1_000_000))));
        assert_eq!(price("a/b=none"), Ok((tool, None)));
        for text in ["a/b", "b=1", "a/b=", "a/b=-1", "a/b=0.0000001", "=1"] {
            assert!(price(text).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_are_read() {
        assert_eq!(limit("5"), Ok(Limit::Of(5)));
        assert_eq!(limit("unlimited"), Ok(Limit::None));
        assert!(limit("-1").is_err() && limit("").is_err());
        assert_eq!(amount_limit("50.00"), Ok(Limit::Of(50_000_000)));
        assert_eq!(amount_limit("unlimited"), Ok(Limit::None));
    }
}
