"""The ledger: the truth about every job, in PostgreSQL. Each change of state is one conditional statement.

| module | owns |
|---|---|
| `connection` | connections and pools, and what their failures mean |
| `schema` | migrations |
| `jobs` | submit, read, list, cancel, replay |
| `claims` | claim |
| `leases` | renew, record, end: all that the owner of a running attempt writes |
| `reaping` | end what lost its owner |
| `events`, `history` | the history of a job, and its attempts as told by it |
| `webhooks` | the outbox of ended jobs |
| `queues` | due work, health, pause and resume, limits |
| `workers` | who is there |
| `catalogue` | the tasks that workers published |
| `keys` | API keys |
| `retention` | purge |
| `leadership` | which controller leads |
"""
