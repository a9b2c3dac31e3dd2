-- Everything that happens to one request is one row of jobs: it is the queue and the usage log at once.
-- Times are ISO 8601 text in UTC with microseconds, so that text order is time order.
CREATE TABLE jobs (
    id                    INTEGER PRIMARY KEY AUTOINCREMENT,
    surface               TEXT    NOT NULL,            -- discord, sandbox or terminal
    interaction_id        INTEGER UNIQUE,              -- an event that Discord repeats makes no second job
    guild_id              INTEGER NOT NULL,
    channel_id            INTEGER NOT NULL,
    message_id            INTEGER,                     -- the message that becomes the result
    user_id               INTEGER NOT NULL,
    prompt                TEXT    NOT NULL,
    negative_prompt       TEXT    NOT NULL,
    model                 TEXT    NOT NULL,
    model_hash            TEXT,                        -- sha256 of the weights that painted it
    sampler               TEXT    NOT NULL,
    width                 INTEGER NOT NULL,
    height                INTEGER NOT NULL,
    num_inference_steps   INTEGER NOT NULL,
    guidance_scale        REAL    NOT NULL,
    seed                  INTEGER NOT NULL,
    num_images_per_prompt INTEGER NOT NULL,
    cost                  REAL    NOT NULL,            -- megapixel-steps
    status                TEXT    NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'running', 'rendered', 'delivered', 'failed', 'cancelled')),
    attempt               INTEGER NOT NULL DEFAULT 0,  -- fences off results of an earlier attempt
    deaths                INTEGER NOT NULL DEFAULT 0,  -- attempts that ended with the engine's death
    reason                TEXT,                        -- why it failed, in words for the requester
    asked_at              TEXT    NOT NULL,
    started_at            TEXT,                        -- of the latest attempt
    painted_at            TEXT,
    posted_at             TEXT                         -- when its message said how it ended
);

-- The waiting line, in order of asking.
CREATE INDEX jobs_waiting ON jobs (surface, asked_at) WHERE status = 'queued';
-- What a person used: the quota counts these.
CREATE INDEX jobs_of_person ON jobs (user_id, guild_id, asked_at);
-- What a person has waiting: the queue depth counts these.
CREATE INDEX jobs_waiting_of_person ON jobs (user_id, guild_id) WHERE status = 'queued';
-- Ended jobs whose message does not say so yet: the outbox.
CREATE INDEX jobs_unposted ON jobs (surface, id)
    WHERE posted_at IS NULL AND status IN ('rendered', 'failed', 'cancelled');
CREATE INDEX jobs_running ON jobs (surface) WHERE status = 'running';
CREATE INDEX jobs_by_message ON jobs (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX jobs_by_guild ON jobs (guild_id, asked_at);
CREATE INDEX jobs_started ON jobs (surface, started_at) WHERE started_at IS NOT NULL;
CREATE INDEX jobs_by_model ON jobs (model, painted_at) WHERE painted_at IS NOT NULL;

CREATE TABLE images (
    job_id  INTEGER NOT NULL REFERENCES jobs (id),
    number  INTEGER NOT NULL,                          -- from 1, in the order of the seeds
    path    TEXT    NOT NULL,                          -- relative to the data folder
    seed    INTEGER NOT NULL,
    width   INTEGER NOT NULL,
    height  INTEGER NOT NULL,
    sha256  TEXT    NOT NULL,                          -- of the file
    PRIMARY KEY (job_id, number)
) WITHOUT ROWID;

-- One row per reaction that stands under a result; taking it back removes the row.
CREATE TABLE ratings (
    message_id INTEGER NOT NULL,
    user_id    INTEGER NOT NULL,
    emoji      TEXT    NOT NULL,
    job_id     INTEGER NOT NULL REFERENCES jobs (id),
    added_at   TEXT    NOT NULL,
    PRIMARY KEY (message_id, user_id, emoji)
) WITHOUT ROWID;
CREATE INDEX ratings_by_job ON ratings (job_id);

-- Limits that moderators set. user_id 0 is the whole server.
CREATE TABLE limits (
    guild_id INTEGER NOT NULL,
    user_id  INTEGER NOT NULL DEFAULT 0,
    name     TEXT    NOT NULL,                         -- pace, depth or quota
    value    INTEGER NOT NULL,
    set_by   INTEGER NOT NULL,
    set_at   TEXT    NOT NULL,
    PRIMARY KEY (guild_id, user_id, name)
) WITHOUT ROWID;

-- Small facts the house remembers about itself, such as the hash of the commands Discord knows.
CREATE TABLE memory (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
