-- The tenant key repo_id leads every key of the big tables, so that they can be partitioned
-- without a rewrite. Times are microseconds since the epoch, durations nanoseconds, truth 0 or 1.

CREATE TABLE installations (
    installation_id BIGINT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    suspended BIGINT NOT NULL DEFAULT 0,
    removed_at BIGINT,
    updated_at BIGINT NOT NULL
);

CREATE TABLE repositories (
    repo_id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    -- lower case OWNER/NAME: GitHub's names do not tell cases apart
    lookup_name TEXT NOT NULL UNIQUE,
    github_id BIGINT UNIQUE,
    installation_id BIGINT,
    default_branch TEXT,
    private BIGINT NOT NULL DEFAULT 1,
    removed_at BIGINT,
    created_at BIGINT NOT NULL
);

CREATE TABLE tokens (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    token_id TEXT NOT NULL,
    label TEXT NOT NULL,
    -- SHA-256 of the token: the token itself is shown once and kept nowhere
    hash BLOB NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT,
    PRIMARY KEY (repo_id, token_id)
);

CREATE TABLE deliveries (
    delivery_id TEXT NOT NULL PRIMARY KEY,
    event TEXT NOT NULL,
    -- the parsed event, as JSON; what we do not act on is not kept
    body TEXT,
    received_at BIGINT NOT NULL
);

CREATE TABLE pull_requests (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    number BIGINT NOT NULL,
    is_open BIGINT NOT NULL,
    head_sha TEXT NOT NULL,
    base_branch TEXT NOT NULL,
    is_from_fork BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (repo_id, number)
);

CREATE TABLE pull_request_heads (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    number BIGINT NOT NULL,
    head_sha TEXT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (repo_id, number, head_sha)
);
CREATE INDEX pull_request_heads_by_sha ON pull_request_heads (repo_id, head_sha);

-- A trace that is still arriving, or was collected lately.
CREATE TABLE open_traces (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    trace_id TEXT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    batches BIGINT NOT NULL,
    spans BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    has_root BIGINT NOT NULL,
    -- how often it became a run: late spans open it again
    collections BIGINT NOT NULL DEFAULT 0,
    -- how many batches were part of it when it last did: nothing else may be swept
    collected_batches BIGINT NOT NULL DEFAULT 0,
    -- its batches are gone: what comes now could only make half a run of it
    swept_at BIGINT,
    PRIMARY KEY (repo_id, trace_id)
);
CREATE INDEX open_traces_by_age ON open_traces (last_at);

CREATE TABLE span_batches (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    trace_id TEXT NOT NULL,
    batch_id TEXT NOT NULL,
    -- OTLP JSON of the batch's spans of this trace, redacted and bounded
    body BLOB NOT NULL,
    PRIMARY KEY (repo_id, trace_id, batch_id)
);

CREATE TABLE runs (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    run_id TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    external_id TEXT,
    trace_id TEXT,
    attempt BIGINT NOT NULL,
    head_sha TEXT NOT NULL,
    branch TEXT,
    pull_request BIGINT,
    result TEXT NOT NULL,
    runner TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    duration_ns BIGINT NOT NULL,
    notes TEXT NOT NULL,
    -- counts how often the run was collected: part of what an evaluation was made from
    collections BIGINT NOT NULL,
    PRIMARY KEY (repo_id, run_id),
    UNIQUE (repo_id, trace_id)
);
CREATE INDEX runs_by_head ON runs (repo_id, head_sha);
CREATE INDEX runs_by_time ON runs (repo_id, started_at);
CREATE INDEX runs_by_pipeline ON runs (repo_id, pipeline, branch, started_at);
CREATE INDEX runs_by_pull_request ON runs (repo_id, pull_request) WHERE pull_request IS NOT NULL;

-- stage_id: the first 8 bytes of SHA-256 of the key, so that samples stay small.
CREATE TABLE stages (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    stage_id BIGINT NOT NULL,
    stage_key TEXT NOT NULL,
    parent_id BIGINT,
    path TEXT NOT NULL,
    PRIMARY KEY (repo_id, stage_id)
);

CREATE TABLE samples (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    run_id TEXT NOT NULL,
    stage_id BIGINT NOT NULL,
    duration_ns BIGINT NOT NULL,
    count BIGINT NOT NULL,
    start_offset_ns BIGINT NOT NULL,
    end_offset_ns BIGINT NOT NULL,
    result TEXT NOT NULL,
    asynchronous BIGINT NOT NULL,
    PRIMARY KEY (repo_id, run_id, stage_id)
);

CREATE TABLE stage_errors (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    run_id TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    stage_key TEXT NOT NULL,
    path TEXT NOT NULL,
    signature TEXT NOT NULL,
    error_type TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (repo_id, run_id, ordinal)
);

CREATE TABLE comparisons (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    comparison_id TEXT NOT NULL,
    head_sha TEXT NOT NULL,
    evaluation BIGINT NOT NULL,
    -- SHA-256 over the runs and the policy it was made from: the same inputs are one comparison
    inputs_digest TEXT NOT NULL,
    run_id TEXT NOT NULL,
    pull_request BIGINT,
    verdict TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (repo_id, comparison_id),
    UNIQUE (repo_id, head_sha, evaluation, inputs_digest)
);

CREATE INDEX comparisons_by_time ON comparisons (repo_id, created_at);

-- One check run on GitHub: an evaluation of a head. A rerequest starts the next one.
CREATE TABLE checks (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    head_sha TEXT NOT NULL,
    evaluation BIGINT NOT NULL,
    github_check_run_id BIGINT,
    concluded_at BIGINT,
    -- the comparison GitHub shows; none while in progress or when given up
    comparison_id TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (repo_id, head_sha, evaluation)
);

CREATE TABLE comments (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    pull_request BIGINT NOT NULL,
    github_comment_id BIGINT NOT NULL,
    comparison_id TEXT NOT NULL,
    PRIMARY KEY (repo_id, pull_request)
);

CREATE TABLE jobs (
    job_id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    dedupe_key TEXT,
    serial_key TEXT,
    -- equals serial_key while the job runs: the unique index lets one run at a time
    running_key TEXT,
    -- 0 open, 2 done, 3 dead
    state BIGINT NOT NULL DEFAULT 0,
    -- not before this time; while the job runs, the end of its lease
    visible_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    max_attempts BIGINT NOT NULL,
    -- the process that runs it
    token TEXT,
    last_error TEXT,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX jobs_dedupe ON jobs (kind, dedupe_key);
CREATE UNIQUE INDEX jobs_running ON jobs (running_key);
CREATE INDEX jobs_ready ON jobs (visible_at, job_id) WHERE state = 0;
CREATE INDEX jobs_serial ON jobs (serial_key, visible_at, job_id) WHERE state = 0;
CREATE INDEX jobs_token ON jobs (token) WHERE state = 0;
CREATE INDEX jobs_ended ON jobs (state, visible_at) WHERE state <> 0;
