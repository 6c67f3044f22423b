"""Models: one file each. `Model` or `ContinuousModel` is what an own model derives from."""

from workers.models.base import ContinuousModel, Model, ModelJob

__all__ = ["ContinuousModel", "Model", "ModelJob"]
