-- The history of a task moves from the event log into its job: seven bytes for each state that it
-- entered, one for the state and six for the time in milliseconds, and the number of the last.
ALTER TABLE job ADD COLUMN last_event INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN history    BLOB    NOT NULL DEFAULT x'';

CREATE TEMP TABLE state_code (state TEXT PRIMARY KEY, code INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO state_code (state, code) VALUES
    ('queued', 0), ('accepted', 1), ('preprocess_started', 2), ('preprocess_ended', 3),
    ('assigned', 4), ('started', 5), ('output', 6), ('output_full', 7), ('ended', 8),
    ('postprocess_started', 9), ('finished', 10), ('cancelled', 11);

CREATE TEMP TABLE entry (task INTEGER, place INTEGER, code INTEGER, at INTEGER,
    PRIMARY KEY (task, place)) WITHOUT ROWID;

-- From the log, where it still has the task's first event. Times never run backwards.
INSERT INTO entry (task, place, code, at)
SELECT task, sequence, code, max(at) OVER (PARTITION BY task ORDER BY sequence)
FROM event JOIN state_code USING (state)
WHERE task IN (
    SELECT task FROM (
        SELECT task, state, min(sequence) FROM event WHERE state IS NOT NULL GROUP BY task
    ) WHERE state = 'queued');

-- The others, as far as their times tell; the state that they are in comes last in any case.
INSERT OR IGNORE INTO entry (task, place, code, at)
WITH known (task, state, at) AS (
    SELECT task, 'queued', created_at FROM job
    UNION ALL SELECT task, 'accepted', accepted_at FROM job
    UNION ALL SELECT task, 'preprocess_started', preprocess_started_at FROM job
    UNION ALL SELECT task, 'preprocess_ended', preprocess_ended_at FROM job
    UNION ALL SELECT task, 'assigned', assigned_at FROM job
    UNION ALL SELECT task, 'started', started_at FROM job
    UNION ALL SELECT task, 'ended', ended_at FROM job
    UNION ALL SELECT task, 'postprocess_started', postprocess_started_at FROM job
    UNION ALL SELECT task, 'finished', postprocess_ended_at FROM job
    UNION ALL SELECT task, 'cancelled', cancelled_at FROM job
    UNION ALL SELECT task, state,
        coalesce(cancelled_at, postprocess_ended_at, postprocess_started_at, ended_at, started_at,
            assigned_at, preprocess_ended_at, preprocess_started_at, accepted_at, created_at)
        FROM job
)
SELECT task, code, code, max(at) OVER (PARTITION BY task ORDER BY code)
FROM known JOIN state_code USING (state)
WHERE at IS NOT NULL AND task NOT IN (SELECT task FROM entry);

UPDATE job SET last_event = packed.events, history = packed.history
FROM (
    SELECT task, count(*) AS events,
        unhex(group_concat(printf('%02x%012x', code, at), '' ORDER BY place)) AS history
    FROM entry GROUP BY task
) AS packed
WHERE packed.task = job.task;

DROP TABLE entry;
DROP TABLE state_code;
DROP TABLE event;
