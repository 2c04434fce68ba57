//! What the document says about one route. Each handler's file holds its own, beside the reading
//! of its fields; the table in [`crate::routes`] makes router and document of them.

use std::borrow::Cow;

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use serde_json::Value;
use tintype_catalog::Catalog;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::app::App;
use crate::errors::Kind;

/// One route: one method on one path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endpoint {
    pub(crate) verb: Verb,
    /// As the router writes it.
    pub(crate) path: &'static str,
    pub(crate) section: Section,
    /// A word for generated clients (`operationId`).
    pub(crate) name: &'static str,
    /// A few words.
    pub(crate) summary: &'static str,
    /// Paragraphs, with an empty line between them and code in back-ticks.
    pub(crate) description: &'static str,
    pub(crate) takes: Takes,
    pub(crate) gives: Gives,
    /// What can go wrong besides what can always go wrong.
    pub(crate) refusals: &'static [Kind],
}

/// The methods that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
}

/// The parts of the document, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Runs,
    Tasks,
    Tools,
    Files,
    Service,
}

/// What a request brings.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Takes {
    /// Nothing.
    Nothing,
    /// A key, and fields: JSON, or a form of either kind.
    Fields { shape: Shape, example: Example },
    /// A key, and a file among the fields: multipart.
    Parts { shape: Shape },
    /// A key, and the inputs of the tool that the path names.
    ToolInputs { headers: &'static [Header] },
}

/// A header that a request may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    /// Characters at most.
    pub(crate) longest: usize,
    /// What it consists of.
    pub(crate) pattern: &'static str,
}

/// What a success looks like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Gives {
    /// An envelope with `result: true`.
    Json { shape: Shape, example: Example },
    /// A page for people.
    Page,
    /// A line for a probe.
    Line,
    /// The bytes of a file.
    File,
    /// The document itself.
    Document,
    /// Another protocol on the same connection.
    Socket,
}

/// An example, made from what is really served.
pub(crate) type Example = fn(&Catalog) -> Value;

/// The schema of a type, and of those within it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) name: fn() -> Cow<'static, str>,
    pub(crate) schema: fn() -> RefOr<Schema>,
    pub(crate) parts: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Shape {
    /// Of this type.
    pub(crate) const fn of<T: ToSchema>() -> Self {
        Self {
            name: T::name,
            schema: T::schema,
            parts: T::schemas,
        }
    }
}

impl Endpoint {
    /// This route with who answers it.
    pub(crate) fn by<H, T>(self, handler: H) -> (Self, MethodRouter<App>)
    where
        H: Handler<T, App>,
        T: 'static,
    {
        let filter = match self.verb {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
        };
        (self, on(filter, handler))
    }

    /// Whether a project's key is asked for.
    pub(crate) fn needs_key(&self) -> bool {
        !matches!(self.takes, Takes::Nothing)
    }
}

impl Verb {
    /// As a path item of the document names it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
        }
    }
}

impl Section {
    /// All, in order.
    pub(crate) const ALL: [Self; 5] = [
        Self::Runs,
        Self::Tasks,
        Self::Tools,
        Self::Files,
        Self::Service,
    ];

    /// Its heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Runs => "Runs",
            Self::Tasks => "Tasks",
            Self::Tools => "Tools",
            Self::Files => "Files",
            Self::Service => "The service",
        }
    }

    /// What it is about.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Runs => {
                "One address for each tool. A run is accepted at once and becomes a task: the \
                 answer holds its number and its token. Ask `Task/Detail` until its status is final."
            }
            Self::Tasks => "What a project may ask and do about its own tasks, and no other's.",
            Self::Tools => "What is offered, with the form of each tool.",
            Self::Files => {
                "Pictures to work from, and pictures that were made. An uploaded file is used in a \
                 run by its address or by its name."
            }
            Self::Service => "Probes for what watches the service, and documents for people.",
        }
    }
}
