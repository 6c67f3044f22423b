"""Endpoints in URLs: a path with the name of no endpoint matches no route."""

from __future__ import annotations

import re
from collections.abc import Mapping

from werkzeug.routing import BaseConverter

from schemas import Endpoint


def endpoint_converter(endpoints: Mapping[str, Endpoint]) -> type[BaseConverter]:
    """Make the converter of `<endpoint:...>`, which gives the view an `Endpoint`."""

    class EndpointConverter(BaseConverter):
        regex = "|".join(re.escape(name) for name in endpoints) or "(?!)"

        def to_python(self, value: str) -> Endpoint:
            return endpoints[value]

        def to_url(self, value: Endpoint) -> str:
            return super().to_url(value.name)

    return EndpointConverter
