-- The further pictures of a blend, which the folder of pictures keeps for as long as a request names them.
ALTER TABLE jobs ADD COLUMN blended_1 TEXT AS (request ->> '$.blended[0]') VIRTUAL;
ALTER TABLE jobs ADD COLUMN blended_2 TEXT AS (request ->> '$.blended[1]') VIRTUAL;
ALTER TABLE jobs ADD COLUMN blended_3 TEXT AS (request ->> '$.blended[2]') VIRTUAL;
CREATE INDEX jobs_by_blended_1 ON jobs (blended_1) WHERE blended_1 != '';
CREATE INDEX jobs_by_blended_2 ON jobs (blended_2) WHERE blended_2 != '';
CREATE INDEX jobs_by_blended_3 ON jobs (blended_3) WHERE blended_3 != '';
