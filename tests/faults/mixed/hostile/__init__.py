"""Hostile tasks: what task code does by mistake or on purpose, and what must become of each.

`kinds` is the table of what must become of them, `tasks` the limits that they run under, `errors`, `values`, `signals`,
`leftovers`, `sockets` and `floods` what they do, and `verdict` judges how they ended.
"""
