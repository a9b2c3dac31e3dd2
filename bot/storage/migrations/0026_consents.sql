-- That a person lets their results on a server go into data sets, and until when. A person who joins again has a new row.
CREATE TABLE consents (
    id        INTEGER PRIMARY KEY,
    user_id   INTEGER NOT NULL,
    guild_id  INTEGER NOT NULL,
    joined_at TEXT    NOT NULL,
    left_at   TEXT
);
CREATE UNIQUE INDEX consents_now ON consents (user_id, guild_id) WHERE left_at IS NULL;
-- What makes the names of people and rows in data sets: the same in every version, and of no use without it.
CREATE TABLE dataset_secret (value TEXT NOT NULL);
INSERT INTO dataset_secret (value) VALUES (lower(hex(randomblob(32))));
