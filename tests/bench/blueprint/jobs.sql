CREATE TABLE jobs (
    id uuid PRIMARY KEY,
    task text NOT NULL,
    params jsonb NOT NULL,
    status text NOT NULL DEFAULT 'queued',
    progress double precision NOT NULL DEFAULT 0,
    detail jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX jobs_by_status ON jobs (status, created_at);
