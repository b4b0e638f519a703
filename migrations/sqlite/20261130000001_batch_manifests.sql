-- What the manifest of the job that sent a batch states about the run and the job: kept beside the
-- spans, where no GitHub App reports the run.
ALTER TABLE span_batches ADD COLUMN manifest BLOB;
