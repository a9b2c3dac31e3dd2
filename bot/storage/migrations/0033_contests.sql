-- A theme, results that people enter, and a blind vote on them. The message is made anew from these rows whenever
-- `changed` is ahead of `shown`.
CREATE TABLE contests (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,   -- makes nonces, so it is never used again
    guild_id      INTEGER NOT NULL,
    channel_id    INTEGER NOT NULL,
    gallery_id    INTEGER,                             -- where the winners are copied; NULL is nowhere
    theme         TEXT    NOT NULL,
    shuffle       TEXT    NOT NULL,                    -- the order of the entries for each voter is made from it
    begun_at      TEXT    NOT NULL,
    entries_until TEXT    NOT NULL,
    votes_until   TEXT    NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('entries', 'voting', 'counted', 'cancelled')),
    entrants      INTEGER NOT NULL DEFAULT 0,          -- as they were when the votes were counted, like what follows
    voters        INTEGER NOT NULL DEFAULT 0,
    best          INTEGER NOT NULL DEFAULT 0,          -- votes for each winner
    winners       INTEGER NOT NULL DEFAULT 0,
    message_id    INTEGER,
    news_id       INTEGER,                             -- the message that names the winners; 0 if there can be none
    changed       INTEGER NOT NULL DEFAULT 1,
    shown         INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX contests_of_server ON contests (guild_id, state);

-- One picture of a person. It goes with the picture.
CREATE TABLE contest_entries (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,      -- in the ids of buttons, so it is never used again
    contest_id INTEGER NOT NULL REFERENCES contests (id) ON DELETE CASCADE,
    user_id    INTEGER NOT NULL,
    job_id     INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    won        INTEGER NOT NULL DEFAULT 0,
    UNIQUE (contest_id, user_id),
    FOREIGN KEY (job_id, number) REFERENCES images (job_id, number) ON DELETE CASCADE
);
CREATE INDEX contest_entries_by_picture ON contest_entries (job_id, number);
CREATE INDEX contest_entries_of_person ON contest_entries (user_id);
-- One vote of a person, until the votes are counted.
CREATE TABLE contest_votes (
    contest_id INTEGER NOT NULL REFERENCES contests (id) ON DELETE CASCADE,
    user_id    INTEGER NOT NULL,
    entry_id   INTEGER NOT NULL REFERENCES contest_entries (id) ON DELETE CASCADE,
    PRIMARY KEY (contest_id, user_id)
) WITHOUT ROWID;
CREATE INDEX contest_votes_of_person ON contest_votes (user_id);
CREATE INDEX contest_votes_for ON contest_votes (entry_id);

-- The messages of a contest that is over name its winners.
CREATE TRIGGER winner_gone AFTER DELETE ON contest_entries WHEN OLD.won
BEGIN UPDATE contests SET changed = changed + 1 WHERE id = OLD.contest_id; END;
