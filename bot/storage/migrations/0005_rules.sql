-- What moderators decided, by subject: limits, pauses, blocks, quotas reset. `value` is JSON, so that an id stays whole.
CREATE TABLE rules (
    guild_id   INTEGER NOT NULL,
    scope      TEXT    NOT NULL CHECK (scope IN ('server', 'channel', 'role', 'person')),
    subject_id INTEGER NOT NULL,                       -- of the channel, role or person; 0 is the server
    name       TEXT    NOT NULL,
    value      TEXT    NOT NULL,
    PRIMARY KEY (guild_id, scope, subject_id, name)
) WITHOUT ROWID;
-- A quota is now GPU seconds: its default of 200 images became one of 600 seconds.
INSERT INTO rules
SELECT guild_id, iif(user_id = 0, 'server', 'person'), user_id, name, iif(name = 'quota', min(3 * value, 1000000), value)
FROM limits;
DROP TABLE limits;

-- Every change of a rule, and whatever else a moderator did; numbered in each server from 1.
CREATE TABLE cases (
    guild_id   INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    at         TEXT    NOT NULL,
    by_id      INTEGER NOT NULL,
    action     TEXT    NOT NULL,                       -- such as limits set, block, cancel, undo
    scope      TEXT    NOT NULL,
    subject_id INTEGER NOT NULL,
    before     TEXT    NOT NULL,                       -- JSON: the rules by name that were changed; jobs by id
    after      TEXT    NOT NULL,
    reason     TEXT    NOT NULL DEFAULT '',
    undoes     INTEGER,                                -- the number of another case
    PRIMARY KEY (guild_id, number)
) WITHOUT ROWID;
CREATE INDEX cases_of_subject ON cases (guild_id, scope, subject_id, number);

-- Who asked, and where, as far as rules may be about it: the roles then, the highest first, and a thread's channel.
ALTER TABLE jobs ADD COLUMN roles TEXT NOT NULL DEFAULT '[]';
ALTER TABLE jobs ADD COLUMN parent_id INTEGER;

-- Requests that a rule refused: numbers and the rule, never words. Whose they were is forgotten after 30 days.
CREATE TABLE refusals (
    id         INTEGER PRIMARY KEY,
    guild_id   INTEGER NOT NULL,
    user_id    INTEGER NOT NULL,
    at         TEXT    NOT NULL,
    rule       TEXT    NOT NULL,
    origin     TEXT    NOT NULL,                       -- who decided: the host, or server, channel:1, role:1, person:1
    asked      REAL,
    allowed    REAL,
    retry_at   TEXT
);
CREATE INDEX refusals_of_person ON refusals (guild_id, user_id, at);
CREATE INDEX refusals_by_guild ON refusals (guild_id, at);
CREATE INDEX refusals_known ON refusals (at) WHERE user_id != 0;
