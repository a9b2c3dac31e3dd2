"""The perceptual hashes of pictures: how each looks, in 64 bits."""

from __future__ import annotations

# A hash is written in the transaction that writes its picture, and goes with the picture (ON DELETE CASCADE).
KEEP_HASH = "INSERT INTO picture_hashes (job_id, number, phash) VALUES (?, ?, ?)"

# A backup is cleaned on a connection that does not enforce foreign keys.
ERASE_HASHES = "DELETE FROM picture_hashes WHERE job_id IN (SELECT id FROM jobs WHERE user_id = :user)"
