-- What people decided about findings: who, when, why and how far it goes. Nothing is deleted, so
-- that it is the record of it, too.
CREATE TABLE decisions (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    decision_id TEXT NOT NULL,
    -- 'accepted' or 'muted'
    kind TEXT NOT NULL,
    -- the stage; for an error, its signature is beside it
    stage_key TEXT NOT NULL,
    signature TEXT,
    -- how far it goes: a ratio and seconds; none for an error
    ratio DOUBLE PRECISION,
    increase_s DOUBLE PRECISION,
    -- an accepted change is this pull request's; a muted stage is every one's
    pull_request BIGINT,
    head_sha TEXT NOT NULL,
    decided_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    decided_at BIGINT NOT NULL,
    -- a muted stage is heard again from here on
    expires_at BIGINT,
    -- an accepted change is the branch's from here on: what came before is moved to its level
    merged_at BIGINT,
    PRIMARY KEY (repo_id, decision_id)
);
CREATE INDEX decisions_by_time ON decisions (repo_id, decided_at);

-- Jobs of a workflow that were run again to turn a suspicion into a verdict: one for a head.
CREATE TABLE reruns (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    head_sha TEXT NOT NULL,
    github_run_id BIGINT NOT NULL,
    github_job_id BIGINT NOT NULL,
    requested_at BIGINT NOT NULL,
    PRIMARY KEY (repo_id, head_sha)
);
CREATE INDEX reruns_by_time ON reruns (repo_id, requested_at);
