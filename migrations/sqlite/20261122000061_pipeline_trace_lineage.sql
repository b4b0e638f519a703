-- The line of development that a trace names: traces of different ones are never one run.
ALTER TABLE pipeline_traces ADD COLUMN branch TEXT;
ALTER TABLE pipeline_traces ADD COLUMN pull_request BIGINT;
