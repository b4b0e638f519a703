-- What becomes of repositories: archived ones get nothing posted, those that no installation covers are
-- deleted after a grace period, renamed ones are found by the names they had.
ALTER TABLE repositories ADD COLUMN archived BIGINT NOT NULL DEFAULT 0;
-- GitHub made it private then: a late delivery that says public opens nothing
ALTER TABLE repositories ADD COLUMN closed_at BIGINT;
-- since when no installation covers it
ALTER TABLE repositories ADD COLUMN detached_at BIGINT;

CREATE TABLE repository_names (
    lookup_name TEXT NOT NULL PRIMARY KEY,
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    until_at BIGINT NOT NULL
);
