-- The repository that a task is about, so that the tasks of one are found without their payloads.
-- Empty for tasks whose payload names none, and for a payload that is not JSON.
ALTER TABLE jobs ADD COLUMN repo_id BIGINT;
UPDATE jobs SET repo_id = CASE WHEN json_valid(payload) THEN
    CASE json_type(payload, '$.repo') WHEN 'integer' THEN json_extract(payload, '$.repo') END
END;
CREATE INDEX jobs_by_repository ON jobs (repo_id, visible_at) WHERE state = 0;
