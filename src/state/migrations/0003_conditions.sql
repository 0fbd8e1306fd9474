-- What is wrong, and what whom was told of it.
CREATE TABLE condition (
    job        TEXT NOT NULL,
    kind       TEXT NOT NULL,
    -- Tells conditions of one kind apart; empty where a job can have only one.
    detail     TEXT NOT NULL,
    since      TEXT NOT NULL,
    reason     TEXT NOT NULL,
    -- Null while it holds.
    cleared_at TEXT,
    told_json  TEXT NOT NULL,
    PRIMARY KEY (job, kind, detail)
) STRICT;
