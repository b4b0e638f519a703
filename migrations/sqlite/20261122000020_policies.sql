-- The policy file of a branch as GitHub last answered, so that not every comparison asks again.
CREATE TABLE policies (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    branch TEXT NOT NULL,
    -- empty when the branch has none
    path TEXT,
    body TEXT,
    -- 0: a push changed the branch since
    fetched_at BIGINT NOT NULL,
    PRIMARY KEY (repo_id, branch)
);
