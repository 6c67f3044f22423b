"""What may be said: endpoint files, and the schemas of inputs and outputs that are made from them."""

from schemas.endpoint import Endpoint
from schemas.errors import (
    EndpointFileError,
    InputError,
    OutputError,
    Problem,
    SchemaError,
)
from schemas.files import OPTIONAL, SHIPPED, SHIPPED_IMAGE, load_endpoints
from schemas.inputs import RESERVED_INPUTS
from schemas.media.limits import MediaLimits

__all__ = [
    "OPTIONAL",
    "RESERVED_INPUTS",
    "SHIPPED",
    "SHIPPED_IMAGE",
    "Endpoint",
    "EndpointFileError",
    "InputError",
    "MediaLimits",
    "OutputError",
    "Problem",
    "SchemaError",
    "load_endpoints",
]
