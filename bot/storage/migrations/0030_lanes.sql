-- The lanes of the engines, and since when the host keeps new requests from one.
CREATE TABLE lanes (
    name       TEXT PRIMARY KEY,
    drained_at TEXT
) WITHOUT ROWID;
