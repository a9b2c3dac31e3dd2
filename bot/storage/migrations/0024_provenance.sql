-- How explicit a picture is, from 0 to 1, as the safety check says; NULL if it was not checked.
ALTER TABLE images ADD COLUMN nsfw REAL;
-- What people get: the same picture with the invisible mark and the signed manifest. `sha256` stays the picture as it
-- was painted, so that it can be painted again and continued to the pixel. NULL where people get that one.
ALTER TABLE images ADD COLUMN delivered_sha256 TEXT;
CREATE INDEX images_by_delivered_sha256 ON images (delivered_sha256) WHERE delivered_sha256 IS NOT NULL;

-- The number that the invisible mark of a picture holds. It stays when the picture is removed, so that a copy of the
-- picture can still be recognised; it goes when the person has their data deleted.
CREATE TABLE marks (
    id     INTEGER PRIMARY KEY,                        -- 48 random bits
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    number INTEGER NOT NULL
);
CREATE INDEX marks_by_job ON marks (job_id);
