"""The tables of the index, and what is asked of them and of the database."""

from __future__ import annotations

from bot.storage.panels import REPLACED

VERSION = 4
"""Raised with every change of SCHEMA or of what is derived: an index of another version is built anew."""

SCHEMA = """
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, guild_id INTEGER, channel_id INTEGER, parent_id INTEGER, user_id INTEGER, posted INTEGER,
    asked_at TEXT, model TEXT, style TEXT, seed INTEGER, width INTEGER, height INTEGER, likes INTEGER, dislikes INTEGER,
    score REAL, prompt TEXT, tags TEXT
);
CREATE INDEX entries_by_guild ON entries (guild_id, channel_id);
CREATE TABLE pictures (
    id INTEGER, number INTEGER, sha256 TEXT, phash INTEGER, likes INTEGER, dislikes INTEGER, score REAL,
    PRIMARY KEY (id, number)
) WITHOUT ROWID;
CREATE TABLE looks (
    id INTEGER, number INTEGER, sha256 TEXT, model TEXT, vector BLOB, PRIMARY KEY (id, number)
) WITHOUT ROWID;
CREATE TABLE tags (id INTEGER, tag TEXT, PRIMARY KEY (tag, id)) WITHOUT ROWID;
CREATE TABLE vectors (id INTEGER PRIMARY KEY, vector BLOB);
CREATE VIRTUAL TABLE words USING fts5 (
    prompt, tags, content = 'entries', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
);
CREATE VIRTUAL TABLE parts USING fts5 (
    prompt, content = 'entries', content_rowid = 'id', tokenize = 'trigram remove_diacritics 1'
);
CREATE VIRTUAL TABLE frequencies USING fts5vocab (words, row);
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
INSERT INTO parts (parts, rank) VALUES ('secure-delete', 1);
CREATE TRIGGER entries_added AFTER INSERT ON entries BEGIN
  INSERT INTO words (rowid, prompt, tags) VALUES (NEW.id, NEW.prompt, NEW.tags);
  INSERT INTO parts (rowid, prompt) VALUES (NEW.id, NEW.prompt);
END;
CREATE TRIGGER entries_removed AFTER DELETE ON entries BEGIN
  INSERT INTO words (words, rowid, prompt, tags) VALUES ('delete', OLD.id, OLD.prompt, OLD.tags);
  INSERT INTO parts (parts, rowid, prompt) VALUES ('delete', OLD.id, OLD.prompt);
  DELETE FROM pictures WHERE id = OLD.id;
  DELETE FROM tags WHERE id = OLD.id;
  DELETE FROM vectors WHERE id = OLD.id;
  DELETE FROM looks WHERE id = OLD.id;
END;
"""

# What search derives from the database, by its primary keys.
FACTS = f"""
SELECT id, guild_id, channel_id, parent_id, user_id, status = 'delivered' AND NOT ({REPLACED}) AS posted, asked_at,
  model, coalesce(request ->> '$.style', '') AS style, request ->> '$.seed' AS seed,
  prompt || coalesce(' → ' || nullif(request ->> '$.end_prompt', ''), '') AS prompt, post_id,
  (SELECT count(*) FROM jobs AS beside WHERE beside.post_id = jobs_with_post.post_id) = 1 AS is_alone
FROM jobs_with_post WHERE id IN (SELECT value FROM json_each(?1)) AND +surface = ?2 AND forgotten_at IS NULL ORDER BY id
"""  # noqa: S608 - constants
PICTURES = """
SELECT images.job_id, images.number, sha256, width, height, phash FROM images
LEFT JOIN picture_hashes ON picture_hashes.job_id = images.job_id AND picture_hashes.number = images.number
WHERE images.job_id IN (SELECT value FROM json_each(?)) ORDER BY images.job_id, images.number
"""
TAGS = "SELECT job_id, tag FROM tags WHERE job_id IN (SELECT value FROM json_each(?)) ORDER BY job_id, tag"
REACTIONS = "SELECT post_id, user_id, emoji FROM ratings WHERE post_id IN (SELECT value FROM json_each(?))"
IDS = "SELECT id FROM jobs WHERE id > ? ORDER BY id LIMIT ?"

ENTRY_COLUMNS = (
    *("id", "guild_id", "channel_id", "parent_id", "user_id", "posted", "asked_at", "model", "style", "seed", "width"),
    *("height", "likes", "dislikes", "score", "prompt", "tags"),
)
ENTRIES = f"SELECT {', '.join(ENTRY_COLUMNS)} FROM entries WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
ADD_ENTRY = f"INSERT INTO entries VALUES ({', '.join('?' * len(ENTRY_COLUMNS))})"  # noqa: S608 - constants
INDEXED_PICTURES = (
    "SELECT id, number, sha256, phash, likes, dislikes, score FROM pictures "
    "WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id, number"
)

LOOKS = """
SELECT pictures.id, pictures.number, phash, iif(model = ?, vector, NULL) AS vector FROM pictures
LEFT JOIN looks ON looks.id = pictures.id AND looks.number = pictures.number
"""
# A row without a vector is of a picture that could not be looked at.
UNSEEN = """
SELECT id, number, sha256 FROM pictures WHERE NOT EXISTS (
  SELECT 1 FROM looks WHERE looks.id = pictures.id AND looks.number = pictures.number AND model = ?)
"""
OF_SOME = "pictures.id IN (SELECT value FROM json_each(?))"

WITHOUT_VECTOR = """
SELECT id, prompt FROM entries WHERE NOT EXISTS (SELECT 1 FROM vectors WHERE vectors.id = entries.id) LIMIT ?
"""
