//! `POST /v1/File/…`: files for later runs.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use serde_json::json;
use tintype_catalog::InputError;
use tintype_domain::FileId;
use tintype_service::{RawInputs, RawValue, UploadedPart};
use utoipa::ToSchema;

use crate::app::App;
use crate::body::Purpose;
use crate::errors::{ApiError, Kind};
use crate::fields;
use crate::openapi::{Endpoint, Gives, Section, Shape, Takes, Verb, samples};
use crate::wire_files::{FolderAnswer, UploadAnswer, WireFile, WireFolder};

pub(super) const UPLOAD: Endpoint = Endpoint {
    verb: Verb::Post,
    path: "/v1/File/Upload",
    section: Section::Files,
    name: "file_upload",
    summary: "Upload a file",
    description: "At most 100 MB. What it is is told by its bytes, whatever the part is labelled; runs take \
                  JPEG, PNG and WebP. A run finds it by its address, or by its name.",
    takes: Takes::Parts {
        shape: Shape::of::<NewFile>(),
    },
    gives: Gives::Json {
        shape: Shape::of::<UploadAnswer>(),
        example: samples::uploaded,
    },
    refusals: &[Kind::FileRequired, Kind::UnknownFolder, Kind::InvalidInputs],
};

/// A file, and where to put it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `upload` reads")]
struct NewFile {
    /// The file.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// The folder to put it in; the top level without one.
    folderid: Option<String>,
}

pub(super) async fn upload(
    State(app): State<App>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Json<UploadAnswer>, ApiError> {
    let mut call = app.admit(remote, request, Purpose::Run).await?;
    let folder = fields::text(&call.inputs.raw, "folderid").map(FileId);
    let part = take_file(&mut call.inputs.raw);
    let part = part.ok_or_else(|| ApiError::new(Kind::FileRequired))?;
    let file = app.service.upload(&call.principal, part, folder).await?;
    Ok(Json(UploadAnswer::of(WireFile::of(file, &call.base_url))))
}

pub(super) const CREATE_FOLDER: Endpoint = Endpoint {
    verb: Verb::Post,
    path: "/v1/File/FolderCreate",
    section: Section::Files,
    name: "folder_create",
    summary: "Make a folder",
    description: "To make one that is there already gives that one.",
    takes: Takes::Fields {
        shape: Shape::of::<NewFolder>(),
        example: |_| json!({"name": "inputs"}),
    },
    gives: Gives::Json {
        shape: Shape::of::<FolderAnswer>(),
        example: samples::folder,
    },
    refusals: &[Kind::InvalidInputs, Kind::UnknownFolder],
};

/// A folder to be.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `create_folder` reads")]
struct NewFolder {
    /// Its name.
    #[schema(pattern = "^[A-Za-z0-9_-]+$")]
    name: String,
    /// The folder to make it in; the top level without one.
    parentid: Option<String>,
}

pub(super) async fn create_folder(
    State(app): State<App>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Json<FolderAnswer>, ApiError> {
    let call = app.admit(remote, request, Purpose::Task).await?;
    let name = fields::text(&call.inputs.raw, "name").ok_or_else(|| {
        let id = "name".to_owned();
        fields::refused(&InputError::Required { id })
    })?;
    let parent = fields::text(&call.inputs.raw, "parentid").map(FileId);
    let made = app.service.create_folder(&call.principal, &name, parent);
    Ok(Json(FolderAnswer::of(WireFolder::of(made.await?))))
}

fn take_file(inputs: &mut RawInputs) -> Option<UploadedPart> {
    inputs.drain(..).find_map(|(name, value)| match value {
        RawValue::File(part) if name == "file" && !part.was_left_alone() => Some(part),
        _ => None,
    })
}
