//! What a project may use: its limits, its money and its share; and when a run is refused.

use crate::{ToolSlug, money::display_micros};

/// A project's limits, and what it uses of them. Everything is unlimited until someone decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Tasks that may wait or run at the same time; `None` is any number.
    pub concurrency: Option<u32>,
    /// Millionths that are left, those of `reserved_micros` included; `None` is no limit.
    pub balance_micros: Option<i64>,
    /// Its share of the machine, in proportion to the others' of the same priority.
    pub weight: u32,
    /// Tasks of a higher priority go first, always.
    pub priority: i32,
    /// Its tasks that wait or run.
    pub active: u64,
    /// The prices of those tasks.
    pub reserved_micros: i64,
    /// The prices of all tasks that succeeded, ever.
    pub spent_micros: i64,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            concurrency: None,
            balance_micros: None,
            weight: 1,
            priority: 0,
            active: 0,
            reserved_micros: 0,
            spent_micros: 0,
        }
    }
}

impl Account {
    /// What one more task may cost; `None` is no limit.
    pub fn available_micros(&self) -> Option<i64> {
        let balance = self.balance_micros?;
        Some(balance.saturating_sub(self.reserved_micros))
    }

    /// Whether one more task of this price may be queued. What is free needs no balance.
    ///
    /// # Errors
    /// The [`Refusal`], for the person who asked.
    pub fn admit(&self, price_micros: i64) -> Result<(), Refusal> {
        if let Some(limit) = self
            .concurrency
            .filter(|limit| self.active >= (*limit).into())
        {
            return Err(Refusal::ConcurrencyLimit {
                limit,
                balance_micros: self.balance_micros,
            });
        }
        match self.available_micros() {
            Some(available_micros) if price_micros > 0 && available_micros < price_micros => {
                Err(Refusal::InsufficientBalance {
                    available_micros,
                    price_micros,
                })
            }
            _ => Ok(()),
        }
    }
}

/// Why a task was not queued although its inputs are good. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// As many tasks as allowed wait or run.
    ConcurrencyLimit {
        /// How many.
        limit: u32,
        /// The project's balance, if it has one.
        balance_micros: Option<i64>,
    },
    /// The price is more than what is left.
    InsufficientBalance {
        /// What is left.
        available_micros: i64,
        /// What it would cost.
        price_micros: i64,
    },
    /// Another request was sent with the same idempotency key.
    KeyReused,
}

impl std::fmt::Display for Refusal {
    /// The sentence for the client. The first one, with a balance, is published word for word.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ConcurrencyLimit {
                limit,
                balance_micros,
            } => {
                f.write_str("You have reached your concurrent task limit. ")?;
                let tasks = if *limit == 1 { "task" } else { "tasks" };
                match balance_micros {
                    Some(balance) => write!(
                        f,
                        "With your current balance of ${}, you can run up to {limit} {tasks} at \
                         the same time. Add funds to increase your limit.",
                        display_micros(*balance)
                    ),
                    None => write!(
                        f,
                        "You can run up to {limit} {tasks} at the same time. Wait until one has \
                         ended, then try again."
                    ),
                }
            }
            Self::InsufficientBalance {
                available_micros,
                price_micros,
            } => write!(
                f,
                "Insufficient balance. A run costs ${}, and ${} of your balance is available. Add \
                 funds, or wait until running tasks have ended.",
                display_micros(*price_micros),
                display_micros(*available_micros)
            ),
            Self::KeyReused => f.write_str(
                "The Idempotency-Key was used for another request in the last 24 hours. Send a \
                 new key with a new request.",
            ),
        }
    }
}

/// What a price is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Priced {
    /// Every tool that has no price of its own.
    Any,
    /// One tool.
    Tool(ToolSlug),
}

/// What a successful run costs a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// Of what.
    pub of: Priced,
    /// Millionths.
    pub micros: i64,
}

/// The price of a tool in a project's list; what has none is free.
pub fn price_of(prices: &[Price], tool: &ToolSlug) -> i64 {
    let of = |wanted: &Priced| prices.iter().find(|price| price.of == *wanted);
    let own = of(&Priced::Tool(tool.clone()));
    own.or_else(|| of(&Priced::Any))
        .map_or(0, |price| price.micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_without_limits_admits_everything() {
        let account = Account {
            active: u64::MAX,
            reserved_micros: i64::MAX,
            ..Account::default()
        };
        assert_eq!(account.admit(i64::MAX), Ok(()));
    }

    #[test]
    fn the_limit_is_the_number_of_tasks_at_the_same_time() {
        let mut account = Account {
            concurrency: Some(5),
            active: 4,
            ..Account::default()
        };
        assert_eq!(account.admit(0), Ok(()));
        account.active = 5;
        let told = |account: &Account| account.admit(0).expect_err("refused").to_string();
        assert_eq!(
            told(&account),
            "You have reached your concurrent task limit. You can run up to 5 tasks at the same \
             time. Wait until one has ended, then try again."
        );
        account.balance_micros = Some(50_000_000);
        assert_eq!(
            told(&account),
            "You have reached your concurrent task limit. With your current balance of $50.00, \
             you can run up to 5 tasks at the same time. Add funds to increase your limit."
        );
    }

    #[test]
    fn what_is_reserved_cannot_be_spent_again() {
        let account = Account {
            balance_micros: Some(100_000),
            reserved_micros: 60_000,
            ..Account::default()
        };
        assert_eq!(account.admit(40_000), Ok(()));
        let refused = account.admit(40_001).expect_err("refused").to_string();
        assert!(
            refused.contains("$0.040001") && refused.contains("$0.04 of"),
            "{refused}"
        );
        let overdrawn = Account {
            balance_micros: Some(-1),
            ..Account::default()
        };
        assert_eq!(overdrawn.admit(0), Ok(()), "what is free needs no balance");
        assert!(overdrawn.admit(1).is_err());
    }

    #[test]
    fn a_tool_s_own_price_wins_over_the_one_of_all() {
        let (mine, other) = (ToolSlug::new("a", "mine"), ToolSlug::new("a", "other"));
        let any = Price {
            of: Priced::Any,
            micros: 5,
        };
        let own = Price {
            of: Priced::Tool(mine.clone()),
            micros: 0,
        };
        let prices = [any, own];
        assert_eq!(price_of(&[], &mine), 0);
        assert_eq!(
            (price_of(&prices, &mine), price_of(&prices, &other)),
            (0, 5)
        );
    }
}
