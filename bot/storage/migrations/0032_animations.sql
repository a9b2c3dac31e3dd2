-- An animation is one picture, but each of its frames counts like a picture for a person's pace.
ALTER TABLE jobs ADD COLUMN painted INTEGER
  AS (coalesce(nullif(request ->> '$.frames', 0), request ->> '$.num_images_per_prompt')) VIRTUAL;
