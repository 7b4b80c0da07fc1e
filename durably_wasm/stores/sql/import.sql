-- Takes over all rows of the database that is attached as `imported`. The epoch stays: it counts this file's engines.
-- Leases of the imported runs are over, whoever held them.

DELETE FROM calls;
DELETE FROM crashes;
DELETE FROM steps;
DELETE FROM meta WHERE key <> 'epoch';
DELETE FROM logs;
DELETE FROM payloads;
DELETE FROM runs;
INSERT INTO runs SELECT * FROM imported.runs;
INSERT INTO payloads SELECT * FROM imported.payloads;
INSERT INTO steps SELECT * FROM imported.steps;
INSERT INTO logs SELECT * FROM imported.logs;
INSERT INTO crashes SELECT * FROM imported.crashes;
UPDATE runs SET lease_owner = NULL, lease_expires_at = created_at WHERE status = 'leased';
