-- What one repository sends in masses stands behind everything else: 0 usual, 1 low.
ALTER TABLE jobs ADD COLUMN priority BIGINT NOT NULL DEFAULT 0;
DROP INDEX jobs_ready;
CREATE INDEX jobs_ready ON jobs (priority, visible_at, job_id) WHERE state = 0;
