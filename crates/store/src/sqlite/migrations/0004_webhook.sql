-- Where the addresses in a report of the task's end begin; NULL: where the service says.
ALTER TABLE task ADD COLUMN callback_base_url TEXT;

-- The outbox: one row for each ended task that named a callback, written where it ends, in the
-- same transaction. A pending one either waits (next_attempt_at) or is in hand (lease_until). A
-- round is what the schedule counts in; sending it again by hand begins a new one.
CREATE TABLE webhook (
    task             INTEGER PRIMARY KEY REFERENCES task (id) ON DELETE CASCADE,
    id               TEXT    NOT NULL UNIQUE,
    project          INTEGER NOT NULL REFERENCES project (id),
    receiver         TEXT    NOT NULL,
    state            TEXT    NOT NULL,
    created_at       INTEGER NOT NULL,
    attempts         INTEGER NOT NULL DEFAULT 0,
    round_started_at INTEGER NOT NULL,
    round_attempts   INTEGER NOT NULL DEFAULT 0,
    next_attempt_at  INTEGER,
    lease_until      INTEGER
) STRICT;

-- Partial, so that what was delivered costs a claim nothing. A lane is what one project sends to
-- one receiver.
CREATE INDEX webhook_due ON webhook (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX webhook_lane ON webhook (project, receiver, next_attempt_at)
    WHERE next_attempt_at IS NOT NULL;
CREATE INDEX webhook_leased ON webhook (lease_until) WHERE lease_until IS NOT NULL;

-- Lists for the operator, newest first.
CREATE INDEX webhook_project ON webhook (project);
CREATE INDEX webhook_undelivered ON webhook (state) WHERE state <> 'delivered';

-- Every attempt, from the moment it begins. No status and no error: it is under way.
CREATE TABLE webhook_attempt (
    task        INTEGER NOT NULL REFERENCES webhook (task) ON DELETE CASCADE,
    number      INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    status      INTEGER,
    error       TEXT,
    duration_ms INTEGER,
    PRIMARY KEY (task, number)
) STRICT, WITHOUT ROWID;
