-- Folders that projects made for their uploads. The top level is no folder: it is NULL.
CREATE TABLE folder (
    id       TEXT    PRIMARY KEY,
    project  INTEGER NOT NULL REFERENCES project (id),
    parent   TEXT    REFERENCES folder (id),
    name     TEXT    NOT NULL,
    added_at INTEGER NOT NULL
) STRICT;

-- NULLs differ from each other in a unique index.
CREATE UNIQUE INDEX folder_name ON folder (project, coalesce(parent, ''), name);

ALTER TABLE file ADD COLUMN folder TEXT REFERENCES folder (id);
