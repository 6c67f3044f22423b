"""What sound must become to keep the rules of an endpoint file. Pure: it knows no file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from schemas.media.attributes import Range, number_text
from schemas.media.rules import AudioRules, VideoRules
from schemas.media.sound import CODECS, SoundForm, SoundInfo

CODEC_DELAY = 0.1
"""Seconds by which a compressed file may be longer than the sound that was put into it."""
_USUAL_BITS = 16


def plan_sound(
    have: SoundInfo, codecs: Sequence[str], rules: AudioRules | VideoRules, problems: list[str], keep: bool
) -> SoundForm | None:
    """Give what sound shall become; None: it may stay as it is.

    Args:
        have: the sound.
        codecs: what the file to come can hold, the usual one first.
        rules: what the model takes.
        problems: where sentences are added if it must be refused.
        keep: whether it may stay as it is, as far as its file is concerned.
    """
    depths = rules.sample_bit_depth if isinstance(rules, AudioRules) else Range()
    rate = rules.sample_rate.fit(have.sample_rate, "sample rate", problems, "Hz")
    channels = rules.channels.fit(have.channels, "number of channels", problems)
    bits, bit_rate = have.bits, float(have.bit_rate)
    if bits:
        bits = int(depths.fit(bits, "sample bit depth", problems, "bits"))
    else:
        bit_rate = rules.audio_bit_rate.fit(have.bit_rate, "audio bit rate", problems, "bit/s")
    codec = rules.audio_codec.fit(have.codec, "audio codec", problems)
    wanted = SoundInfo(codec, int(rate), int(channels), bits, int(bit_rate))
    if problems or (keep and wanted == have):
        return None
    supported = rules.audio_codec.supported
    possible = [codec for codec in codecs if not supported or codec in supported]
    if not possible:
        problems.append(
            f"would have to become {' or '.join(codecs)}: only {', '.join(supported)} is supported"
        )
        return None
    return _written(wanted, possible, rules, depths, problems)


def plan_seconds(seconds: float, rule: Range, problems: list[str]) -> float | None:
    """Give where a file shall be cut off, in seconds; None: nowhere.

    Args:
        seconds: its duration.
        rule: what the model takes.
        problems: where a sentence is added if it must be refused.
    """
    own = f"its duration of {number_text(round(seconds, 3))} s"
    if rule.minimum is not None and seconds < rule.minimum - CODEC_DELAY:
        problems.append(f"{own} is too short: at least {number_text(rule.minimum)} s needed")
    if rule.maximum is None or seconds <= rule.maximum + CODEC_DELAY:
        return None
    if not rule.auto_convert:
        problems.append(f"{own} is too long: at most {number_text(rule.maximum)} s allowed")
    return rule.maximum


def _written(
    wanted: SoundInfo,
    possible: Sequence[str],
    rules: AudioRules | VideoRules,
    depths: Range,
    problems: list[str],
) -> SoundForm:
    """Give the nearest to what is wanted that can be written."""
    name = wanted.codec if wanted.codec in possible else possible[0]
    bits = None
    if CODECS[name].bits:
        bits = wanted.bits or _nearest(depths, _USUAL_BITS)
        name = (
            name if CODECS[name].bits == bits else next((c for c in possible if CODECS[c].bits == bits), name)
        )
    codec = CODECS[name]
    rate, channels = codec.rate_near(wanted.sample_rate), min(wanted.channels, codec.most_channels)
    # What the codec made of it must keep the rules, too.
    replace(rules.sample_rate, auto_convert=False).fit(rate, f"sample rate as {name}", problems, "Hz")
    replace(rules.channels, auto_convert=False).fit(channels, f"number of channels as {name}", problems)
    bit_rate = None
    if codec.bit_rate:
        known = name == wanted.codec and wanted.bit_rate
        bit_rate = wanted.bit_rate if known else _nearest(rules.audio_bit_rate, codec.bit_rate * channels)
    return SoundForm(name, rate, channels, bits, bit_rate)


def _nearest(rule: Range, number: int) -> int:
    return int(replace(rule, auto_convert=True).fit(number, "", []))
