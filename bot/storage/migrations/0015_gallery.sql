-- Who removed a result: a moderator, by a case, or the person who had asked for it.
ALTER TABLE removals ADD COLUMN by_requester INTEGER NOT NULL DEFAULT 0;

-- The reactions by which people ask for something: a favourite, a message of their own, a deletion.
CREATE INDEX ratings_that_ask ON ratings (added_at, post_id) WHERE emoji IN ('❤', '⭐', 'button:❤', '✉', 'setting:✉', '❌');

-- Messages about a result in other places: the copy in a server's gallery, the copy that a person asked for by ✉️, and
-- the note that their direct messages are closed. A row comes before its message, so that no kill makes a second one.
-- Its id makes the nonce, so it is never used again.
CREATE TABLE side_messages (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT    NOT NULL CHECK (kind IN ('gallery', 'private', 'refusal')),
    post_id    INTEGER NOT NULL REFERENCES posts (id),
    user_id    INTEGER NOT NULL DEFAULT 0,              -- for whom it is; 0 is everyone
    channel_id INTEGER,                                 -- none until the person's direct channel is known
    threshold  INTEGER NOT NULL DEFAULT 0,              -- how many favourites the gallery asked for
    begun_at   TEXT    NOT NULL,
    message_id INTEGER,
    is_leaving INTEGER NOT NULL DEFAULT 0,              -- it is being deleted, and may be gone already
    over_at    TEXT                                     -- when it became certain that no message is to be sent
);
CREATE UNIQUE INDEX side_messages_of_post ON side_messages (post_id, kind, user_id);
CREATE INDEX side_messages_of_person ON side_messages (user_id, kind, begun_at) WHERE user_id != 0;
CREATE INDEX side_messages_by_message ON side_messages (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX side_messages_open ON side_messages (post_id) WHERE message_id IS NULL AND over_at IS NULL;
