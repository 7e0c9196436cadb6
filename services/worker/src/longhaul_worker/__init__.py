"""A worker pod: the keeper (PID 1), which holds the leases, and the Celery processes that it supervises.

| module | process | owns |
|---|---|---|
| `main`, `settings` | keeper | start-up |
| `keeper` | keeper | the parts below put together; the pod's life from registration to drain |
| `recorder` | keeper | the one connection to the ledger, and everything that is written through it |
| `slots` | keeper | the socket that pool children speak to, and what each of them runs |
| `attempt` | keeper | one running attempt: its deadlines, its notes, how it ends |
| `shelf` | keeper | large results, on their way into the result store |
| `evidence` | keeper | what is known of a process that died |
| `spool` | keeper | outcomes on disk while the database is away |
| `announcer` | keeper | publishes what was committed |
| `demand` | keeper | tells the scaler what runs here |
| `drain` | keeper | the way out of a pod that must go |
| `probes`, `metrics` | keeper | live, ready, Prometheus |
| `supervisor` | keeper | Celery as a child process |
| `celery_app`, `celery_pool`, `celery_consumer` | Celery | Celery's settings; hears doorbells, reports dead children |
| `line`, `run` | pool child | the way to the keeper, and the task function's call |
| `protocol` | all | frames on the socket |
"""
