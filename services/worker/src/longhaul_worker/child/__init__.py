"""The process that a task runs in. It knows no database, no credentials and nothing of the keeper but the session.

| module | owns |
|---|---|
| `execute` | a task's call, to its one reported end |
| `task_output` | what a task prints and logs |
| `process_state` | what a task may change in its process |
"""
