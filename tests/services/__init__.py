"""Real services for tests: private servers of RabbitMQ, Redis and PostgreSQL, and Stoker's own processes.

Everything listens on free ports of the loopback address, keeps its data in a folder of its own, and dies
with the test session even when that is killed, so that several sessions can run at once on one machine.
"""

from tests.services.nginx import Nginx
from tests.services.postgres import PostgreSQL
from tests.services.process import LOG_TAIL, ROOT, Process, StartError, free_port, missing, wait_until
from tests.services.rabbitmq import ForeignBroker, RabbitMQ, amqp_connection
from tests.services.redisserver import RedisServer, redis_program
from tests.services.site import Site, answer, make_certificate
from tests.services.stoker import BIN, Api, Worker

__all__ = [
    "BIN",
    "LOG_TAIL",
    "ROOT",
    "Api",
    "ForeignBroker",
    "Nginx",
    "PostgreSQL",
    "Process",
    "RabbitMQ",
    "RedisServer",
    "Site",
    "StartError",
    "Worker",
    "amqp_connection",
    "answer",
    "free_port",
    "make_certificate",
    "missing",
    "redis_program",
    "wait_until",
]
