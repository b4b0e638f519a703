-- The newest commit of the branch a pull request is to be merged into, as GitHub last said: what the
-- change is held against, if it was measured. Empty for pull requests from before.

ALTER TABLE pull_requests ADD COLUMN base_sha TEXT;
