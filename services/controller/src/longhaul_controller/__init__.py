"""The controller: what must happen once, wherever it runs. Two replicas, one leader. The API and workers run on without it,
and only notice later what was lost.

| module | owns |
|---|---|
| `main`, `settings` | start-up |
| `controller` | the process: its duties, its probes, its end |
| `duty` | the shape of a duty, and the loop that runs it while this replica leads |
| `containment`, `failures` | why no duty can end another: what it raises, how long it takes, what is reported |
| `leader` | who leads, and since when the ledger accepts writes |
| `reaper` | attempts whose lease ran out |
| `rering` | doorbells that were lost, or that no job needs |
| `demand` | what KEDA reads |
| `deletion_cost` | what the deletion of each worker's pod would cost |
| `pod_diagnostics` | how lost workers ended, as evidence of their jobs |
| `pods`, `pod_objects`, `tolerant_json` | the Kubernetes API, its pods, and how to read JSON that may be odd |
| `webhooks`, `addresses` | receivers that learn of a job's end, and where they may be |
| `retention` | old jobs and workers |
| `orphaned_results` | objects in the result store that no job refers to |
| `ports`, `ledger`, `doorbells` | what the duties need of the servers: as protocols, on PostgreSQL, on Redis |
"""
