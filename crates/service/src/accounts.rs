//! Limits, balances and prices of projects, as an operator sees and sets them.

use tintype_catalog::Catalog;
use tintype_domain::fairness::MAX_WEIGHT;
use tintype_domain::{Account, Price, Priced, Project};
use tintype_store::{AccountChange, BalanceChange};

use crate::{ProjectError, Service, ServiceError};

/// Priorities go from here below zero to here above it: more classes than anyone can tell apart.
const MAX_PRIORITY: i32 = 100;

/// A project, what it may use, and what it uses.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectReport {
    /// The project.
    pub project: Project,
    /// Its limits, and its use of them.
    pub account: Account,
    /// What its runs cost.
    pub prices: Vec<Price>,
}

impl Service {
    /// All projects, by id.
    ///
    /// # Errors
    /// [`ServiceError`] when the store cannot be asked.
    pub async fn project_reports(&self) -> Result<Vec<ProjectReport>, ServiceError> {
        let mut reports = Vec::new();
        for project in self.store.projects().await? {
            reports.push(self.report(project).await?);
        }
        Ok(reports)
    }

    /// Changes what a project may use; servers on the same data know at once.
    ///
    /// # Errors
    /// [`ProjectError`]; nothing was changed then.
    pub async fn change_project(
        &self,
        name: &str,
        change: AccountChange,
    ) -> Result<ProjectReport, ProjectError> {
        let projects = self.store.projects().await.map_err(ServiceError::from)?;
        let found = projects.into_iter().find(|project| project.name == name);
        let mut project = found.ok_or_else(|| ProjectError::Unknown(name.to_owned()))?;
        check(&self.catalog, &change)?;
        if let Some(BalanceChange::Add(_)) = change.balance {
            let before = self.report(project.clone()).await?;
            if before.account.balance_micros.is_none() {
                return Err(ProjectError::NoBalance);
            }
        }
        project.strict_nonce = change.strict_nonce.unwrap_or(project.strict_nonce);
        let changed = self.store.change_account(project.id, change).await;
        changed.map_err(ServiceError::from)?;
        Ok(self.report(project).await?)
    }

    async fn report(&self, project: Project) -> Result<ProjectReport, ServiceError> {
        let account = self.store.account(project.id).await?;
        Ok(ProjectReport {
            account: account.unwrap_or_default(),
            prices: self.store.prices(project.id).await?,
            project,
        })
    }
}

fn check(catalog: &Catalog, change: &AccountChange) -> Result<(), ProjectError> {
    if change
        .weight
        .is_some_and(|weight| !(1..=MAX_WEIGHT).contains(&weight))
    {
        return Err(ProjectError::Weight { max: MAX_WEIGHT });
    }
    let priorities = -MAX_PRIORITY..=MAX_PRIORITY;
    if change
        .priority
        .is_some_and(|priority| !priorities.contains(&priority))
    {
        return Err(ProjectError::Priority { max: MAX_PRIORITY });
    }
    for (of, micros) in &change.prices {
        // The price of a tool that is gone may be taken off the list.
        if let (Priced::Tool(tool), Some(_)) = (of, micros)
            && catalog.tool(tool).is_none()
        {
            return Err(ProjectError::UnknownTool(tool.to_string()));
        }
    }
    Ok(())
}
