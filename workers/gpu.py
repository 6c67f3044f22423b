"""Memory of the NVIDIA GPUs that this worker may use, as the driver tells it (NVML)."""

from __future__ import annotations

import importlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)

FRESH = 2.0  # s that a reading is good for
STALE = 60.0  # s after which a reading is worth nothing: the driver hangs


@dataclass(frozen=True)
class GpuMemory:
    """Memory of one device.

    Attributes:
        device: its UUID, as `nvidia-smi -L` and `CUDA_VISIBLE_DEVICES` have it.
        used: bytes in use, whoever uses them.
        total: bytes that it has.
    """

    device: str
    used: int
    total: int


class Gpus:
    """Asks the driver, and only when it is asked; a machine without driver or library has no GPUs.

    Args:
        environ: where CUDA_VISIBLE_DEVICES may stand; default: the process's own.
        load: gives the module `pynvml`.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        load: Callable[[], Any] = lambda: importlib.import_module("pynvml"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._visible = (os.environ if environ is None else environ).get("CUDA_VISIBLE_DEVICES")
        self._load, self._clock = load, clock
        self._nvml: Any = None
        self._handles: dict[str, Any] | None = None
        self._asking = threading.Lock()
        self._read_at = -STALE
        self._last: list[GpuMemory] = []

    def read(self) -> list[GpuMemory]:
        """Give the memory of each visible device; from any thread.

        A driver in trouble may never answer. Only one thread waits for it then, and soon there are no GPUs.
        """
        if self._clock() - self._read_at >= FRESH and self._asking.acquire(blocking=False):
            try:
                self._last, self._read_at = self._ask(), self._clock()
            finally:
                self._asking.release()
        return self._last if self._clock() - self._read_at < STALE else []

    def _ask(self) -> list[GpuMemory]:
        if self._handles is None:
            self._handles = self._open()
        readings = []
        for uuid, handle in self._handles.items():
            try:
                memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
            except self._nvml.NVMLError as error:
                logger.debug("GPU %s does not tell its memory: %s", uuid, error)
            else:
                readings.append(GpuMemory(uuid, memory.used, memory.total))
        return readings

    def _open(self) -> dict[str, Any]:
        """Find the visible devices, once: a driver does not appear while a worker runs."""
        try:
            self._nvml = self._load()
            self._nvml.nvmlInit()
            uuids = visible(self._visible, self._all_uuids())
            return {uuid: self._nvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in uuids}
        except Exception as error:  # a missing library, a missing driver, or two that do not fit
            logger.debug("no GPU memory in the metrics: %r", error)
            return {}

    def _all_uuids(self) -> list[str]:
        handles = map(self._nvml.nvmlDeviceGetHandleByIndex, range(self._nvml.nvmlDeviceGetCount()))
        return [self._nvml.nvmlDeviceGetUUID(handle) for handle in handles]


def visible(wanted: str | None, uuids: Sequence[str]) -> list[str]:
    """Read CUDA_VISIBLE_DEVICES as CUDA does: what follows the first unknown device does not count.

    Args:
        wanted: its value: numbers, UUIDs, beginnings of UUIDs, or UUIDs of MIG instances; None: all devices.
        uuids: those of all devices, in the driver's order.

    Returns:
        UUIDs of the devices, each once.
    """
    if wanted is None:
        return list(uuids)
    found: list[str] = []
    for entry in (part.strip() for part in wanted.split(",")):
        matches = _matches(entry, uuids)
        if len(matches) != 1:
            break
        found += matches
    return list(dict.fromkeys(found))


def _matches(entry: str, uuids: Iterable[str]) -> list[str]:
    if entry.startswith("MIG-"):
        return [entry]
    if entry.isdecimal():
        return list(uuids)[int(entry) :][:1]
    return [uuid for uuid in uuids if entry and uuid.startswith(entry)]
