"""The controller: what must happen once, whoever else is down. Two replicas, one leader; the API and workers run on
without it, only slower to notice what was lost.

| module | owns |
|---|---|
| `main`, `settings` | start-up |
| `controller` | duties, each at its interval, while this replica leads |
| `leader` | who leads, and since when the ledger answers |
| `reaper` | attempts whose lease ran out |
| `rering` | doorbells that were lost, or stand for nothing |
| `demand` | what KEDA reads |
| `deletion_cost` | what the deletion of each worker's pod would cost |
| `losses` | how lost workers ended, for the evidence of their jobs |
| `pods` | the Kubernetes API: the workers' pods |
| `webhooks` | who is told that a job has ended |
| `addresses` | where a webhook may go |
| `retention` | old jobs and workers |
| `collector` | what is no job's result, in the result store |
"""
