-- What requests to providers cost, in micro-dollars: held when a request is accepted, and billed once the provider says
-- so. NULL is not known: then what was held counts, if the request was sent.
ALTER TABLE jobs ADD COLUMN held_micros INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN billed_micros INTEGER;
-- When the request was last sent. A request that was sent, and of which it is not known that nothing was billed, is
-- never sent again.
ALTER TABLE jobs ADD COLUMN sent_at TEXT;
-- Whether a moderator cancelled it, so that its person does not pay for it.
ALTER TABLE jobs ADD COLUMN pardoned INTEGER NOT NULL DEFAULT 0;
-- The sums of a day: few requests cost money, so one index serves a person, a server and all of them.
CREATE INDEX jobs_that_cost ON jobs (asked_at, guild_id, user_id, held_micros, billed_micros) WHERE held_micros > 0;
