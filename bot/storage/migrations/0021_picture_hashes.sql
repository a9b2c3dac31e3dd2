-- A perceptual hash of each picture of a result: 64 bits, as a signed number. Pictures that look alike differ in few
-- bits. It goes with the picture. Pictures of earlier versions have none.
CREATE TABLE picture_hashes (
    job_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    phash  INTEGER NOT NULL,
    PRIMARY KEY (job_id, number),
    FOREIGN KEY (job_id, number) REFERENCES images (job_id, number) ON DELETE CASCADE
) WITHOUT ROWID;
