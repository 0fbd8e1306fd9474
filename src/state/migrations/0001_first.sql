-- Instants are RFC 3339 texts in UTC with nine digits of a second, so that they sort as they follow each other.
-- Columns that end in _json hold {"version": 1, "value": ...}.

CREATE TABLE dataset (
    name          TEXT    NOT NULL PRIMARY KEY,
    -- The lease. An owner that is not of the process that holds the file lock is dead.
    owner         TEXT,
    leased_at     TEXT,
    epoch         INTEGER NOT NULL,
    -- The lake's truth up to seq.
    seq           INTEGER NOT NULL,
    record_hash   TEXT    NOT NULL,
    generation    INTEGER NOT NULL,
    coverage_json TEXT    NOT NULL,
    pending_json  TEXT    NOT NULL,
    -- By what definition of the job the coverage came about.
    fingerprint_json TEXT NOT NULL
) STRICT;

CREATE TABLE batch (
    batch       TEXT    NOT NULL PRIMARY KEY,
    dataset     TEXT    NOT NULL REFERENCES dataset (name),
    seq         INTEGER NOT NULL,
    -- Of the lease under which it was noted.
    epoch       INTEGER NOT NULL,
    status      TEXT    NOT NULL CHECK (status IN ('prepared', 'aborted', 'done', 'dropped')),
    staged_json TEXT    NOT NULL,
    covers_json TEXT    NOT NULL,
    row_count   INTEGER NOT NULL,
    byte_count  INTEGER NOT NULL,
    noted_at    TEXT    NOT NULL
) STRICT;
CREATE INDEX batch_by_seq ON batch (dataset, seq);

-- When a job is due. The last due time guards against firing twice and is what catching up begins from.
CREATE TABLE due (
    job      TEXT NOT NULL PRIMARY KEY,
    last_due TEXT,
    next_due TEXT
) STRICT;

-- Tokens that a source renews, and that nothing else remembers.
CREATE TABLE vault (
    name       TEXT    NOT NULL PRIMARY KEY,
    -- Raised by every change, so that two renewals do not overwrite each other.
    version    INTEGER NOT NULL,
    secret     BLOB    NOT NULL,
    expires_at TEXT,
    changed_at TEXT    NOT NULL
) STRICT;

-- Requests spent, by budget (a credential at a host) and stretch of time.
CREATE TABLE ledger (
    budget     TEXT    NOT NULL,
    stretch_at TEXT    NOT NULL,
    requests   INTEGER NOT NULL,
    PRIMARY KEY (budget, stretch_at)
) STRICT;

CREATE TABLE runs (
    run         TEXT    NOT NULL PRIMARY KEY,
    job         TEXT    NOT NULL,
    started_at  TEXT    NOT NULL,
    finished_at TEXT,
    status      TEXT    NOT NULL,
    counts_json TEXT    NOT NULL,
    requests    INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    files       INTEGER NOT NULL,
    commits     INTEGER NOT NULL,
    error       TEXT
) STRICT;
CREATE INDEX runs_by_job ON runs (job, started_at, run);
CREATE INDEX runs_by_start ON runs (started_at, run);

CREATE TABLE events (
    id   INTEGER PRIMARY KEY,
    at   TEXT NOT NULL,
    -- Empty where it is about no job.
    job  TEXT NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    -- Noting the same again, after an answer was lost, is no second event.
    UNIQUE (job, at, kind, text)
) STRICT;
CREATE INDEX events_by_time ON events (at, id);
