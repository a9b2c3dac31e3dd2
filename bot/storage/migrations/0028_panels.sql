-- A storyboard is a series whose jobs are panels in one post. A panel keeps its number; its place in the story, its
-- words and the job that paints it may change.
ALTER TABLE series ADD COLUMN look TEXT NOT NULL DEFAULT '';  -- words and flags that all panels share
CREATE TABLE panels (
    series_id INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    number    INTEGER NOT NULL,                        -- from 1
    place     INTEGER NOT NULL,                        -- from 1
    words     TEXT    NOT NULL,
    job_id    INTEGER REFERENCES jobs (id) ON DELETE SET NULL,  -- its newest request; none if its words were refused
    refusal   TEXT    NOT NULL DEFAULT '',             -- why its words were refused
    PRIMARY KEY (series_id, number)
) WITHOUT ROWID;
CREATE INDEX panels_by_job ON panels (job_id) WHERE job_id IS NOT NULL;
