-- Nothing was ever kept in the first ledger.
DROP TABLE ledger;

-- What a budget has spent, by account (a host and the fingerprint of a credential).
CREATE TABLE ledger (
    account TEXT    NOT NULL PRIMARY KEY,
    -- Raised by every change, so that nobody overwrites what it has not seen.
    version INTEGER NOT NULL,
    -- What the quota wrote.
    entry   TEXT    NOT NULL,
    at      TEXT    NOT NULL
) STRICT;
