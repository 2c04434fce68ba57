//! `POST /v1/File/…`: files for later runs.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use tintype_catalog::InputError;
use tintype_domain::FileId;
use tintype_service::{RawInputs, RawValue, UploadedPart};

use crate::app::App;
use crate::body::Purpose;
use crate::errors::{ApiError, Kind};
use crate::fields;
use crate::wire_files::{ListAnswer, WireFile, WireFolder};

pub(super) async fn upload(
    State(app): State<App>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Json<ListAnswer<WireFile>>, ApiError> {
    let mut call = app.admit(remote, request, Purpose::Run).await?;
    let folder = fields::text(&call.inputs.raw, "folderid").map(FileId);
    let part = take_file(&mut call.inputs.raw);
    let part = part.ok_or_else(|| ApiError::new(Kind::FileRequired))?;
    let file = app.service.upload(&call.principal, part, folder).await?;
    Ok(Json(ListAnswer::of(WireFile::of(file, &call.base_url))))
}

pub(super) async fn create_folder(
    State(app): State<App>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Json<ListAnswer<WireFolder>>, ApiError> {
    let call = app.admit(remote, request, Purpose::Task).await?;
    let name = fields::text(&call.inputs.raw, "name").ok_or_else(|| {
        let id = "name".to_owned();
        fields::refused(&InputError::Required { id })
    })?;
    let parent = fields::text(&call.inputs.raw, "parentid").map(FileId);
    let made = app.service.create_folder(&call.principal, &name, parent);
    Ok(Json(ListAnswer::of(WireFolder::of(made.await?))))
}

/// Browsers send an empty part for a file field that was left alone.
fn take_file(inputs: &mut RawInputs) -> Option<UploadedPart> {
    inputs.drain(..).find_map(|(name, value)| match value {
        RawValue::File(part) if name == "file" && !part.bytes.is_empty() => Some(part),
        _ => None,
    })
}
