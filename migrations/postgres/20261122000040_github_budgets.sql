-- What GitHub lets the App do to an installation, for all processes; 0 is the App itself.
CREATE TABLE github_budgets (
    installation_id BIGINT NOT NULL PRIMARY KEY,
    -- GitHub asked to wait: nobody calls before this time
    closed_until BIGINT NOT NULL DEFAULT 0,
    -- how often in a row it asked without saying for how long
    unsaid_limits BIGINT NOT NULL DEFAULT 0,
    -- the hour of calls, as GitHub told it last
    calls_limit BIGINT,
    calls_remaining BIGINT,
    calls_reset_at BIGINT,
    -- the one write there may be: whose, and when it must have ended
    write_token TEXT,
    write_until BIGINT NOT NULL DEFAULT 0,
    next_write_at BIGINT NOT NULL DEFAULT 0,
    updated_at BIGINT NOT NULL
);

-- How many writes began in each five minutes of the last hour.
CREATE TABLE github_writes (
    installation_id BIGINT NOT NULL,
    period_at BIGINT NOT NULL,
    writes BIGINT NOT NULL,
    PRIMARY KEY (installation_id, period_at)
);
