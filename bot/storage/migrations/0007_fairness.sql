-- GPU seconds: what a request was taken to cost when it was accepted, and its share of the engine's time once it ended.
-- Until now work was counted in megapixel-steps; a model that nobody timed takes about a second for one.
ALTER TABLE jobs ADD COLUMN held_seconds REAL NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN used_seconds REAL;
-- Where in virtual time its turn was, and how far virtual time had come when it was started (see bot/scheduler.py).
ALTER TABLE jobs ADD COLUMN turn REAL;
ALTER TABLE jobs ADD COLUMN clock REAL;
-- The start that the person was told when it was accepted.
ALTER TABLE jobs ADD COLUMN promised_at TEXT;
UPDATE jobs SET held_seconds = cost;
