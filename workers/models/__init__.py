"""Models: one file each. `Model` is what an own model derives from."""

from workers.models.base import Model, ModelJob

__all__ = ["Model", "ModelJob"]
