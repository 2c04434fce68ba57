//! Finding tools: the filters, orders and pages of a list, and the shelves of an overview.
//!
//! Filters narrow each other down; the several categories (or tags) of one filter widen it.
//! Letters are compared without case.

use crate::{Catalog, Tool};

/// Words of a search that count: a question is a few words, a longer one costs no more.
const MAX_WORDS: usize = 16;

/// Which tools to list, and how. The default lists all of them, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolQuery {
    /// Words that must all appear in a tool's address, labels or description.
    pub search: String,
    /// Only tools in one of these; empty for all.
    pub categories: Vec<String>,
    /// Only tools with one of these; empty for all.
    pub tags: Vec<String>,
    /// Only this publisher's.
    pub owner: Option<String>,
    /// By what they are ordered.
    pub sort: ToolSort,
    /// In which direction; `None` for the natural one.
    pub order: Option<Order>,
    /// Tools to skip.
    pub start: usize,
    /// Tools at most.
    pub limit: usize,
}

/// By what tools are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ToolSort {
    /// By number; naturally ascending.
    #[default]
    Number,
    /// By how well they fit the search; naturally descending. Equals stay in the order of their
    /// numbers.
    Relevance,
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The least first.
    Ascending,
    /// The greatest first.
    Descending,
}

/// A tool and its place in the catalogue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Listed<'a> {
    /// Counted from one, in the order of all known tools.
    pub number: usize,
    /// The tool.
    pub tool: &'a Tool,
}

/// One page of what was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<'a> {
    /// How many there are on all pages.
    pub total: usize,
    /// Those of this page.
    pub tools: Vec<Listed<'a>>,
}

/// Tools that do the same kind of work.
#[derive(Debug, Clone, PartialEq)]
pub struct Shelf<'a> {
    /// What they do, for people.
    pub title: String,
    /// The tools, in the order of the catalogue.
    pub tools: Vec<Listed<'a>>,
}

impl Catalog {
    /// All tools with their numbers.
    pub fn listed(&self) -> impl Iterator<Item = Listed<'_>> {
        let numbered = self.numbers.iter().zip(self.tools());
        numbered.map(|(&number, tool)| Listed { number, tool })
    }

    /// A page of the tools that a question asks for.
    pub fn find(&self, query: &ToolQuery) -> Found<'_> {
        let words = words(&query.search);
        let mut found: Vec<(u32, Listed<'_>)> = self
            .listed()
            .filter(|listed| query.admits(listed.tool))
            .filter_map(|listed| Some((relevance(listed.tool, &words)?, listed)))
            .collect();
        match (query.sort, query.order) {
            (ToolSort::Number, None | Some(Order::Ascending)) => {}
            (ToolSort::Number, Some(Order::Descending)) => found.reverse(),
            (ToolSort::Relevance, Some(Order::Ascending)) => {
                found.sort_by_key(|(relevance, _)| *relevance);
            }
            (ToolSort::Relevance, None | Some(Order::Descending)) => {
                found.sort_by_key(|(relevance, _)| std::cmp::Reverse(*relevance));
            }
        }
        Found {
            total: found.len(),
            tools: found
                .into_iter()
                .map(|(_, listed)| listed)
                .skip(query.start)
                .take(query.limit)
                .collect(),
        }
    }

    /// The catalogue by kind of work (`text-to-image`, `image-to-image` …), in the order in which
    /// the kinds come up. A tool may stand on several shelves, and every tool stands on one: those
    /// without a kind are on the last.
    pub fn shelves(&self) -> Vec<Shelf<'_>> {
        let mut shelves: Vec<Shelf<'_>> = Vec::new();
        let (kinds, others): (Vec<_>, Vec<_>) = self
            .listed()
            .partition(|listed| kinds_of_work(listed.tool).next().is_some());
        for listed in kinds {
            for kind in kinds_of_work(listed.tool) {
                let title = title(kind);
                match shelves.iter_mut().find(|shelf| shelf.title == title) {
                    Some(shelf) => shelf.tools.push(listed),
                    None => shelves.push(Shelf {
                        title,
                        tools: vec![listed],
                    }),
                }
            }
        }
        if !others.is_empty() {
            shelves.push(Shelf {
                title: "More".to_owned(),
                tools: others,
            });
        }
        shelves
    }
}

impl ToolQuery {
    fn admits(&self, tool: &Tool) -> bool {
        let owner = self.owner.as_deref();
        owner.is_none_or(|owner| same(owner, &tool.owner))
            && any_of(&self.categories, &tool.categories)
            && any_of(&self.tags, &tool.tags)
    }
}

fn any_of(wanted: &[String], labels: &[String]) -> bool {
    wanted.is_empty()
        || wanted
            .iter()
            .any(|wanted| labels.iter().any(|label| same(wanted, label)))
}

fn same(a: &str, b: &str) -> bool {
    a.trim().to_lowercase() == b.to_lowercase()
}

fn words(search: &str) -> Vec<String> {
    search
        .split_whitespace()
        .take(MAX_WORDS)
        .map(str::to_lowercase)
        .collect()
}

/// How well a tool fits; `None` if one of the words is nowhere in it.
fn relevance(tool: &Tool, words: &[String]) -> Option<u32> {
    /// A word in the address says most, one in a label more than one in the description.
    const WEIGHTS: [u32; 3] = [100, 10, 1];
    let labels = [tool.categories.join("\n"), tool.tags.join("\n")].join("\n");
    let texts =
        [tool.slug().to_string(), labels, tool.description.clone()].map(|text| text.to_lowercase());
    words.iter().try_fold(0, |sum, word| {
        let fields = texts.iter().zip(WEIGHTS);
        let weight: u32 = fields
            .filter(|(text, _)| text.contains(word))
            .map(|(_, weight)| weight)
            .sum();
        (weight > 0).then_some(sum + weight)
    })
}

fn kinds_of_work(tool: &Tool) -> impl Iterator<Item = &str> {
    let categories = tool.categories.iter().map(String::as_str);
    categories.filter(|category| category.contains("-to-"))
}

/// `text-to-image` as people write it: `Text to Image`.
fn title(category: &str) -> String {
    let words = category.split('-').map(|word| {
        let mut letters = word.chars();
        match letters.next() {
            Some(first) if word != "to" => first.to_uppercase().chain(letters).collect(),
            _ => word.to_owned(),
        }
    });
    words.collect::<Vec<String>>().join(" ")
}
