-- Words that people put on results: members on their own, moderators on any of their server.
CREATE TABLE tags (
    job_id   INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    tag      TEXT    NOT NULL,
    user_id  INTEGER NOT NULL,                         -- who put it there
    added_at TEXT    NOT NULL,
    PRIMARY KEY (job_id, tag)
) WITHOUT ROWID;
CREATE INDEX tags_of_person ON tags (user_id);
