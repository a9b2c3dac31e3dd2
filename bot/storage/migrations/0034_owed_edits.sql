-- A storyboard is changed in its rows first. Its message owes an edit while `changed` is ahead of `shown`.
ALTER TABLE posts ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE posts ADD COLUMN shown INTEGER NOT NULL DEFAULT 0;
CREATE INDEX posts_owing ON posts (id) WHERE changed > shown;
