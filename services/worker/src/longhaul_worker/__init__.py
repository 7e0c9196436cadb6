"""A worker pod: the keeper (PID 1), which holds the leases, and the Celery processes that it supervises.

How tasks run, on one page: docs/explanation/how-tasks-run.md.

| module | process | owns |
|---|---|---|
| `main`, `settings` | keeper | start-up |
| `task_specs` | its own | what the ledger must know of the tasks; imports their code without credentials |
| `keeper` | keeper | the parts below put together; the pod's life from registration to drain |
| `recorder` | keeper | the one connection to the ledger, and everything that is written through it |
| `halving`, `stand_ins` | keeper | which value the database refuses, and what is written in its place |
| `ledger` | keeper | what the recorder asks of the ledger |
| `attempt` | keeper | one running attempt: its deadlines, what it says, how it ends |
| `backlog` | keeper | what an attempt has said and the ledger does not have yet |
| `slots` | keeper | the pool children, and what each of them runs |
| `pool_process`, `evidence` | keeper | the processes of the pool: whose they are, how they ended |
| `result_upload` | keeper | large results, on their way into the result store |
| `outcome_spool` | keeper | outcomes on disk while the database is away |
| `redis_publisher` | keeper | publishes what was committed, and what runs here |
| `fallback` | keeper | doorbells while Redis is away |
| `drain` | keeper | the way out of a pod that must go |
| `probes`, `metrics` | keeper | live, ready, Prometheus |
| `supervisor` | keeper | Celery as a child process |
| `process_tree` | guard, pool child | ends what tasks started |
| `session` | keeper, pool child | what the two say to each other |
| `celery` | Celery | hears doorbells, reports dead children |
| `child` | pool child | runs a task: its call, its output, what it may change in its process |
"""
