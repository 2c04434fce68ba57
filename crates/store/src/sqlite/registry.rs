//! Projects, their nonces and their uploaded files.

use rusqlite::{Connection, OptionalExtension};
use tintype_domain::{FileId, FileRecord, NewFile, Project, ProjectId, UnixMillis};

use super::{accounts, folders, rows};
use crate::{Error, NewProject};

/// Makes a project.
pub(super) fn create_project(
    connection: &Connection,
    project: NewProject,
    now: UnixMillis,
) -> Result<Project, Error> {
    let taken = |column: &str, value: &str| {
        connection
            .prepare_cached(&format!("SELECT 1 FROM project WHERE {column} = ?1"))?
            .exists((value,))
    };
    if taken("name", &project.name)? {
        return Err(exists(format!("a project named {:?}", project.name)));
    }
    if taken("api_key", &project.api_key)? {
        return Err(exists("a project with this API key".to_owned()));
    }
    connection
        .prepare_cached(
            "INSERT INTO project (name, api_key, sealed_secret, auth, allowed_networks, \
             strict_nonce, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute((
            &project.name,
            &project.api_key,
            &project.sealed_secret,
            rows::auth_word(project.auth),
            rows::to_json(&project.allowed_networks),
            project.strict_nonce,
            now.0,
        ))?;
    let id = ProjectId(connection.last_insert_rowid());
    accounts::open(connection, id)?;
    Ok(Project {
        id,
        name: project.name,
        api_key: project.api_key,
        sealed_secret: project.sealed_secret,
        auth: project.auth,
        allowed_networks: project.allowed_networks,
        strict_nonce: project.strict_nonce,
        created_at: now,
    })
}

/// The project of an API key.
pub(super) fn project_by_key(
    connection: &Connection,
    api_key: &str,
) -> Result<Option<Project>, Error> {
    let project = connection
        .prepare_cached("SELECT * FROM project WHERE api_key = ?1")?
        .query_row((api_key,), rows::project)
        .optional()?;
    Ok(project)
}

/// A project that must be there.
pub(super) fn project(connection: &Connection, project: ProjectId) -> Result<Project, Error> {
    let found = connection
        .prepare_cached("SELECT * FROM project WHERE id = ?1")?
        .query_row((project.0,), rows::project)?;
    Ok(found)
}

/// All projects, by id.
pub(super) fn projects(connection: &Connection) -> Result<Vec<Project>, Error> {
    let mut statement = connection.prepare_cached("SELECT * FROM project ORDER BY id")?;
    let projects = statement.query_map((), rows::project)?;
    Ok(projects.collect::<rusqlite::Result<_>>()?)
}

/// Records a nonce; `false` if it was used since `keep_after`.
pub(super) fn use_nonce(
    connection: &Connection,
    project: ProjectId,
    nonce: &str,
    now: UnixMillis,
    keep_after: UnixMillis,
) -> Result<bool, Error> {
    connection
        .prepare_cached("DELETE FROM nonce WHERE project = ?1 AND used_at < ?2")?
        .execute((project.0, keep_after.0))?;
    let recorded = connection
        .prepare_cached(
            "INSERT INTO nonce (project, nonce, used_at) VALUES (?1, ?2, ?3) \
             ON CONFLICT DO NOTHING",
        )?
        .execute((project.0, nonce, now.0))?;
    Ok(recorded == 1)
}

/// Records an uploaded file.
pub(super) fn add_file(connection: &Connection, file: &NewFile) -> Result<(), Error> {
    let taken = connection
        .prepare_cached("SELECT 1 FROM file WHERE id = ?1 OR (directory = ?2 AND name = ?3)")?
        .exists((file.id.as_str(), &file.directory, &file.name))?;
    if taken {
        return Err(exists(format!(
            "a file of the id {} or its address",
            file.id
        )));
    }
    folders::require(connection, file.project, file.folder.as_ref())?;
    connection
        .prepare_cached(
            "INSERT INTO file (id, project, name, content_type, size_bytes, added_at, \
             access_key, directory, blob_key, folder) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute((
            file.id.as_str(),
            file.project.0,
            &file.name,
            &file.content_type,
            file.size_bytes,
            file.added_at.0,
            file.access_key.as_str(),
            &file.directory,
            &file.blob_key,
            file.folder.as_ref().map(FileId::as_str),
        ))?;
    Ok(())
}

/// The uploaded file with this public address.
pub(super) fn file_at(
    connection: &Connection,
    directory: &str,
    name: &str,
) -> Result<Option<FileRecord>, Error> {
    let file = connection
        .prepare_cached("SELECT * FROM file WHERE directory = ?1 AND name = ?2")?
        .query_row((directory, name), rows::file)
        .optional()?;
    Ok(file)
}

/// The newest file of this name in a project.
pub(super) fn file_by_name(
    connection: &Connection,
    project: ProjectId,
    name: &str,
) -> Result<Option<FileRecord>, Error> {
    let file = connection
        .prepare_cached(
            "SELECT * FROM file WHERE project = ?1 AND name = ?2 \
             ORDER BY added_at DESC, rowid DESC LIMIT 1",
        )?
        .query_row((project.0, name), rows::file)
        .optional()?;
    Ok(file)
}

/// Writes, so that the commit shows whether writes are durable now.
pub(super) fn probe(connection: &Connection) -> Result<(), Error> {
    connection
        .prepare_cached("UPDATE probe SET count = count + 1")?
        .execute(())?;
    Ok(())
}

fn exists(what: String) -> Error {
    Error::Exists { what }
}
