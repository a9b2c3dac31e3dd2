-- Who decided a refusal is kept as data: host, server, channel:1, role:1 or person:1; person:0 is somebody who had
-- everything deleted. Until now it was a sentence for Discord.
UPDATE refusals SET origin = CASE
    WHEN origin = 'the host''s default' THEN 'host'
    WHEN origin = 'the rule for this server' THEN 'server'
    WHEN origin = 'the rule for a person' THEN 'person:0'
    WHEN origin LIKE 'the rule for <@&%>' THEN 'role:' || substr(origin, 17, length(origin) - 17)
    WHEN origin LIKE 'the rule for <@%>' THEN 'person:' || substr(origin, 16, length(origin) - 16)
    WHEN origin LIKE 'the rule for <#%>' THEN 'channel:' || substr(origin, 16, length(origin) - 16)
    ELSE origin
END;
