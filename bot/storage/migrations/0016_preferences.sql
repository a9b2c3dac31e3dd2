-- A person's own defaults, on all servers. NULL: the person has none.
CREATE TABLE preferences (
    user_id    INTEGER PRIMARY KEY,
    images     INTEGER,                                -- pictures of a request
    aspect     TEXT,                                   -- a shape or a size, as people write it
    model      TEXT,
    spoiler    INTEGER,                                -- 1: results are hidden until they are clicked
    ping       INTEGER,                                -- 0: no ping after a long wait
    send_to_me INTEGER                                 -- 1: results are also sent as a direct message
);
