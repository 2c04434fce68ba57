//! `GET /openapi.json` and `GET /docs`: what the service says of itself, for programs and for
//! people.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse};

use crate::app::App;
use crate::openapi::{Endpoint, Gives, Section, Takes, Verb};

pub(super) const PAGE: Endpoint = Endpoint {
    verb: Verb::Get,
    path: "/docs",
    section: Section::Service,
    name: "docs",
    summary: "The reference for people",
    description: "",
    takes: Takes::Nothing,
    gives: Gives::Page,
    refusals: &[],
};

pub(super) const DOCUMENT: Endpoint = Endpoint {
    verb: Verb::Get,
    path: "/openapi.json",
    section: Section::Service,
    name: "openapi",
    summary: "The reference for programs",
    description: "OpenAPI 3.1.",
    takes: Takes::Nothing,
    gives: Gives::Document,
    refusals: &[],
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The page has no script and fetches nothing.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);

pub(super) async fn page(State(app): State<App>, headers: HeaderMap) -> impl IntoResponse {
    let page = app.reference.page(&app.base_url(&headers));
    (
        [(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY)],
        Html(page),
    )
}

pub(super) async fn document(State(app): State<App>, headers: HeaderMap) -> impl IntoResponse {
    let document = app.reference.document(&app.base_url(&headers));
    ([(header::CONTENT_TYPE, JSON)], document)
}
