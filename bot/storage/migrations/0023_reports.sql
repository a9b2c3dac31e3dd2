-- Results that members reported to the moderators of their server. One report is about one result, whoever joins it.
CREATE TABLE member_reports (
    id        INTEGER PRIMARY KEY,
    guild_id  INTEGER NOT NULL,
    job_id    INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    opened_at TEXT    NOT NULL,
    ended_at  TEXT,
    outcome   TEXT    NOT NULL DEFAULT '' CHECK (outcome IN ('', 'removed', 'dismissed')),
    logged_at TEXT                                     -- when the server's log channel was told, or need not be
);
CREATE UNIQUE INDEX member_reports_open_of_job ON member_reports (job_id) WHERE ended_at IS NULL;
CREATE INDEX member_reports_of_job ON member_reports (job_id);
CREATE INDEX member_reports_open ON member_reports (guild_id, id) WHERE ended_at IS NULL;
CREATE INDEX member_reports_unlogged ON member_reports (id) WHERE logged_at IS NULL;

-- Who reported it, why, and when they were told what became of it.
CREATE TABLE reporters (
    report_id INTEGER NOT NULL REFERENCES member_reports (id) ON DELETE CASCADE,
    user_id   INTEGER NOT NULL,
    at        TEXT    NOT NULL,
    reason    TEXT    NOT NULL DEFAULT '',
    told_at   TEXT,
    PRIMARY KEY (report_id, user_id)
) WITHOUT ROWID;
CREATE INDEX reporters_of_person ON reporters (user_id);
CREATE INDEX reporters_untold ON reporters (report_id) WHERE told_at IS NULL;

-- However the pictures of a result are removed, its report has ended with them, in the same transaction.
CREATE TRIGGER member_reports_removed AFTER DELETE ON images
WHEN NOT EXISTS (SELECT 1 FROM images WHERE job_id = OLD.job_id)
BEGIN
    UPDATE member_reports SET outcome = 'removed', ended_at = strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'
    WHERE job_id = OLD.job_id AND ended_at IS NULL;
END;

-- When the server's log channel was told of a case, or need not be. What happened before there were such channels is old.
ALTER TABLE cases ADD COLUMN logged_at TEXT;
UPDATE cases SET logged_at = at;
CREATE INDEX cases_unlogged ON cases (guild_id, number) WHERE logged_at IS NULL;
