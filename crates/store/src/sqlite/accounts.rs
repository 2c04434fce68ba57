//! What projects may use and what they use: one row for each, kept true by the writes themselves.
//!
//! A task is admitted and counted where it is queued, and settled where it enters its final
//! state, in the transactions that do so: no race overshoots a limit, and a price is paid once.

use rusqlite::{Connection, OptionalExtension, Row};
use tintype_domain::fairness::{Tags, Turn, USUAL_COST_MS};
use tintype_domain::{Account, NewTask, Price, Priced, ProjectId, Refusal, ToolSlug};

use super::batch::Batch;
use super::job::Place;
use crate::{AccountChange, BalanceChange, Error};

/// The price of all tools that have none of their own.
const ANY_TOOL: &str = "*";

/// A project's account, and where its next task begins in the fair queue.
#[derive(Debug)]
pub(super) struct Standing {
    account: Account,
    finish_tag: i64,
}

/// A project that may queue a task.
pub(super) struct Applicant {
    project: ProjectId,
    pictures: u32,
    /// Of all pictures that the task asks for.
    pub(super) price_micros: i64,
}

/// Opens the account of a project that is being made: without limits.
pub(super) fn open(connection: &Connection, project: ProjectId) -> Result<(), Error> {
    connection
        .prepare_cached("INSERT INTO account (project) VALUES (?1)")?
        .execute((project.0,))?;
    Ok(())
}

/// A project's account.
pub(super) fn find(connection: &Connection, project: ProjectId) -> Result<Option<Account>, Error> {
    let account = connection
        .prepare_cached("SELECT * FROM account WHERE project = ?1")?
        .query_row((project.0,), account)
        .optional()?;
    Ok(account)
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        concurrency: row.get("concurrency")?,
        balance_micros: row.get("balance_micros")?,
        weight: row.get("weight")?,
        priority: row.get("priority")?,
        active: row.get("active")?,
        reserved_micros: row.get("reserved_micros")?,
        spent_micros: row.get("spent_micros")?,
    })
}

/// Looks whether a project may queue a task. Nothing is changed.
pub(super) fn admit(
    batch: &Batch<'_>,
    task: &NewTask,
) -> Result<Result<Applicant, Refusal>, Error> {
    let (project, tool, pictures) = (task.project, &task.tool, task.pictures);
    let of = (project, tool.clone());
    let price_micros = batch
        .prices
        .look(&of, || price(batch, project, tool), |price| *price)?
        .saturating_mul(pictures.into());
    let admit = |standing: &Standing| standing.account.admit(price_micros);
    let admitted = batch
        .accounts
        .look(&project, || load(batch, project), admit)?;
    Ok(admitted.map(|()| Applicant {
        project,
        pictures,
        price_micros,
    }))
}

fn price(connection: &Connection, project: ProjectId, tool: &ToolSlug) -> Result<i64, Error> {
    let price = connection
        .prepare_cached(
            "SELECT coalesce( \
             (SELECT price_micros FROM price WHERE project = ?1 AND tool = ?2), \
             (SELECT price_micros FROM price WHERE project = ?1 AND tool = ?3), 0)",
        )?
        .query_row((project.0, tool.to_string(), ANY_TOOL), |row| row.get(0))?;
    Ok(price)
}

fn load(connection: &Connection, project: ProjectId) -> Result<Standing, Error> {
    connection
        .prepare_cached("SELECT * FROM account WHERE project = ?1")?
        .query_row((project.0,), |row| {
            Ok(Standing {
                account: account(row)?,
                finish_tag: row.get("finish_tag")?,
            })
        })
        .optional()?
        .ok_or_else(|| unknown(project))
}

/// Writes back what tasks change of an account.
pub(super) fn write(
    connection: &Connection,
    project: ProjectId,
    standing: &Standing,
) -> Result<(), Error> {
    let Standing {
        account,
        finish_tag,
    } = standing;
    connection
        .prepare_cached(
            "UPDATE account SET active = ?2, reserved_micros = ?3, spent_micros = ?4, \
             balance_micros = ?5, finish_tag = ?6 WHERE project = ?1",
        )?
        .execute((
            project.0,
            account.active,
            account.reserved_micros,
            account.spent_micros,
            account.balance_micros,
            finish_tag,
        ))?;
    Ok(())
}

