"""The steps of a job's life that Redis takes in one piece, in Lua. Only REQUEUE changes a terminal state.

Keys are those of `tasks/store/`; leases end by Redis's own clock, so that no two hosts' clocks are
compared.
"""
