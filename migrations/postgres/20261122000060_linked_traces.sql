-- Traces that name the pipeline run they are of, and the traces that their links name: linked
-- traces of one run are collected as one.
CREATE TABLE pipeline_traces (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    trace_id TEXT NOT NULL,
    -- the producer's identifier of the run and its attempt
    run_key TEXT NOT NULL,
    head_sha TEXT,
    -- nanoseconds since the epoch, by the producer's clock
    started_ns BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL,
    PRIMARY KEY (repo_id, trace_id)
);
CREATE INDEX pipeline_traces_by_run ON pipeline_traces (repo_id, run_key);

CREATE TABLE trace_links (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    trace_id TEXT NOT NULL,
    linked_trace_id TEXT NOT NULL,
    PRIMARY KEY (repo_id, trace_id, linked_trace_id)
);