fn virtual_time(connection: &Connection, priority: i32) -> Result<i64, Error> {
    let tag = connection
        .prepare_cached("SELECT tag FROM virtual_time WHERE priority = ?1")?
        .query_row((priority,), |row| row.get(0))
        .optional()?;
    Ok(tag.unwrap_or_default())
}

/// Writes back the present of the queue.
pub(super) fn write_virtual_time(
    connection: &Connection,
    priority: i32,
    tag: i64,
) -> Result<(), Error> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO virtual_time (priority, tag) VALUES (?1, ?2)")?
        .execute((priority, tag))?;
    Ok(())
}

impl Applicant {
    /// Counts a task that is being queued, reserves its price, and gives its place in the queue.
    pub(super) fn enter(self, batch: &Batch<'_>, mean_ms: Option<i64>) -> Result<Place, Error> {
        let load_account = || load(batch, self.project);
        let priority = |standing: &Standing| standing.account.priority;
        let priority = batch.accounts.look(&self.project, load_account, priority)?;
        let load_time = || virtual_time(batch, priority);
        let virtual_time = batch.virtual_times.look(&priority, load_time, |tag| *tag)?;
        let enter = |standing: &mut Standing| {
            let account = &mut standing.account;
            let turn = Turn {
                virtual_time,
                last_finish: standing.finish_tag,
                cost_ms: mean_ms
                    .unwrap_or(USUAL_COST_MS)
                    .saturating_mul(self.pictures.into()),
                weight: account.weight,
            };
            let Tags { start, finish } = turn.tags();
            account.active += 1;
            account.reserved_micros = account.reserved_micros.saturating_add(self.price_micros);
            standing.finish_tag = finish;
            Place {
                priority,
                start_tag: start,
            }
        };
        batch.accounts.change(&self.project, load_account, enter)
    }
}

/// A task that has come to its end.
pub(super) struct Settlement {
    pub(super) project: ProjectId,
    /// What was reserved for it.
    pub(super) price_micros: i64,
    /// What it costs in the end.
    pub(super) cost_micros: i64,
}

/// Gives back what was reserved for a task, and takes what it costs.
pub(super) fn settle(batch: &Batch<'_>, settlement: &Settlement) -> Result<(), Error> {
    let Settlement {
        project,
        price_micros,
        cost_micros,
    } = *settlement;
    let settle = |Standing { account, .. }: &mut Standing| {
        account.active = account.active.saturating_sub(1);
        account.reserved_micros = account.reserved_micros.saturating_sub(price_micros);
        account.spent_micros = account.spent_micros.saturating_add(cost_micros);
        if let Some(balance) = &mut account.balance_micros {
            *balance = balance.saturating_sub(cost_micros);
        }
    };
    batch
        .accounts
        .change(&project, || load(batch, project), settle)
}

/// The virtual time moves on to a task that is given out. It never goes back: a task that was
/// queued again has an old tag.
pub(super) fn advance(batch: &Batch<'_>, place: Place) -> Result<(), Error> {
    let load = || virtual_time(batch, place.priority);
    batch.virtual_times.change(&place.priority, load, |tag| {
        *tag = place.start_tag.max(*tag);
    })
}

