"""Models: one file each. `Model` or `ContinuousModel` is what an own model derives from."""

from workers.models.base import ContinuousModel, Model, ModelJob
from workers.models.media import media_bytes, open_image, open_sound, open_video

__all__ = ["ContinuousModel", "Model", "ModelJob", "media_bytes", "open_image", "open_sound", "open_video"]
