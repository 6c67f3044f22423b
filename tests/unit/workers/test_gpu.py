"""Memory of GPUs, with a driver that the tests play."""

import threading
import types

import pytest

from workers.gpu import FRESH, STALE, GpuMemory, Gpus, visible

UUIDS = ["GPU-aa11", "GPU-bb22", "GPU-bb33"]


class NVMLError(Exception):
    """As the library's own."""


class Driver:
    """As much of the module `pynvml` as is used; a handle is the UUID in brackets."""

    NVMLError = NVMLError

    def __init__(self, *uuids):
        self.uuids, self.asked, self.lost = list(uuids), 0, set()

    def nvmlInit(self):  # noqa: N802 - the names of the library
        self.asked += 1

    def nvmlDeviceGetCount(self):  # noqa: N802
        return len(self.uuids)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return f"<{self.uuids[index]}>"

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        return f"<{uuid}>"

    def nvmlDeviceGetUUID(self, handle):  # noqa: N802
        return handle.strip("<>")

    def nvmlDeviceGetMemoryInfo(self, handle):  # noqa: N802
        self.asked += 1
        if handle in self.lost:
            raise NVMLError("GPU is lost")
        return types.SimpleNamespace(used=self.asked, total=100)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (None, UUIDS),
        ("", []),
        ("1", ["GPU-bb22"]),
        ("2, 0", ["GPU-bb33", "GPU-aa11"]),
        ("0,-1,1", ["GPU-aa11"]),
        ("7,0", []),
        ("GPU-a", ["GPU-aa11"]),
        ("GPU-bb", []),  # of two devices: of none
        ("GPU-bb3,0,GPU-bb33", ["GPU-bb33", "GPU-aa11"]),
        ("MIG-7c", ["MIG-7c"]),
        ("NoDevFiles", []),
        ("²", []),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_does(wanted, found):
    assert visible(wanted, UUIDS) == found


def test_beginning_of_no_uuid_is_none_of_the_only_device():
    assert visible("", UUIDS[:1]) == []


def test_memory_of_the_visible_devices_is_told():
    driver = Driver(*UUIDS)
    gpus = Gpus({"CUDA_VISIBLE_DEVICES": "1"}, lambda: driver)
    assert gpus.read() == [GpuMemory("GPU-bb22", used=2, total=100)]


def test_mig_instance_is_asked_by_its_uuid():
    gpus = Gpus({"CUDA_VISIBLE_DEVICES": "MIG-7c"}, lambda: Driver("GPU-aa11"))
    assert [memory.device for memory in gpus.read()] == ["MIG-7c"]


def test_driver_is_asked_again_only_after_a_while():
    driver, clock = Driver("GPU-aa11"), Clock()
    gpus = Gpus({}, lambda: driver, clock)
    first = gpus.read()
    clock.now += FRESH / 2
    assert gpus.read() == first
    clock.now += FRESH / 2
    assert gpus.read() != first


def test_device_that_is_lost_is_left_out_and_the_others_are_not():
    driver = Driver(*UUIDS)
    driver.lost.add("<GPU-bb22>")
    assert [memory.device for memory in Gpus({}, lambda: driver).read()] == ["GPU-aa11", "GPU-bb33"]


def no_library():
    raise ModuleNotFoundError("No module named 'pynvml'")


def no_driver():
    driver = Driver()
    driver.nvmlInit = lambda: (_ for _ in ()).throw(NVMLError("NVML Shared Library Not Found"))
    return driver


@pytest.mark.parametrize("load", [no_library, no_driver])
def test_machine_without_gpu_says_so_once_and_for_those_who_debug_only(load, caplog):
    caplog.set_level("DEBUG")
    clock = Clock()
    gpus = Gpus({}, load, clock)
    assert gpus.read() == []
    clock.now += 10 * FRESH
    assert gpus.read() == []
    assert [record.levelname for record in caplog.records] == ["DEBUG"]


def test_driver_that_hangs_holds_up_one_thread_only_and_then_there_are_no_gpus():
    driver, clock = Driver("GPU-aa11"), Clock()
    gpus = Gpus({}, lambda: driver, clock)
    before = gpus.read()
    hangs, goes_on, answer = threading.Event(), threading.Event(), driver.nvmlDeviceGetMemoryInfo

    def hang(handle):
        hangs.set()
        goes_on.wait(10)
        return answer(handle)

    driver.nvmlDeviceGetMemoryInfo = hang
    clock.now += FRESH
    stuck = threading.Thread(target=gpus.read)
    stuck.start()
    assert hangs.wait(5)
    assert gpus.read() == before
    clock.now += STALE
    assert gpus.read() == []
    goes_on.set()
    stuck.join(5)
    assert gpus.read() != []