/// Changes what a project may use; returns the account as it is then.
pub(super) fn change(
    connection: &Connection,
    project: ProjectId,
    change: &AccountChange,
) -> Result<Account, Error> {
    let before = find(connection, project)?.ok_or_else(|| unknown(project))?;
    let mut after = before.clone();
    after.concurrency = change.concurrency.unwrap_or(before.concurrency);
    after.weight = change.weight.unwrap_or(before.weight);
    after.priority = change.priority.unwrap_or(before.priority);
    after.balance_micros = balance(before.balance_micros, change.balance)?;
    if after.priority != before.priority {
        move_to_class(connection, project, after.priority)?;
    }
    connection
        .prepare_cached(
            "UPDATE account SET concurrency = ?2, balance_micros = ?3, weight = ?4, \
             priority = ?5 WHERE project = ?1",
        )?
        .execute((
            project.0,
            after.concurrency,
            after.balance_micros,
            after.weight,
            after.priority,
        ))?;
    for (of, micros) in &change.prices {
        set_price(connection, project, of, *micros)?;
    }
    if let Some(strict_nonce) = change.strict_nonce {
        connection
            .prepare_cached("UPDATE project SET strict_nonce = ?2 WHERE id = ?1")?
            .execute((project.0, strict_nonce))?;
    }
    Ok(after)
}

fn balance(before: Option<i64>, change: Option<BalanceChange>) -> Result<Option<i64>, Error> {
    let added = match change {
        None => return Ok(before),
        Some(BalanceChange::Unlimited) => return Ok(None),
        Some(BalanceChange::Set(micros)) => return Ok(Some(micros)),
        Some(BalanceChange::Add(micros)) => before.and_then(|before| before.checked_add(micros)),
    };
    added.map(Some).ok_or_else(|| Error::Rejected {
        reason: "there is no balance to add to, or the sum is too large: set one".to_owned(),
    })
}

/// A project's queued tasks go to the present of another priority, their distances kept, and the
/// tasks that follow come after them.
fn move_to_class(connection: &Connection, project: ProjectId, priority: i32) -> Result<(), Error> {
    let queued = "SELECT job.task FROM job JOIN task ON task.id = job.task \
                  WHERE job.state = 'queued' AND task.project = ?1";
    let (first, finish_tag, present): (Option<i64>, i64, i64) = connection.query_row(
        &format!(
            "SELECT (SELECT min(start_tag) FROM job WHERE task IN ({queued})), finish_tag, \
             coalesce((SELECT tag FROM virtual_time WHERE priority = ?2), 0) \
             FROM account WHERE project = ?1"
        ),
        (project.0, priority),
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let moved = present.saturating_sub(first.unwrap_or(finish_tag));
    connection.execute(
        &format!(
            "UPDATE job SET priority = ?2, start_tag = start_tag + ?3 WHERE task IN ({queued})"
        ),
        (project.0, priority, moved),
    )?;
    connection.execute(
        "UPDATE account SET finish_tag = ?2 WHERE project = ?1",
        (project.0, finish_tag.saturating_add(moved)),
    )?;
    Ok(())
}

fn set_price(
    connection: &Connection,
    project: ProjectId,
    of: &Priced,
    micros: Option<i64>,
) -> Result<(), Error> {
    let tool = match of {
        Priced::Any => ANY_TOOL.to_owned(),
        Priced::Tool(tool) => tool.to_string(),
    };
    match micros {
        Some(micros) => connection
            .prepare_cached(
                "INSERT INTO price (project, tool, price_micros) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (project, tool) DO UPDATE SET price_micros = excluded.price_micros",
            )?
            .execute((project.0, tool, micros))?,
        None => connection
            .prepare_cached("DELETE FROM price WHERE project = ?1 AND tool = ?2")?
            .execute((project.0, tool))?,
    };
    Ok(())
}

/// A project's price list.
pub(super) fn prices(connection: &Connection, project: ProjectId) -> Result<Vec<Price>, Error> {
    let mut statement = connection
        .prepare_cached("SELECT tool, price_micros FROM price WHERE project = ?1 ORDER BY tool")?;
    let prices = statement.query_map((project.0,), |row| {
        let tool: String = row.get(0)?;
        let of = match tool.split_once('/') {
            Some((owner, model)) => Priced::Tool(ToolSlug::new(owner, model)),
            None => Priced::Any,
        };
        Ok(Price {
            of,
            micros: row.get(1)?,
        })
    })?;
    Ok(prices.collect::<rusqlite::Result<_>>()?)
}

fn unknown(project: ProjectId) -> Error {
    Error::Rejected {
        reason: format!("there is no project {project}"),
    }
}
