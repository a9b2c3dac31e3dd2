-- Versions of the styles of servers. A row never changes: whoever edits a style adds its next version. Which version
-- counts now is a rule of the server, named "style:" and the name, so that every change is a case and can be undone.
CREATE TABLE styles (
    id        INTEGER PRIMARY KEY,
    guild_id  INTEGER NOT NULL,
    number    INTEGER NOT NULL,                        -- of the style within its server, from 1
    version   INTEGER NOT NULL,                        -- from 1
    name      TEXT    NOT NULL,
    content   TEXT    NOT NULL,                        -- what it sets, as JSON
    source_id INTEGER REFERENCES jobs (id) ON DELETE SET NULL,  -- the result whose words it was made from, if any
    UNIQUE (guild_id, name, version)
);
CREATE INDEX styles_by_source ON styles (source_id) WHERE source_id IS NOT NULL;
-- The results of a style, the newest first.
CREATE INDEX jobs_by_style ON jobs (guild_id, request ->> '$.style', id) WHERE request ->> '$.style' != '';
