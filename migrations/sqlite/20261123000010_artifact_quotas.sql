-- What forks sent of jobs on a day: whoever opens a pull request may send, and not without bound.
CREATE TABLE artifact_quotas (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    -- GitHub's number of the repository that the commit is of
    head_repository BIGINT NOT NULL,
    -- days since the epoch
    day BIGINT NOT NULL,
    artifacts BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (repo_id, head_repository, day)
);
CREATE INDEX artifact_quotas_by_day ON artifact_quotas (day);

-- Artifacts that were taken from a quota: one that is read again is not taken again.
CREATE TABLE counted_artifacts (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    -- GitHub's number of it
    artifact_id BIGINT NOT NULL,
    -- days since the epoch
    day BIGINT NOT NULL,
    PRIMARY KEY (repo_id, artifact_id)
);
CREATE INDEX counted_artifacts_by_day ON counted_artifacts (day);
