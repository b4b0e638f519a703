-- What a stage's time was spent on, and whether a cache had what it needed. Samples from before
-- are work, and nothing is known of their cache.

-- 'queue' for waiting for a runner; none for work, which nearly every sample is
ALTER TABLE samples ADD COLUMN kind TEXT;
-- 'hit' or 'miss'; none when nobody said
ALTER TABLE samples ADD COLUMN cache TEXT;
