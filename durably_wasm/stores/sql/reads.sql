-- What is read of a database of this schema, one statement a name. Rows of `runs` come with their payloads' text as last
-- columns.

-- schema: 1

-- name: run
SELECT runs.*, input.value AS input, output.value AS output
FROM runs
LEFT JOIN payloads AS input ON input.run_id = runs.id AND input.kind = 'input'
LEFT JOIN payloads AS output ON output.run_id = runs.id AND output.kind = 'output'
WHERE runs.id = :id;

-- name: runs
-- :statuses and :jobs are JSON lists or NULL, :limit -1 for all. :labels is a JSON list of
-- pairs as they stand in the labels' text, '"key":"value"': text inside it has its quotes escaped, so only pairs match.
SELECT runs.*, input.value AS input, output.value AS output
FROM runs
LEFT JOIN payloads AS input ON input.run_id = runs.id AND input.kind = 'input'
LEFT JOIN payloads AS output ON output.run_id = runs.id AND output.kind = 'output'
WHERE (:statuses IS NULL OR runs.status IN (SELECT value FROM json_each(:statuses)))
    AND (:jobs IS NULL OR runs.job_name IN (SELECT value FROM json_each(:jobs)))
    AND NOT EXISTS (SELECT 1 FROM json_each(:labels) AS wanted WHERE instr(runs.labels, wanted.value) = 0)
ORDER BY runs.created_at DESC, runs.id DESC
LIMIT :limit OFFSET :offset;

-- name: newest_run
SELECT created_at, id FROM runs ORDER BY created_at DESC, id DESC LIMIT 1;

-- name: last_log
SELECT created_at, id FROM logs WHERE run_id = :run_id ORDER BY id DESC LIMIT 1;

-- name: steps
SELECT * FROM steps WHERE run_id = :run_id ORDER BY "index";

-- name: step
SELECT * FROM steps WHERE run_id = :run_id AND name = :name;

-- name: logs
SELECT * FROM logs WHERE run_id = :run_id ORDER BY id;

-- name: epoch
SELECT value FROM meta WHERE key = 'epoch';

-- name: progress
SELECT value FROM meta WHERE key = :key;

-- name: call
SELECT outcome FROM calls WHERE id = :id;

-- name: call_ids
SELECT id FROM calls;

-- name: crash
SELECT * FROM crashes WHERE run_id = :run_id;

-- name: leased
SELECT id FROM runs WHERE status = 'leased' LIMIT 1;

-- name: run_by_idempotency_key
SELECT id FROM runs WHERE job_name = :job_name AND idempotency_key = :key;

-- name: pending_run_by_key
SELECT id FROM runs WHERE job_name = :job_name AND concurrency_key = :key AND status = 'pending';
