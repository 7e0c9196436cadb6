"""The ordinary blueprint that `make bench` measures against, written as good teams write it: nothing is held back.

`app` is its API, `tasks` its Celery side, `bare` the same server with nothing around one insert or one stream.
"""
