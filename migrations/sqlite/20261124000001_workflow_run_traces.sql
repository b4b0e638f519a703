-- The traces of attempts of workflow runs. Spans that arrive under a trace find their run here.
CREATE TABLE workflow_run_traces (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    trace_id TEXT NOT NULL,
    github_run_id BIGINT NOT NULL,
    -- from 1
    attempt BIGINT NOT NULL,
    -- run and attempt are hashed as one sequence of digits, so two attempts may share a trace
    PRIMARY KEY (repo_id, trace_id, github_run_id, attempt)
);

-- The newest attempt of a run whose trace is in workflow_run_traces. SQL can't compute traces: for
-- runs that an older version recorded, the program does.
ALTER TABLE workflow_runs ADD COLUMN traced_attempt BIGINT NOT NULL DEFAULT 0;
CREATE INDEX workflow_runs_without_traces ON workflow_runs (repo_id, updated_at) WHERE traced_attempt < attempt;
