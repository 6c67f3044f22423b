"""The types of inputs and session variables, by their names in endpoint files."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.chat import ChatContext, TextContext
from schemas.fields import Boolean, Json, Selection, Text
from schemas.mediafields import Audio, AudioList, Image, ImageList, Video, VideoList
from schemas.numbers import Float, Integer
from schemas.parameter import Parameter

TYPES: Mapping[str, type[Parameter]] = {
    "string": Text,
    "str": Text,
    "integer": Integer,
    "int": Integer,
    "float": Float,
    "bool": Boolean,
    "boolean": Boolean,
    "selection": Selection,
    "json": Json,
    "image": Image,
    "image_list": ImageList,
    "audio": Audio,
    "audio_list": AudioList,
    "video": Video,
    "video_list": VideoList,
    "chat_context": ChatContext,
    "text_context": TextContext,
}
