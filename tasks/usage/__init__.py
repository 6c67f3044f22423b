"""What clients have used: from the store, where jobs end, to the database.

The script that ends a job puts a line into a list of the store (`tasks/records.py`, `usage`). The API
processes bring the lines to the database (`writer.py`). So workers need no SQL, and no request waits for it.
"""
