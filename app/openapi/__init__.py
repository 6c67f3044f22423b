"""The description of the API: OpenAPI 3.1, made from what checks the requests."""

from app.openapi.document import build

__all__ = ["build"]
