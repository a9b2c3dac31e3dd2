-- The results that a request starts from, so that people can see where a picture comes from and what became of it.
-- A job without a row here began with words, or with a picture that a person sent.
CREATE TABLE sources (
    job_id    INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    source_id INTEGER NOT NULL REFERENCES jobs (id),
    number    INTEGER NOT NULL,                        -- which picture of it, from 1; 0 if only its words
    PRIMARY KEY (job_id, source_id, number)
) WITHOUT ROWID;
CREATE INDEX sources_by_source ON sources (source_id, job_id);
