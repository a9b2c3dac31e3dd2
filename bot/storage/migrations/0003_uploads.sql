-- What a request builds on. Uploads are named by their sha256; an empty name is none.
ALTER TABLE jobs ADD COLUMN image TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN mask_image TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN strength REAL NOT NULL DEFAULT 1;
ALTER TABLE jobs ADD COLUMN controlnet TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN control_image TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN controlnet_conditioning_scale REAL NOT NULL DEFAULT 1;
