-- Takes over all rows of the database that is attached as `imported`. The epoch stays: it counts this file's engines.
-- Nobody holds the leases of imported runs, so they are over. `WHERE true` keeps SQLite from copying the file's records
-- as they are, without this schema's constraints (https://www.sqlite.org/src/file?name=src/insert.c, xferOptimization).

DELETE FROM calls;
DELETE FROM crashes;
DELETE FROM steps;
DELETE FROM meta WHERE key <> 'epoch';
DELETE FROM logs;
DELETE FROM payloads;
DELETE FROM runs;
INSERT INTO runs SELECT * FROM imported.runs WHERE true;
INSERT INTO payloads SELECT * FROM imported.payloads WHERE true;
INSERT INTO steps SELECT * FROM imported.steps WHERE true;
INSERT INTO logs SELECT * FROM imported.logs WHERE true;
INSERT INTO crashes SELECT * FROM imported.crashes WHERE true;
UPDATE runs SET lease_owner = 'imported', lease_expires_at = '1970-01-01T00:00:00.000Z' WHERE status = 'leased';
