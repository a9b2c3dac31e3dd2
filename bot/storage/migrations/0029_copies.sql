-- A copy shows the pictures of one job, also where its post shows several. NULL, as in the note about closed direct
-- messages, stands for whichever job of the post shows pictures.
ALTER TABLE side_messages ADD COLUMN job_id INTEGER REFERENCES jobs (id) ON DELETE SET NULL;
UPDATE side_messages SET job_id = (
  SELECT id FROM jobs WHERE post_id = side_messages.post_id
  ORDER BY status = 'delivered' AND EXISTS (SELECT 1 FROM images WHERE job_id = jobs.id) DESC, id LIMIT 1
) WHERE kind != 'refusal';
CREATE INDEX side_messages_by_job ON side_messages (job_id) WHERE job_id IS NOT NULL;
