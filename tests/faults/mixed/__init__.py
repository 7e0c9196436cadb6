"""The mixed run: real processes under load, faults at random, the whole history recorded, and checked afterwards.

`plan` says which fault comes when, `faults` are the kinds, `fleet` keeps processes running as Kubernetes would, `stacks`
are what is put under load (Longhaul, and the ordinary blueprint), `load` submits, `history` is what was seen, and
`checker` judges it.
"""
