-- Files at a commit, which never change: workflows that findings are annotated in, and the policy as a
-- change has it. Kept for some days.
CREATE TABLE workflow_files (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    commit_sha TEXT NOT NULL,
    path TEXT NOT NULL,
    -- empty when the commit has none
    body TEXT,
    fetched_at BIGINT NOT NULL,
    PRIMARY KEY (repo_id, commit_sha, path)
);
CREATE INDEX workflow_files_by_age ON workflow_files (fetched_at);

-- Which file a run's workflow is written in; empty for other pipelines and for runs from before.
ALTER TABLE runs ADD COLUMN workflow_path TEXT;
