"""What may be said: endpoint files, and the schemas of inputs and outputs that are made from them."""

from schemas.endpoint import Endpoint
from schemas.errors import (
    EndpointFileError,
    InputError,
    OutputError,
    Problem,
    SchemaError,
)
from schemas.files import SHIPPED, load_endpoints
from schemas.inputs import RESERVED_INPUTS

__all__ = [
    "RESERVED_INPUTS",
    "SHIPPED",
    "Endpoint",
    "EndpointFileError",
    "InputError",
    "OutputError",
    "Problem",
    "SchemaError",
    "load_endpoints",
]
