-- How far the history of each workflow has been read from GitHub.
CREATE TABLE backfills (
    repo_id BIGINT NOT NULL REFERENCES repositories (repo_id),
    workflow_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    -- whose runs are read: the default branch
    branch TEXT NOT NULL,
    -- so many runs are wanted; fewer when GitHub has no more
    wanted BIGINT NOT NULL,
    -- runs that GitHub listed so far, and those of them that are stored
    listed BIGINT NOT NULL,
    collected BIGINT NOT NULL,
    -- the page of the list that is read next, from 1
    next_page BIGINT NOT NULL,
    done_at BIGINT,
    last_error TEXT,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (repo_id, workflow_id)
);
