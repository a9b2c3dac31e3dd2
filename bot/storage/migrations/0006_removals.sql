-- Results that a moderator removed: the rows of their pictures are gone at once, their message says so when it can.
CREATE TABLE removals (
    job_id   INTEGER PRIMARY KEY REFERENCES jobs (id),
    noted_at TEXT                                      -- when the message said so, or could not any more
);
CREATE INDEX removals_open ON removals (job_id) WHERE noted_at IS NULL;
