-- Nobody looks an output up by its id, and ids are drawn at random: an index over them cost each
-- task a page of its own in every commit.
CREATE TABLE output_without_index (
    id           TEXT    NOT NULL,
    task         INTEGER NOT NULL REFERENCES task (id),
    name         TEXT    NOT NULL,
    content_type TEXT    NOT NULL,
    parent_id    TEXT    NOT NULL,
    size_bytes   INTEGER NOT NULL,
    added_at     INTEGER NOT NULL,
    modified_at  INTEGER NOT NULL,
    access_key   TEXT    NOT NULL,
    directory    TEXT    NOT NULL,
    blob_key     TEXT    NOT NULL,
    UNIQUE (directory, name)
) STRICT;

INSERT INTO output_without_index
SELECT id, task, name, content_type, parent_id, size_bytes, added_at, modified_at, access_key,
    directory, blob_key
FROM output ORDER BY rowid;

DROP TABLE output;
ALTER TABLE output_without_index RENAME TO output;
CREATE INDEX output_task ON output (task);
