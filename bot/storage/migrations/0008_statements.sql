-- What the message of a waiting job says: its place, 0 while a pause holds it, and its start, none for "in a moment".
-- Of jobs that wait since before it is not known, so they are told anew.
ALTER TABLE jobs ADD COLUMN stated_place INTEGER;
ALTER TABLE jobs ADD COLUMN stated_at TEXT;
