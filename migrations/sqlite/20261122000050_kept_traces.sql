-- What becomes of a run's raw trace: when it was written, which policy keeps it (none: nobody does
-- beyond the first days), and 0 there, 1 being dropped, 2 dropped.
ALTER TABLE runs ADD COLUMN trace_stored_at BIGINT;
ALTER TABLE runs ADD COLUMN trace_kept_by TEXT;
ALTER TABLE runs ADD COLUMN trace_state BIGINT NOT NULL DEFAULT 0;
UPDATE runs SET trace_kept_by = 'before there were policies';
CREATE INDEX runs_to_thin ON runs (repo_id, trace_stored_at) WHERE trace_kept_by IS NULL AND trace_state < 2;

-- The run of the baseline that stands for it: its trace is kept beside the candidate's.
ALTER TABLE comparisons ADD COLUMN baseline_run_id TEXT;
