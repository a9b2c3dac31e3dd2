-- Who wished that what is kept about them be deleted. A row outlives the deletion for a while, so that a backup that is
-- put back later does not bring it back.
CREATE TABLE wishes (
    id      INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL,
    at      TEXT    NOT NULL,
    done_at TEXT                                       -- when no file held anything of it any more
);
CREATE INDEX wishes_open ON wishes (id) WHERE done_at IS NULL;

-- Files that go with what was deleted; the rows that named them are gone already.
CREATE TABLE doomed_files (
    path TEXT PRIMARY KEY                              -- relative to the data folder
) WITHOUT ROWID;

ALTER TABLE jobs ADD COLUMN forgotten_at TEXT;         -- when its words were deleted at the person's request
ALTER TABLE jobs ADD COLUMN removed_at TEXT;           -- when its message was gone after that, or out of reach
-- Messages to delete.
CREATE INDEX jobs_to_remove ON jobs (surface, id) WHERE forgotten_at IS NOT NULL AND removed_at IS NULL;
-- Those that still say whose they were.
CREATE INDEX jobs_forgotten ON jobs (forgotten_at) WHERE forgotten_at IS NOT NULL AND user_id != 0;
