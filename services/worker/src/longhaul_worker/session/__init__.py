"""The session between a pool child and its keeper: a Unix socket, one connection a process.

Each frame names its attempt, each answer its question, and nothing of an attempt outlives it. A frame about another
attempt than the one that runs is refused; a process that breaks the protocol is killed, with evidence.

| module | process | owns |
|---|---|---|
| `frames` | both | what may be said, and how it looks on the socket |
| `child` | pool child | the states of a child; the channel that a `Job` speaks through |
| `transport` | pool child | the socket, and the two threads that no signal can interrupt |
| `server` | keeper | the socket, who may connect, and what each child may say in which state |
"""
