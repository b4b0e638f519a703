-- Counted with every group of requests: traces of a repository that are not a run yet.
CREATE INDEX open_traces_waiting ON open_traces (repo_id) WHERE swept_at IS NULL AND collections = 0;
