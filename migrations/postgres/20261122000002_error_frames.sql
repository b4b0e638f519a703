-- Where in the repository an error arose, from its stack trace. Rows of before have none.
ALTER TABLE stage_errors ADD COLUMN frame_path TEXT;
ALTER TABLE stage_errors ADD COLUMN frame_function TEXT;
ALTER TABLE stage_errors ADD COLUMN frame_line BIGINT;
