-- The repository that a task is about, so that the tasks of one are found without their payloads.
-- Empty for tasks whose payload names none, and for a payload that is not JSON. A cast to JSON would
-- end the migration at such a payload. Payloads have one level, and a quote inside a string follows
-- a backslash, so the pattern matches the member alone.
ALTER TABLE jobs ADD COLUMN repo_id BIGINT;
UPDATE jobs SET repo_id = CAST(substring(payload FROM '"repo"\s*:\s*([0-9]{1,18})\s*[,}]') AS BIGINT)
    WHERE payload ~ '^\s*\{.*\}\s*$';
CREATE INDEX jobs_by_repository ON jobs (repo_id, visible_at) WHERE state = 0;
