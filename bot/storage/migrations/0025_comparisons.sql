-- One prompt painted under two settings, and what people prefer without knowing which is which. It goes with its
-- requests, and with the data of the person who asked.
CREATE TABLE comparisons (
    id         INTEGER PRIMARY KEY,
    guild_id   INTEGER NOT NULL,
    user_id    INTEGER NOT NULL,                       -- who asked
    prompt     TEXT    NOT NULL,                       -- as it was typed: a style adds words that would tell
    first      TEXT    NOT NULL,                       -- the settings, as they were typed
    second     TEXT    NOT NULL,
    first_id   INTEGER NOT NULL UNIQUE REFERENCES jobs (id) ON DELETE CASCADE,
    second_id  INTEGER NOT NULL UNIQUE REFERENCES jobs (id) ON DELETE CASCADE,
    swapped    INTEGER NOT NULL,                       -- bit n is set if pair n + 1 has the second setting on the left
    ended_at   TEXT
);
CREATE INDEX comparisons_of_person ON comparisons (user_id);
-- One vote of a person for each pair.
CREATE TABLE votes (
    comparison_id INTEGER NOT NULL REFERENCES comparisons (id) ON DELETE CASCADE,
    user_id       INTEGER NOT NULL,
    pair          INTEGER NOT NULL,                    -- from 1
    for_second    INTEGER NOT NULL,                    -- 0 for the first setting, 1 for the second
    PRIMARY KEY (comparison_id, user_id, pair)
) WITHOUT ROWID;
CREATE INDEX votes_of_person ON votes (user_id);
