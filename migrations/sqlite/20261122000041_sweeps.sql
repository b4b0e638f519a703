-- How far GitHub's list of its deliveries was read. It has one row.
CREATE TABLE delivery_sweeps (
    sweep_id BIGINT NOT NULL PRIMARY KEY,
    -- every attempt before this time was looked at
    read_until BIGINT NOT NULL,
    -- a reading that is not finished: where it goes on, and what will have been read then
    next_cursor TEXT,
    reading_until BIGINT
);

-- Deliveries that did not arrive.
CREATE TABLE failed_deliveries (
    delivery_id TEXT NOT NULL PRIMARY KEY,
    -- GitHub's number of the attempt that failed: by it the delivery is asked for again
    github_delivery_id BIGINT NOT NULL,
    failed_at BIGINT NOT NULL,
    -- how often it was asked for again, and when it may be the next time
    attempts BIGINT NOT NULL DEFAULT 0,
    next_at BIGINT NOT NULL
);
