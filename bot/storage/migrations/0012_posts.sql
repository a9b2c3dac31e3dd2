-- A post is a message and the jobs that it shows. It has no message until Discord has accepted one.
CREATE TABLE posts (
    id          INTEGER PRIMARY KEY,
    channel_id  INTEGER NOT NULL,                      -- where people asked
    parent_id   INTEGER,                               -- the parent channel, if the channel is a thread
    message_id  INTEGER,
    reposted_at TEXT,                                  -- when the bot first began to replace a message that is gone
    left_message_id INTEGER                            -- a message that was replaced and is still to be deleted
);
ALTER TABLE jobs ADD COLUMN post_id INTEGER REFERENCES posts (id);
-- Until now a message showed one job. A forgotten job had the message 0.
INSERT INTO posts (id, channel_id, parent_id, message_id, reposted_at)
SELECT id, channel_id, parent_id, nullif(message_id, 0), reposted_at FROM jobs;
UPDATE jobs SET post_id = id;
CREATE INDEX posts_by_message ON posts (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX posts_left ON posts (id) WHERE left_message_id IS NOT NULL;
CREATE INDEX jobs_by_post ON jobs (post_id);

DROP INDEX jobs_by_message;
ALTER TABLE jobs DROP COLUMN channel_id;
ALTER TABLE jobs DROP COLUMN parent_id;
ALTER TABLE jobs DROP COLUMN message_id;
ALTER TABLE jobs DROP COLUMN reposted_at;

-- What most readers of a job need. The join is a CROSS JOIN so that SQLite begins with the jobs, which have the indexes.
CREATE VIEW jobs_with_post AS
SELECT jobs.*, posts.channel_id, posts.parent_id, posts.message_id, posts.reposted_at, posts.left_message_id
FROM jobs CROSS JOIN posts ON posts.id = jobs.post_id;

-- A reaction stands under a post, and so under all the jobs that it shows.
CREATE TABLE new_ratings (
    message_id INTEGER NOT NULL,
    user_id    INTEGER NOT NULL,
    emoji      TEXT    NOT NULL,
    post_id    INTEGER NOT NULL REFERENCES posts (id),
    added_at   TEXT    NOT NULL,
    PRIMARY KEY (message_id, user_id, emoji)
) WITHOUT ROWID;
INSERT INTO new_ratings SELECT message_id, user_id, emoji, job_id, added_at FROM ratings;
DROP TABLE ratings;
ALTER TABLE new_ratings RENAME TO ratings;
CREATE INDEX ratings_by_post ON ratings (post_id);
