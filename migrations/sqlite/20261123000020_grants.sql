-- Who a job of GitHub Actions is, for some minutes: what it uploads is of one attempt of one run.
CREATE TABLE upload_grants (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    grant_id TEXT NOT NULL,
    -- SHA-256 of the grant: the grant itself is shown once and kept nowhere
    hash BLOB NOT NULL UNIQUE,
    github_run_id BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    -- GitHub's number of the job; older servers do not tell it
    check_run_id BIGINT,
    -- the commit the run is shown on, as far as it is known
    head_sha TEXT,
    expires_at BIGINT NOT NULL,
    -- what was uploaded with it
    uploads BIGINT NOT NULL DEFAULT 0,
    bytes BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (repo_id, grant_id)
);
CREATE INDEX upload_grants_by_run ON upload_grants (repo_id, github_run_id, attempt);
CREATE INDEX upload_grants_by_end ON upload_grants (expires_at);

-- Tokens of jobs that were exchanged for a grant: each is taken once, as long as it could be used.
CREATE TABLE used_job_tokens (
    token_id TEXT NOT NULL PRIMARY KEY,
    usable_until BIGINT NOT NULL
);
CREATE INDEX used_job_tokens_by_end ON used_job_tokens (usable_until);
