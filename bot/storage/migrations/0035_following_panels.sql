-- The panels of a storyboard may start from the picture of one of them, the lead. Their jobs are written with it, in one
-- transaction, and wait for it: a job that follows another one has no picture to start from yet, and is not claimed.
ALTER TABLE series ADD COLUMN lead INTEGER NOT NULL DEFAULT 0;      -- the number of that panel; 0 if none follows
ALTER TABLE series ADD COLUMN strength REAL NOT NULL DEFAULT 1.0;   -- how much of its picture the others paint over
ALTER TABLE jobs ADD COLUMN follows INTEGER REFERENCES jobs (id) ON DELETE SET NULL;
CREATE INDEX jobs_following ON jobs (follows) WHERE follows IS NOT NULL;

-- These are triggers, so that no way in which the lead ends can forget the jobs that wait for it.
CREATE TRIGGER lead_painted AFTER INSERT ON images WHEN NEW.number = 1
BEGIN
    UPDATE jobs SET request = json_set(request, '$.image', NEW.sha256), follows = NULL WHERE follows = NEW.job_id;
END;
-- Without a picture of the lead they are painted from their words alone.
CREATE TRIGGER lead_not_painted AFTER UPDATE OF status ON jobs WHEN NEW.status IN ('failed', 'cancelled')
BEGIN
    DELETE FROM sources WHERE source_id = NEW.id AND job_id IN (SELECT id FROM jobs WHERE follows = NEW.id);
    UPDATE jobs SET request = json_set(request, '$.operation', 'text2image', '$.strength', 1.0), follows = NULL
    WHERE follows = NEW.id;
END;
CREATE TRIGGER lead_withdrawn BEFORE DELETE ON jobs
BEGIN
    DELETE FROM sources WHERE source_id = OLD.id AND job_id IN (SELECT id FROM jobs WHERE follows = OLD.id);
    UPDATE jobs SET request = json_set(request, '$.operation', 'text2image', '$.strength', 1.0), follows = NULL
    WHERE follows = OLD.id;
END;
-- All of their steps are done then, not only the part that their strength said, so they cost as much more.
CREATE TRIGGER painted_alone AFTER UPDATE OF request ON jobs
WHEN NEW.request ->> '$.operation' = 'text2image' AND OLD.request ->> '$.operation' <> 'text2image'
BEGIN
    UPDATE jobs SET (cost, held_seconds) = (
        SELECT cost * more, held_seconds * more FROM (
            SELECT max(steps, 1.0) / max(CAST(steps * strength AS INTEGER), 1.0) AS more FROM (
                SELECT OLD.request ->> '$.num_inference_steps' AS steps, OLD.request ->> '$.strength' AS strength
            )
        )
    )
    WHERE id = NEW.id;
END;
