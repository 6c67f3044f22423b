"""The guard of every request that this installation sends to where a client says.

`rules.py` judges addresses and URLs and is pure, `connection.py` looks names up and connects, `client.py`
speaks HTTP.
"""
