-- What a project may use, and what it uses. One narrow row for each, rewritten with every task
-- that is queued or ends; NULL is no limit. finish_tag is the place in the fair queue where its
-- next task begins (domain::fairness).
CREATE TABLE account (
    project         INTEGER PRIMARY KEY REFERENCES project (id),
    concurrency     INTEGER,
    balance_micros  INTEGER,
    weight          INTEGER NOT NULL DEFAULT 1,
    priority        INTEGER NOT NULL DEFAULT 0,
    active          INTEGER NOT NULL DEFAULT 0,
    reserved_micros INTEGER NOT NULL DEFAULT 0,
    spent_micros    INTEGER NOT NULL DEFAULT 0,
    finish_tag      INTEGER NOT NULL DEFAULT 0
) STRICT;

INSERT INTO account (project, active)
SELECT project.id, count(unfinished.task)
FROM project LEFT JOIN (
    SELECT task.project, job.task FROM job JOIN task ON task.id = job.task
    WHERE job.state NOT IN ('finished', 'cancelled')
) AS unfinished ON unfinished.project = project.id
GROUP BY project.id;

-- What a project pays for a successful run of 'owner/model', or of every other tool: '*'.
CREATE TABLE price (
    project      INTEGER NOT NULL REFERENCES project (id),
    tool         TEXT    NOT NULL,
    price_micros INTEGER NOT NULL,
    PRIMARY KEY (project, tool)
) STRICT, WITHOUT ROWID;

-- The present of the fair queue, for each priority: the start tag of the last task given out.
CREATE TABLE virtual_time (
    priority INTEGER PRIMARY KEY,
    tag      INTEGER NOT NULL
) STRICT;

-- The mean duration of a tool's successful runs; NULL before the first.
ALTER TABLE tool_stat ADD COLUMN mean_ms INTEGER;

-- A task's place in the queue, and its price: fixed when it is queued.
ALTER TABLE job ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN start_tag INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN price_micros INTEGER NOT NULL DEFAULT 0;

-- The queue in the order in which it is given out; tasks of one tag by number.
DROP INDEX job_queued;
CREATE INDEX job_queued ON job (priority DESC, start_tag) WHERE state = 'queued';

-- Keys of requests that may be repeated, and the tasks that came of them.
CREATE TABLE idempotency (
    project     INTEGER NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    task        INTEGER NOT NULL,
    used_at     INTEGER NOT NULL,
    PRIMARY KEY (project, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_age ON idempotency (used_at);
