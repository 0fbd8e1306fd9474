-- Instants are RFC 3339 texts in UTC with nine digits of a second, which Postgres's own type would round; COLLATE "C" lets them
-- sort as they follow each other. Only leases have times of the database's clock. Columns that end in _json hold
-- {"version": 1, "value": ...}; texts that may hold a NUL, which Postgres's text does not, are BYTEA.

CREATE TABLE dataset (
    name          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- The lease: who holds it (for people), which process, which taking, and until when by the clock of this server.
    owner         TEXT,
    process       TEXT,
    token         TEXT,
    leased_at     TEXT COLLATE "C",
    lease_until   TIMESTAMPTZ,
    epoch         BIGINT NOT NULL,
    -- The lake's truth up to seq.
    seq           BIGINT NOT NULL,
    record_hash   TEXT   NOT NULL,
    generation    BIGINT NOT NULL,
    coverage_json TEXT   NOT NULL,
    pending_json  TEXT   NOT NULL,
    -- By what definition of the job the coverage came about.
    fingerprint_json TEXT NOT NULL
);

CREATE TABLE batch (
    batch       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    dataset     TEXT COLLATE "C" NOT NULL,
    seq         BIGINT NOT NULL,
    -- Of the lease under which it was noted.
    epoch       BIGINT NOT NULL,
    status      TEXT   NOT NULL CHECK (status IN ('prepared', 'aborted', 'done', 'dropped')),
    staged_json TEXT   NOT NULL,
    covers_json TEXT   NOT NULL,
    row_count   BIGINT NOT NULL,
    byte_count  BIGINT NOT NULL,
    noted_at    TEXT COLLATE "C" NOT NULL
);
CREATE INDEX batch_by_seq ON batch (dataset, seq);

CREATE TABLE due (
    job           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    last_due      TEXT COLLATE "C",
    next_due      TEXT COLLATE "C",
    -- What of a job its due times were computed from: a due time of another schedule was never missed.
    schedule      TEXT NOT NULL,
    -- Who took last_due: taking it again, after an answer was lost, is no second time.
    claim         TEXT,
    -- The job whose success this one still has to follow.
    owed_after    TEXT,
    parked_until  TEXT COLLATE "C",
    parked_reason TEXT
);

-- Due times that were taken, the newest of each job: a daemon that knows less may set last_due back, and still nobody takes one
-- of them a second time.
CREATE TABLE claimed (
    job    TEXT COLLATE "C" NOT NULL,
    due_at TEXT COLLATE "C" NOT NULL,
    claim  TEXT NOT NULL,
    PRIMARY KEY (job, due_at)
);

-- What credentials were given at run time: tokens, by the fingerprint of the secret that the files name.
CREATE TABLE vault (
    credential TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- Raised by every change, so that nobody overwrites what it has not seen.
    version    BIGINT NOT NULL,
    -- What the source wrote. Secrets stand in it.
    entry      BYTEA  NOT NULL,
    at         TEXT COLLATE "C" NOT NULL
);

-- What a budget has spent and who may spend how much of it, by account (a host and the fingerprint of a credential).
CREATE TABLE ledger (
    account TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- Raised by every change, so that nobody overwrites what it has not seen.
    version BIGINT NOT NULL,
    -- What the quota wrote.
    entry   BYTEA  NOT NULL,
    at      TEXT COLLATE "C" NOT NULL
);

CREATE TABLE runs (
    run         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    job         TEXT COLLATE "C" NOT NULL,
    -- Whose it is: one that runs while its process holds no lease any more has ended with it.
    process     TEXT   NOT NULL,
    started_at  TEXT COLLATE "C" NOT NULL,
    finished_at TEXT COLLATE "C",
    status      TEXT   NOT NULL,
    counts_json TEXT   NOT NULL,
    requests    BIGINT NOT NULL,
    bytes       BIGINT NOT NULL,
    files       BIGINT NOT NULL,
    commits     BIGINT NOT NULL,
    error       TEXT
);
CREATE INDEX runs_by_job ON runs (job, started_at, run);
CREATE INDEX runs_by_start ON runs (started_at, run);

CREATE TABLE events (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       TEXT COLLATE "C" NOT NULL,
    -- Empty where it is about no job.
    job      TEXT COLLATE "C" NOT NULL,
    kind     TEXT NOT NULL,
    text     TEXT NOT NULL,
    -- The text's SHA-256, for an index has no room for a long text.
    text_key TEXT NOT NULL,
    -- Noting the same again, after an answer was lost, is no second event.
    UNIQUE (job, at, kind, text_key)
);
CREATE INDEX events_by_time ON events (at, id);

-- What is wrong, and what whom was told of it.
CREATE TABLE condition (
    job        TEXT COLLATE "C" NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    -- Tells conditions of one kind apart; empty where a job can have only one.
    detail     TEXT COLLATE "C" NOT NULL,
    -- The detail's SHA-256.
    detail_key TEXT NOT NULL,
    since      TEXT COLLATE "C" NOT NULL,
    reason     TEXT NOT NULL,
    -- Null while it holds.
    cleared_at TEXT COLLATE "C",
    told_json  TEXT NOT NULL,
    PRIMARY KEY (job, kind, detail_key)
);
