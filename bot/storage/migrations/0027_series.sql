-- A series is one request of a person that became several jobs: one for each prompt that a prompt with choices stands
-- for. Its jobs share posts, a few in each. It goes with the data of the person who asked.
CREATE TABLE series (
    id       INTEGER PRIMARY KEY,
    kind     TEXT    NOT NULL,
    guild_id INTEGER NOT NULL,
    user_id  INTEGER NOT NULL,                         -- who asked
    title    TEXT    NOT NULL                          -- what they typed
);
CREATE INDEX series_of_person ON series (user_id);
ALTER TABLE jobs ADD COLUMN series_id INTEGER REFERENCES series (id);
ALTER TABLE jobs ADD COLUMN label TEXT NOT NULL DEFAULT '';  -- what the job is called within its series
CREATE INDEX jobs_by_series ON jobs (series_id) WHERE series_id IS NOT NULL;
-- A series waits as one request.
DROP INDEX jobs_waiting_of_person;
CREATE INDEX jobs_waiting_of_person ON jobs (user_id, guild_id, series_id) WHERE status = 'queued';
