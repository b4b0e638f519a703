-- What GitHub says of the runs of a head's workflows: what a check waits for.
CREATE TABLE workflow_runs (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    github_run_id BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    workflow_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    event TEXT NOT NULL,
    head_sha TEXT NOT NULL,
    -- 0 queued, 1 in progress, 2 completed
    progress BIGINT NOT NULL,
    -- the newest attempt that was read; 0 for none
    collected_attempt BIGINT NOT NULL DEFAULT 0,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (repo_id, github_run_id)
);
CREATE INDEX workflow_runs_by_head ON workflow_runs (repo_id, head_sha);

-- Heads of a merge queue: they want a check as a pull request does, and have no comment.
CREATE TABLE merge_groups (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    head_sha TEXT NOT NULL,
    base_branch TEXT NOT NULL,
    base_sha TEXT NOT NULL,
    is_open BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (repo_id, head_sha)
);

-- The commit a trace that still arrives says it is of: what a check waits for, too.
ALTER TABLE open_traces ADD COLUMN head_sha TEXT;
CREATE INDEX open_traces_by_head ON open_traces (repo_id, head_sha);

-- What a waiting check shows, so that it is not sent again: SHA-256 of its output.
ALTER TABLE checks ADD COLUMN shown_digest TEXT;
