-- Where the value of each option of a request comes from, as JSON: a flag, an option, the person's own default, or the
-- model. NULL for requests from before, and for those of a button, whose values come from a result.
ALTER TABLE jobs ADD COLUMN value_sources TEXT;
