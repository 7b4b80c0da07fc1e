-- Version 1. The row that every step rewrites is small and in few indexes: inputs and outputs, which may be large and
-- never change, are in `payloads`; what changes with each step (counts, progress, expiry) is in no index. Tables are
-- WITHOUT ROWID, so that a row is in one b-tree and not in two, and a run's steps lie side by side.

-- The epoch, and under 'progress/' and a run's id its last progress (see `transitions.last_progress`).
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta (key, value) VALUES ('epoch', 0);

CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    job_name TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'leased', 'completed', 'failed', 'cancelled')),
    idempotency_key TEXT,
    concurrency_key TEXT,
    current_step_index INTEGER NOT NULL DEFAULT 0,
    completed_step_count INTEGER NOT NULL DEFAULT 0,
    progress TEXT,
    error TEXT,
    error_type TEXT,
    error_traceback TEXT,
    labels TEXT NOT NULL,
    lease_owner TEXT,
    lease_expires_at TEXT,
    lease_generation INTEGER NOT NULL DEFAULT 0,
    started_at TEXT,
    completed_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX runs_by_idempotency_key ON runs (job_name, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX runs_by_pending_key ON runs (job_name, concurrency_key)
    WHERE status = 'pending' AND concurrency_key IS NOT NULL;
CREATE UNIQUE INDEX runs_by_leased_key ON runs (concurrency_key)
    WHERE status = 'leased' AND concurrency_key IS NOT NULL;
CREATE INDEX runs_pending_by_job ON runs (job_name, created_at, id) WHERE status = 'pending';
CREATE INDEX runs_by_status ON runs (status, created_at, id);
CREATE INDEX runs_by_age ON runs (created_at, id);
CREATE INDEX runs_by_end ON runs (completed_at, id) WHERE completed_at IS NOT NULL;

CREATE TABLE payloads (
    run_id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('input', 'output')),
    value TEXT NOT NULL,
    PRIMARY KEY (run_id, kind)
) WITHOUT ROWID;

CREATE TABLE steps (
    id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    name TEXT NOT NULL,
    "index" INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('completed', 'failed')),
    output TEXT NOT NULL,
    error TEXT,
    started_at TEXT NOT NULL,
    completed_at TEXT,
    PRIMARY KEY (run_id, name)
) WITHOUT ROWID;

CREATE TABLE logs (
    id TEXT PRIMARY KEY,
    run_id TEXT NOT NULL,
    step_name TEXT,
    level TEXT NOT NULL,
    message TEXT NOT NULL,
    data TEXT NOT NULL,
    created_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX logs_by_run ON logs (run_id, id);

-- How often Python died while a run was executed, since its last checkpoint (see `transitions.crash`).
CREATE TABLE crashes (
    run_id TEXT PRIMARY KEY,
    count INTEGER NOT NULL,
    reason TEXT NOT NULL,
    completed_step_count INTEGER NOT NULL
) WITHOUT ROWID;

-- What the page's calls have come to, as long as one may come again (see `stores/calls.py`).
CREATE TABLE calls (id TEXT PRIMARY KEY, outcome TEXT NOT NULL) WITHOUT ROWID;
