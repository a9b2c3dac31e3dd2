-- Whether the message of a job must not show its prompt: it was refused while it waited, because of its words.
ALTER TABLE jobs ADD COLUMN withheld INTEGER NOT NULL DEFAULT 0;
