-- How the runs of each tool went. Counted where a task is accepted and where it ends, in the same
-- transaction: asking costs the same with a million tasks as with none.
CREATE TABLE tool_stat (
    tool_owner  TEXT    NOT NULL,
    tool_model  TEXT    NOT NULL,
    runs        INTEGER NOT NULL DEFAULT 0,
    successes   INTEGER NOT NULL DEFAULT 0,
    failures    INTEGER NOT NULL DEFAULT 0,
    last_run_at INTEGER NOT NULL,
    PRIMARY KEY (tool_owner, tool_model)
) STRICT, WITHOUT ROWID;

INSERT INTO tool_stat (tool_owner, tool_model, runs, successes, failures, last_run_at)
SELECT tool_owner,
       tool_model,
       count(*),
       count(*) FILTER (WHERE state = 'finished' AND exit_code = 0),
       count(*) FILTER (WHERE state = 'finished' AND exit_code <> 0),
       max(created_at)
FROM task JOIN job ON job.task = task.id
GROUP BY tool_owner, tool_model;
