-- Fills an empty database of this schema, attached as `exported`, with what is shown of this one: no outcomes of calls,
-- which hold inputs of deleted runs, and nothing of runs that are not there. Copied row by row into new pages, since the
-- pages of this database keep what was deleted.

INSERT INTO exported.runs SELECT * FROM main.runs;
INSERT INTO exported.payloads SELECT * FROM main.payloads WHERE run_id IN (SELECT id FROM main.runs);
INSERT INTO exported.steps SELECT * FROM main.steps WHERE run_id IN (SELECT id FROM main.runs);
INSERT INTO exported.logs SELECT * FROM main.logs WHERE run_id IN (SELECT id FROM main.runs);
INSERT INTO exported.crashes SELECT * FROM main.crashes WHERE run_id IN (SELECT id FROM main.runs);
