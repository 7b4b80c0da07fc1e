-- What is written to a database, one statement a name. The rules are those of `transitions.py`: a lease-holder's write
-- names its generation and changes nothing unless the run is leased under it.

-- name: advance_epoch
UPDATE meta SET value = value + 1 WHERE key = 'epoch' RETURNING value;

-- name: insert_run
INSERT INTO runs (id, job_name, status, idempotency_key, concurrency_key, labels, created_at, updated_at)
VALUES (:id, :job_name, 'pending', :idempotency_key, :concurrency_key, :labels, :now, :now);

-- name: insert_payload
INSERT INTO payloads (run_id, kind, value) VALUES (:run_id, :kind, :value);

-- name: due_of_jobs
-- The oldest that is due: a leased run that is over, or the oldest pending one of each of :jobs whose key is free.
SELECT id FROM runs
WHERE id IN (
    SELECT id FROM runs
    WHERE status = 'leased'
        AND job_name IN (SELECT value FROM json_each(:jobs))
        AND id NOT IN (SELECT value FROM json_each(:exclude))
        AND (lease_expires_at <= :now
            OR lease_owner GLOB 'lock-[0-9]*'
                AND lease_owner GLOB 'lock-' || CAST(substr(lease_owner, 6) AS INTEGER) || '-*'
                AND CAST(substr(lease_owner, 6) AS INTEGER) < :epoch)
    UNION ALL
    SELECT (
        SELECT pending.id FROM runs AS pending
        WHERE pending.status = 'pending'
            AND pending.job_name = job.value
            AND pending.id NOT IN (SELECT value FROM json_each(:exclude))
            AND (pending.concurrency_key IS NULL OR NOT EXISTS (
                SELECT 1 FROM runs AS holder
                WHERE holder.status = 'leased' AND holder.concurrency_key = pending.concurrency_key
            ))
        ORDER BY pending.created_at, pending.id
        LIMIT 1
    ) FROM json_each(:jobs) AS job
)
ORDER BY created_at, id
LIMIT 1;

-- name: due_of_any_job
SELECT id FROM runs
WHERE id IN (
    SELECT id FROM runs
    WHERE status = 'leased'
        AND id NOT IN (SELECT value FROM json_each(:exclude))
        AND (lease_expires_at <= :now
            OR lease_owner GLOB 'lock-[0-9]*'
                AND lease_owner GLOB 'lock-' || CAST(substr(lease_owner, 6) AS INTEGER) || '-*'
                AND CAST(substr(lease_owner, 6) AS INTEGER) < :epoch)
    UNION ALL
    SELECT * FROM (
        SELECT pending.id FROM runs AS pending
        WHERE pending.status = 'pending'
            AND pending.id NOT IN (SELECT value FROM json_each(:exclude))
            AND (pending.concurrency_key IS NULL OR NOT EXISTS (
                SELECT 1 FROM runs AS holder
                WHERE holder.status = 'leased' AND holder.concurrency_key = pending.concurrency_key
            ))
        ORDER BY pending.created_at, pending.id
        LIMIT 1
    )
)
ORDER BY created_at, id
LIMIT 1;

-- name: claim
UPDATE runs SET
    status = 'leased',
    lease_owner = :worker_id,
    lease_expires_at = :expires_at,
    lease_generation = lease_generation + 1,
    started_at = coalesce(started_at, max(:now, created_at)),
    updated_at = :now
WHERE id = :id
RETURNING *, (SELECT value FROM payloads WHERE run_id = :id AND kind = 'input'), NULL;

-- name: renew
UPDATE runs SET lease_expires_at = :expires_at, updated_at = :now
WHERE id = :id AND status = 'leased' AND lease_generation = :generation
RETURNING id;

-- name: release
UPDATE runs SET status = 'pending', lease_owner = NULL, lease_expires_at = NULL, updated_at = :now
WHERE id = :id AND status = 'leased' AND lease_generation = :generation
RETURNING id;

