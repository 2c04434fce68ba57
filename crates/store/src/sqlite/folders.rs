//! Folders of uploads.

use rusqlite::{Connection, OptionalExtension};
use tintype_domain::{FileId, Folder, ProjectId};

use super::rows;
use crate::Error;

/// Makes a folder, or finds the one of the same name.
pub(super) fn add(connection: &Connection, folder: Folder) -> Result<Folder, Error> {
    require(connection, folder.project, folder.parent.as_ref())?;
    let parent = folder.parent.as_ref().map(FileId::as_str);
    let there = connection
        .prepare_cached(
            "SELECT * FROM folder WHERE project = ?1 AND coalesce(parent, '') = coalesce(?2, '') \
             AND name = ?3",
        )?
        .query_row((folder.project.0, parent, &folder.name), rows::folder)
        .optional()?;
    if let Some(there) = there {
        return Ok(there);
    }
    connection
        .prepare_cached(
            "INSERT INTO folder (id, project, parent, name, added_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((
            folder.id.as_str(),
            folder.project.0,
            parent,
            &folder.name,
            folder.added_at.0,
        ))?;
    Ok(folder)
}

/// A folder of a project.
pub(super) fn find(
    connection: &Connection,
    project: ProjectId,
    folder: &FileId,
) -> Result<Option<Folder>, Error> {
    let found = connection
        .prepare_cached("SELECT * FROM folder WHERE id = ?1 AND project = ?2")?
        .query_row((folder.as_str(), project.0), rows::folder)
        .optional()?;
    Ok(found)
}

/// Refuses a place that is not the project's own. The top level always is.
pub(super) fn require(
    connection: &Connection,
    project: ProjectId,
    folder: Option<&FileId>,
) -> Result<(), Error> {
    let Some(folder) = folder else {
        return Ok(());
    };
    match find(connection, project, folder)? {
        Some(_) => Ok(()),
        None => Err(Error::Rejected {
            reason: format!("project {project} has no folder {folder}"),
        }),
    }
}
