//! `GET /`: a page for people who open the address in a browser.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse};

use crate::app::App;
use crate::examples;
use crate::html::escape;
use crate::openapi::{Endpoint, Gives, Section, Takes, Verb};

const TEMPLATE: &str = include_str!("page.html");

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

pub(super) const PAGE: Endpoint = Endpoint {
    verb: Verb::Get,
    path: "/",
    section: Section::Service,
    name: "page",
    summary: "A page for people",
    description: "",
    takes: Takes::Nothing,
    gives: Gives::Page,
    refusals: &[],
};

pub(super) async fn page(State(app): State<App>, headers: HeaderMap) -> impl IntoResponse {
    let base_url = app.base_url(&headers);
    let tools: String = app
        .service
        .catalog()
        .tools()
        .iter()
        .map(|tool| {
            let slug = escape(&tool.slug().to_string());
            format!(
                "  <li><code>{slug}</code>: {}</li>\n",
                escape(&tool.description)
            )
        })
        .collect();
    let commands = examples::shell_commands(&base_url, "YOUR_KEY", "YOUR_SECRET");
    let page = TEMPLATE
        .replace("{tools}", &tools)
        .replace("{commands}", &escape(&commands))
        .replace("{version}", env!("CARGO_PKG_VERSION"));
    (
        [(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY)],
        Html(page),
    )
}
