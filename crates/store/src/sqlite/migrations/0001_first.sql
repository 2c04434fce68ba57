-- The first schema. Times are milliseconds since the Unix epoch; lists and maps are JSON.

CREATE TABLE project (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    name             TEXT    NOT NULL UNIQUE,
    api_key          TEXT    NOT NULL UNIQUE,
    sealed_secret    BLOB    NOT NULL,
    auth             TEXT    NOT NULL,
    allowed_networks TEXT    NOT NULL,
    strict_nonce     INTEGER NOT NULL,
    created_at       INTEGER NOT NULL
) STRICT;

-- Nonces of projects that allow each only once.
CREATE TABLE nonce (
    project INTEGER NOT NULL REFERENCES project (id),
    nonce   TEXT    NOT NULL,
    used_at INTEGER NOT NULL,
    PRIMARY KEY (project, nonce)
) STRICT, WITHOUT ROWID;

CREATE INDEX nonce_age ON nonce (project, used_at);

-- What was asked: written once, at submission. It may be wide, so nothing that changes is here.
CREATE TABLE task (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid          TEXT    NOT NULL,
    token         TEXT    NOT NULL UNIQUE,
    project       INTEGER NOT NULL REFERENCES project (id),
    tool_owner    TEXT    NOT NULL,
    tool_model    TEXT    NOT NULL,
    parameters    TEXT    NOT NULL,
    output_folder TEXT    NOT NULL,
    callback_url  TEXT,
    warnings      TEXT    NOT NULL
) STRICT;

-- Pages of a project's tasks, newest or oldest first, of all tools or of one.
CREATE INDEX task_project ON task (project);
CREATE INDEX task_project_tool ON task (project, tool_model, tool_owner);

-- Where a task stands: narrow, rewritten at every step of its life. Exactly the running ones
-- have a worker and a lease.
CREATE TABLE job (
    task                   INTEGER PRIMARY KEY REFERENCES task (id),
    state                  TEXT    NOT NULL,
    epoch                  INTEGER NOT NULL DEFAULT 0,
    attempts               INTEGER NOT NULL DEFAULT 0,
    worker                 TEXT,
    lease_until            INTEGER,
    cancel_requested       INTEGER NOT NULL DEFAULT 0,
    created_at             INTEGER NOT NULL,
    accepted_at            INTEGER,
    preprocess_started_at  INTEGER,
    preprocess_ended_at    INTEGER,
    assigned_at            INTEGER,
    started_at             INTEGER,
    ended_at               INTEGER,
    postprocess_started_at INTEGER,
    postprocess_ended_at   INTEGER,
    cancelled_at           INTEGER,
    exit_code              INTEGER,
    debug_output           TEXT    NOT NULL DEFAULT '',
    debug_error            TEXT    NOT NULL DEFAULT '',
    cost_micros            INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The queue and the leases. Partial, so that finished tasks cost a claim nothing.
CREATE INDEX job_queued ON job (task) WHERE state = 'queued';
CREATE INDEX job_retried ON job (attempts) WHERE state = 'queued' AND attempts > 0;
CREATE INDEX job_leased ON job (lease_until) WHERE lease_until IS NOT NULL;

-- What happened, in the order of the commits. A row with a state is a change of state, one
-- without is progress (the latest of its task only).
CREATE TABLE event (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    task     INTEGER NOT NULL REFERENCES task (id),
    at       INTEGER NOT NULL,
    state    TEXT,
    step     INTEGER,
    steps    INTEGER
) STRICT;

CREATE INDEX event_progress ON event (task) WHERE state IS NULL;

-- Final pictures of finished tasks.
CREATE TABLE output (
    id           TEXT    PRIMARY KEY,
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

CREATE INDEX output_task ON output (task);

-- What projects uploaded.
CREATE TABLE file (
    id           TEXT    PRIMARY KEY,
    project      INTEGER NOT NULL REFERENCES project (id),
    name         TEXT    NOT NULL,
    content_type TEXT    NOT NULL,
    size_bytes   INTEGER NOT NULL,
    added_at     INTEGER NOT NULL,
    access_key   TEXT    NOT NULL,
    directory    TEXT    NOT NULL,
    blob_key     TEXT    NOT NULL,
    UNIQUE (directory, name)
) STRICT;

CREATE INDEX file_project_name ON file (project, name, added_at);

-- One row that the readiness probe rewrites, to see whether a commit goes through.
CREATE TABLE probe (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    count INTEGER NOT NULL
) STRICT;

INSERT INTO probe (id, count) VALUES (1, 0);
