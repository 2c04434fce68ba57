//! The reference: the document of [`crate::openapi`], and the same for people as a page.

mod page;
mod schema;

use tintype_catalog::Catalog;

use crate::html::escape;
use crate::openapi::{self, PLACE_OF_BASE_URL};
use crate::routes;

/// Both, made once, with a place for the service's address.
pub(crate) struct Reference {
    document: String,
    page: String,
}

impl Reference {
    /// Of the routes, and the tools of this catalogue.
    pub(crate) fn of(catalog: &Catalog) -> Self {
        let document = openapi::document(&routes::endpoints(), catalog);
        Self {
            page: page::of(&document),
            document: format!("{document:#}\n"),
        }
    }

    /// The document of a service that is reached at this address.
    pub(crate) fn document(&self, base_url: &str) -> String {
        // An address has neither quotes nor backslashes: it is a text of JSON as it stands.
        self.document.replace(PLACE_OF_BASE_URL, base_url)
    }

    /// The page of a service that is reached at this address.
    pub(crate) fn page(&self, base_url: &str) -> String {
        self.page.replace(PLACE_OF_BASE_URL, &escape(base_url))
    }
}
