"""The ledger: the truth about every job, in PostgreSQL. Each change of state is one conditional statement.

| module | owns |
|---|---|
| `connection` | connections and pools, and what their failures mean |
| `schema` | migrations |
| `jobs` | submit, read, list, cancel, replay |
| `leases` | claim, renew, record, end, reap: all that a running attempt writes |
| `events` | the history of a job, and its attempts as told by it |
| `queues` | due work, health, pause and resume, limits |
| `workers` | who is there |
| `catalogue` | the tasks that workers published |
| `keys` | API keys |
| `retention` | purge |
| `leadership` | which controller leads |
"""
