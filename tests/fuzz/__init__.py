"""Damaged files of every format, by the thousand: `make fuzz`, or `python -m tests.fuzz --help`."""
