//! The sockets: accepts connections, bounds them, and lets them finish when the service stops.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt;

use crate::limits::{HEAD_BYTES, HEADERS, Limits};

/// After an accept that failed (out of file handles, say) the next one waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` completes; then accepts nothing more, answers what has been asked for
/// `grace` at most, and returns.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &Limits,
    stop: impl Future<Output = ()>,
    grace: Duration,
) {
    let most = u32::try_from(limits.connections).unwrap_or(u32::MAX).max(1);
    let connections = Arc::new(Semaphore::new(most as usize));
    let (stop_all, _) = watch::channel(false);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head())
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES);
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        match accepted {
            Ok((stream, remote, permit)) => {
                let connection = Connection {
                    stream,
                    remote,
                    stopping: Stopping(Some(stop_all.subscribe())),
                };
                let (builder, router) = (builder.clone(), router.clone());
                tokio::spawn(async move {
                    if let Err(error) = connection.serve(builder, router).await {
                        tracing::debug!(error = %error, "a connection broke");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    stop_all.send_replace(true);
    // Every connection and every websocket listens for the stop until it has ended.
    if tokio::time::timeout(grace, stop_all.closed())
        .await
        .is_err()
    {
        tracing::warn!("gave up on requests that were still being answered");
    }
}

/// Tells those who serve a connection that the service stops. While one of these is held, the
/// stop waits.
#[derive(Debug, Clone)]
pub(crate) struct Stopping(Option<watch::Receiver<bool>>);

impl Stopping {
    /// Where nothing stops: without sockets of our own underneath.
    pub(crate) fn never() -> Self {
        Self(None)
    }

    /// Waits for the stop.
    pub(crate) async fn wait(&mut self) {
        match &mut self.0 {
            // An error says that the service is gone, which means the same.
            Some(stop) => drop(stop.wait_for(|&stopping| stopping).await),
            None => std::future::pending().await,
        }
    }
}

struct Connection {
    stream: TcpStream,
    remote: SocketAddr,
    stopping: Stopping,
}

impl Connection {
    /// Answers requests until the client leaves, or until the one in hand is answered when the
    /// service stops.
    async fn serve(mut self, builder: http1::Builder, router: Router) -> hyper::Result<()> {
        let (remote, stopping) = (self.remote, self.stopping.clone());
        let service = service_fn(|request| {
            let (router, stopping) = (router.clone(), stopping.clone());
            answer(router, remote, stopping, request)
        });
        let connection = builder.serve_connection(TokioIo::new(self.stream), service);
        let mut connection = pin!(connection.with_upgrades());
        tokio::select! {
            done = connection.as_mut() => return done,
            () = self.stopping.wait() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = connections
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, remote) = listener.accept().await?;
    // Answers are small and complete: waiting to fill a packet only delays them.
    stream.set_nodelay(true)?;
    Ok((stream, remote, permit))
}

async fn answer(
    router: Router,
    remote: SocketAddr,
    stopping: Stopping,
    request: hyper::Request<Incoming>,
) -> Result<Response, Infallible> {
    let mut request: Request = request.map(axum::body::Body::new);
    request.extensions_mut().insert(ConnectInfo(remote));
    // A websocket outlives its request.
    request.extensions_mut().insert(stopping);
    router.oneshot(request).await
}
