-- When a new message was first begun for a job whose own message is gone: it may be there although nobody noted it.
ALTER TABLE jobs ADD COLUMN reposted_at TEXT;
