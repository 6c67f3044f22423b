"""Webhooks: a client's server is told how its jobs go on, signed as Standard Webhooks.

`hook.py` is what a client asks for, `message.py` and `signing.py` make what is sent, `schedule.py` says when
it is tried again: all of it pure. `outbox.py` keeps what is to be sent in the job store, `courier.py` sends
it.
"""
