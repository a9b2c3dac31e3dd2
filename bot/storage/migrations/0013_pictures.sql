-- Results and uploads are in one folder and named by their sha256, so that a request can start from a result. The next
-- start moves the files of the earlier folders (bot/storage/former_folders.py).
ALTER TABLE images DROP COLUMN path;
CREATE INDEX images_by_sha256 ON images (sha256);
-- A file that no row names is deleted, so no list of such files is needed.
DROP TABLE doomed_files;

-- The rest of the project says "deletion request".
CREATE TABLE deletion_requests (
    id      INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL,
    at      TEXT    NOT NULL,
    done_at TEXT                                       -- when no file had any of it any more
);
INSERT INTO deletion_requests SELECT id, user_id, at, done_at FROM wishes;
DROP TABLE wishes;
CREATE INDEX deletion_requests_open ON deletion_requests (id) WHERE done_at IS NULL;
