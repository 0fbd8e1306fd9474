-- Nothing was ever kept in the first vault.
DROP TABLE vault;

-- What credentials were given at run time: tokens, by the fingerprint of the secret that the files name.
CREATE TABLE vault (
    credential TEXT    NOT NULL PRIMARY KEY,
    -- Raised by every change, so that nobody overwrites what it has not seen.
    version    INTEGER NOT NULL,
    -- What the source wrote. Secrets stand in it.
    entry      TEXT    NOT NULL,
    at         TEXT    NOT NULL
) STRICT;