-- name: expire_all
-- Not where a pending run has the (job, key). No two leased runs have the same key, so the order does not matter.
UPDATE runs SET status = 'pending', lease_owner = NULL, lease_expires_at = NULL, updated_at = :now
WHERE status = 'leased' AND lease_expires_at <= :now
    AND (concurrency_key IS NULL OR NOT EXISTS (
        SELECT 1 FROM runs AS other
        WHERE other.status = 'pending' AND other.job_name = runs.job_name
            AND other.concurrency_key = runs.concurrency_key
    ))
RETURNING id;

-- name: checkpoint_step
-- Returns no row when the lease is not held, or when the step is completed already: that one never changes.
INSERT INTO steps (id, run_id, name, "index", status, output, error, started_at, completed_at)
SELECT :id, :run_id, :name, :index, :status, :output, :error, :started_at, max(:now, :started_at)
WHERE EXISTS (SELECT 1 FROM runs WHERE id = :run_id AND status = 'leased' AND lease_generation = :generation)
ON CONFLICT (run_id, name) DO UPDATE SET
    "index" = excluded."index",
    status = excluded.status,
    output = excluded.output,
    error = excluded.error,
    started_at = excluded.started_at,
    completed_at = excluded.completed_at
WHERE steps.status <> 'completed'
RETURNING id, name, error;

-- name: checkpoint_run
UPDATE runs SET
    current_step_index = CASE WHEN :status = 'completed' THEN max(current_step_index, :index + 1) ELSE current_step_index END,
    completed_step_count = completed_step_count + (:status = 'completed'),
    lease_expires_at = :expires_at,
    updated_at = :now
WHERE id = :run_id;

-- name: holds_lease
SELECT id FROM runs WHERE id = :run_id AND status = 'leased' AND lease_generation = :generation;

-- name: complete
UPDATE runs SET
    status = 'completed', lease_owner = NULL, lease_expires_at = NULL, completed_at = max(:now, coalesce(started_at, created_at)), updated_at = :now
WHERE id = :id AND status = 'leased' AND lease_generation = :generation
RETURNING id;

-- name: fail
UPDATE runs SET
    status = 'failed', lease_owner = NULL, lease_expires_at = NULL, completed_at = max(:now, coalesce(started_at, created_at)), updated_at = :now,
    error = :error, error_type = :error_type, error_traceback = :error_traceback
WHERE id = :id AND status = 'leased' AND lease_generation = :generation
RETURNING id;

-- name: cancel
UPDATE runs SET
    status = 'cancelled', lease_owner = NULL, lease_expires_at = NULL, completed_at = max(:now, coalesce(started_at, created_at)), updated_at = :now
WHERE id = :id AND status IN ('pending', 'leased')
RETURNING id;

-- name: put_crash
INSERT OR REPLACE INTO crashes (run_id, count, reason, completed_step_count)
VALUES (:run_id, :count, :reason, :completed_step_count);

-- name: put_progress
INSERT OR REPLACE INTO meta (key, value) VALUES (:key, :value);

-- name: update_progress
UPDATE runs SET progress = :progress, updated_at = :now
WHERE id = :id AND status = 'leased' AND lease_generation = :generation
RETURNING id;

-- name: insert_log
INSERT INTO logs (id, run_id, step_name, level, message, data, created_at)
VALUES (:id, :run_id, :step_name, :level, :message, :data, :created_at)
RETURNING *;

-- name: delete_steps
DELETE FROM steps WHERE run_id = :run_id;

-- name: delete_logs
DELETE FROM logs WHERE run_id = :run_id;

-- name: delete_payloads
DELETE FROM payloads WHERE run_id = :run_id;

-- name: delete_crash
DELETE FROM crashes WHERE run_id = :run_id;

-- name: delete_progress
DELETE FROM meta WHERE key = :key;

-- name: delete_run
DELETE FROM runs WHERE id = :run_id;

-- name: oldest_ended
SELECT id FROM runs WHERE completed_at < :older_than ORDER BY completed_at, id LIMIT :limit;

-- name: insert_call
INSERT INTO calls (id, outcome) VALUES (:id, :outcome);

-- name: forget_calls
DELETE FROM calls WHERE id IN (SELECT value FROM json_each(:call_ids));
