//! The whole surface: which handler answers which path.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use tintype_service::Service;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, Any as AnyOrigin, CorsLayer};

use crate::app::{App, Options};
use crate::errors::{ApiError, Kind, Throttled};
use crate::openapi::Endpoint;

mod files;
mod health;
mod page;
mod reference;
mod run;
mod socket;
pub(crate) mod task_control;
pub(crate) mod tasks;
mod tools;
mod uploads;

/// Where tasks are accepted.
pub(crate) const RUN: &str = "/v1/Run/{owner}/{model}";

/// All routes. Requests must carry the peer's address as
/// [`ConnectInfo<SocketAddr>`](axum::extract::ConnectInfo), as [`crate::listen::serve`] adds it.
pub fn router(service: Arc<Service>, options: &Options) -> Router {
    let mut routes = Router::new();
    for (endpoint, method) in table() {
        routes = routes.route(endpoint.path, method);
    }
    routes
        .route("/v1/", get(socket::open))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_path)
        .with_state(App::new(service, options))
        // Bodies are bounded by `BodyReader`, which knows what they are read for.
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(after_panic))
        .layer(browsers())
        .layer(middleware::from_fn(log))
}

/// The table of routes, in the order of the document.
fn table() -> Vec<(Endpoint, MethodRouter<App>)> {
    vec![
        run::ENDPOINT.by(run::run),
        tasks::DETAIL.by(tasks::detail),
        task_control::LIST.by(task_control::list),
        task_control::CANCEL.by(task_control::cancel),
        task_control::KILL.by(task_control::kill),
        task_control::DELETE_FILES.by(task_control::delete_files),
        socket::SOCKET.by(socket::open),
        tools::LIST.by(tools::list),
        tools::DETAIL.by(tools::detail),
        tools::EXPLORE.by(tools::explore),
        uploads::UPLOAD.by(uploads::upload),
        uploads::CREATE_FOLDER.by(uploads::create_folder),
        files::FILE.by(files::file),
        page::PAGE.by(page::page),
        reference::PAGE.by(reference::page),
        reference::DOCUMENT.by(reference::document),
        health::ALIVE.by(health::alive),
        health::READY.by(health::ready),
    ]
}

/// What the document says of each of them.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    table().into_iter().map(|(endpoint, _)| endpoint).collect()
}

/// Pages of any origin may call: a key or an unguessable path is the permission, never a cookie.
fn browsers() -> CorsLayer {
    use axum::http::Method;
    CorsLayer::new()
        .allow_origin(AnyOrigin)
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
}

async fn unknown_path() -> ApiError {
    ApiError::new(Kind::UnknownPath)
}

fn after_panic(payload: Box<dyn Any + Send>) -> Response {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    tracing::error!(
        panic = text.unwrap_or("(not a text)"),
        "a request handler panicked"
    );
    ApiError::new(Kind::Internal).into_response()
}

/// One line for each request. The route's pattern stands for the path: the path of a file is the
/// permission to read it. Polls, probes and pictures that went well are many and say little.
async fn log(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = matched.as_ref().map_or("(none)", MatchedPath::as_str);
    let status = response.status();
    let duration_ms = began.elapsed().as_secs_f64() * 1e3;
    let throttled = response.extensions().get::<Throttled>().is_some();
    let notable = route == RUN || status.is_client_error() || status.is_server_error();
    if notable && !throttled {
        tracing::info!(
            http.method = %method, http.route = route, http.status = status.as_u16(), duration_ms,
            "answered a request"
        );
    } else {
        tracing::debug!(
            http.method = %method, http.route = route, http.status = status.as_u16(), duration_ms,
            "answered a request"
        );
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::StatusCode;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_panic_leaves_as_the_envelope() {
        async fn broken() -> &'static str {
            panic!("this text stays in the log")
        }
        let app = Router::new()
            .route("/broken", axum::routing::get(broken))
            .layer(CatchPanicLayer::custom(after_panic));
        let request = Request::get("/broken")
            .body(Body::empty())
            .expect("a request");
        let response = app.oneshot(request).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["result"], false);
        assert!(!body.to_string().contains("stays in the log"));
    }
}
