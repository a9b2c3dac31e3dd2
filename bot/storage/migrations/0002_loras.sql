ALTER TABLE jobs ADD COLUMN loras TEXT NOT NULL DEFAULT '[]';  -- JSON: [[name, weight], ...]
