"""`stoker up`: every process of an installation on one machine, under supervisord."""

from tasks.up.errors import UpError
from tasks.up.run import up

__all__ = ["UpError", "up"]
