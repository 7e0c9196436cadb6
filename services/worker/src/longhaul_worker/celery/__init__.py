"""Celery, as a worker pod uses it: a process pool that hears doorbells. Which job runs, and how it ends, is the keeper's.

| module | owns |
|---|---|
| `app` | Celery's settings, its one task, and what its main process tells the keeper |
| `consumer` | a consumer that says that it lives while Redis is away |
| `pool` | a pool that reports how its children ended |
| `transport` | doorbells from Redis, and from the keeper while Redis is away |
| `upstream` | tracing of what tasks call over the network |
"""
