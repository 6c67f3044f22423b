"""The rules for a file in words, for those who read what an endpoint takes."""

from __future__ import annotations

from schemas.media.attributes import Choice, Pair, Range, Size, number_text
from schemas.media.rules import AudioRules, ImageRules, VideoRules

_UNITS = {
    "sample_rate": "Hz",
    "sample_bit_depth": "bits",
    "audio_bit_rate": "bit/s",
    "video_bit_rate": "bit/s",
    "frame_rate": "frames/s",
    "duration": "s",
}


def in_words(rules: ImageRules | AudioRules | VideoRules) -> list[str]:
    """Give what a file must be, one phrase for each rule: "format: jpeg, png; others are converted"."""
    found = []
    for name in rules.__dataclass_fields__:
        rule = getattr(rules, name)
        if isinstance(rule, Choice | Range | Size):
            phrase = _phrase(rule, _UNITS.get(name, ""))
            converts = "; others are converted" if phrase and rule.auto_convert else ""
            found += [f"{name.replace('_', ' ')}: {phrase}{converts}"] if phrase else []
    return [*found, f"at most {number_text(rules.limits.max_bytes / 1e6)} MB"]


def _phrase(rule: Choice | Range | Size, unit: str) -> str:
    if isinstance(rule, Choice):
        return ", ".join(rule.supported)
    if isinstance(rule, Size):
        return _size(rule)
    limits = [", ".join(map(number_text, rule.supported))] if rule.supported else []
    limits += [f"at least {number_text(rule.minimum)}"] if rule.minimum is not None else []
    limits += [f"at most {number_text(rule.maximum)}"] if rule.maximum is not None else []
    limits += [f"multiples of {number_text(rule.align)}"] if rule.align is not None else []
    return f"{', '.join(limits)} {unit}".strip() if limits else ""


def _size(rule: Size) -> str:
    limits = [", ".join(map(_pair, rule.supported))] if rule.supported else []
    limits += [f"at least {_pair(rule.minimum)}"] if rule.minimum is not None else []
    limits += [f"at most {_pair(rule.maximum)}"] if rule.maximum is not None else []
    limits += [f"multiples of {_pair(rule.align)}"] if rule.align != (1, 1) else []
    return f"{', '.join(limits)} pixels" if limits else ""


def _pair(pair: Pair) -> str:
    return f"{pair[0]} x {pair[1]}"
