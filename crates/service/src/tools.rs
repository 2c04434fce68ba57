//! What is offered: the tools of the catalogue, with what became of their runs.

use std::collections::HashMap;

use tintype_catalog::{Listed, Tool, ToolQuery};
use tintype_domain::account::price_of;
use tintype_domain::{ToolSlug, ToolStats};

use crate::{Principal, Service, ServiceError};

/// A tool, and what became of its runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ToolReport<'a> {
    /// Its place in the catalogue, counted from one.
    pub number: usize,
    /// The tool.
    pub tool: &'a Tool,
    /// Its runs, of all projects together.
    pub stats: ToolStats,
    /// What a successful run costs the project that asks, in millionths.
    pub price_micros: i64,
}

/// One page of tools.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolPage<'a> {
    /// How many there are on all pages.
    pub total: usize,
    /// Those of this page.
    pub tools: Vec<ToolReport<'a>>,
}

impl Service {
    /// The tools that a question asks for, a page of them.
    ///
    /// # Errors
    /// [`ServiceError`] when the store cannot be asked.
    pub async fn tools(
        &self,
        principal: &Principal,
        query: &ToolQuery,
    ) -> Result<ToolPage<'_>, ServiceError> {
        let found = self.catalog.find(query);
        Ok(ToolPage {
            total: found.total,
            tools: self.reports(principal, found.tools).await?,
        })
    }

    /// The tool at this address.
    ///
    /// # Errors
    /// [`ServiceError`] when the store cannot be asked.
    pub async fn tool(
        &self,
        principal: &Principal,
        slug: &ToolSlug,
    ) -> Result<Option<ToolReport<'_>>, ServiceError> {
        let listed = self.catalog.listed();
        let asked_for = |tool: &Tool| tool.owner == slug.owner && tool.model == slug.model;
        let found = listed.filter(|listed| asked_for(listed.tool)).take(1);
        Ok(self.reports(principal, found.collect()).await?.pop())
    }

    async fn reports<'a>(
        &self,
        principal: &Principal,
        listed: Vec<Listed<'a>>,
    ) -> Result<Vec<ToolReport<'a>>, ServiceError> {
        let stats: HashMap<_, _> = self.store.tool_stats().await?.into_iter().collect();
        let prices = self.store.prices(principal.project).await?;
        let report = |Listed { number, tool }| ToolReport {
            number,
            tool,
            stats: stats.get(&tool.slug()).copied().unwrap_or_default(),
            price_micros: price_of(&prices, &tool.slug()),
        };
        Ok(listed.into_iter().map(report).collect())
    }
}
