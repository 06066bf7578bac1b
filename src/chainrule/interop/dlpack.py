"""DLPack: arrays that pass between libraries without a copy.

Capsules are made and taken apart by NumPy, whose C code frees them safely on any thread and at the interpreter's end.
Added here are what NumPy lacks: bfloat16, whose element type is rewritten in the capsule, and capsules of read-only
memory for consumers that know no flag for it.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from ..dtypes import DType, bfloat16
from ..errors import ConfigError, DTypeError
from ..ops.base import message

#: device type and number of the host's memory
HOST = (1, 0)
_DEVICES = {
    1: "the CPU", 2: "CUDA", 3: "pinned CUDA host memory", 4: "OpenCL", 7: "Vulkan", 8: "Metal", 9: "VPI", 10: "ROCm",
    11: "pinned ROCm host memory", 13: "managed CUDA memory", 14: "oneAPI", 15: "WebGPU", 16: "Hexagon", 17: "MAIA",
}  # fmt: skip
#: device types whose memory the CPU reads
_READABLE = (1, 3, 11, 13)
_UNSIGNED, _BFLOAT = 1, 4
_NAMES = (b"dltensor", b"dltensor_versioned")
_VERSIONS = np.lib.NumpyVersion(np.__version__) >= "2.1.0"

_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, (ctypes.py_object, ctypes.c_char_p)
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)


class _Array(ctypes.Structure):
    """What a capsule says about its array (`DLTensor` of the DLPack header)."""

    _fields_ = [
        ("data", ctypes.c_void_p), ("device", ctypes.c_int32), ("number", ctypes.c_int32), ("rank", ctypes.c_int32),
        ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p), ("strides", ctypes.c_void_p), ("offset", ctypes.c_uint64),
    ]  # fmt: skip


class _Versioned(ctypes.Structure):
    """The head of a versioned capsule, which its array follows (`DLManagedTensorVersioned`)."""

    _fields_ = [
        ("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p), ("flags", ctypes.c_uint64), ("array", _Array),
    ]  # fmt: skip


class _Lent:
    """Memory of `holder` under another element type or without its mark as read-only."""

    def __init__(self, holder: np.ndarray, writeable: bool, dtype: np.dtype):
        interface = dict(holder.__array_interface__)
        interface.update(data=(interface["data"][0], not writeable), typestr=dtype.str, descr=dtype.descr)
        self.holder, self.__array_interface__ = holder, interface


class _Carrier:
    """A capsule dressed as an array, as `numpy.from_dlpack` wants it."""

    def __init__(self, capsule: Any):
        self.capsule = capsule

    def __dlpack__(self, **_: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return HOST


def _array_of(capsule: Any) -> _Array | None:
    """The description inside an unused capsule of either kind; None for anything else."""
    for name, kind in zip(_NAMES, (_Array, _Versioned)):
        if _is_valid(capsule, name):
            found: Any = kind.from_address(_pointer(capsule, name))
            return found if kind is _Array else found.array
    return None


def exported(array: np.ndarray, dtype: DType, stream: Any, max_version: Any, dl_device: Any, copy: Any) -> Any:
    """A capsule of the read-only `array`, whose elements are of `dtype`.

    A consumer that takes versions from 1.0 on is told that the memory is read-only; another gets the same memory
    without the mark.
    """
    if stream is not None:
        raise BufferError(message("__dlpack__", f"memory of the CPU has no streams, so not {stream!r}", ()))
    if dl_device is not None and (int(dl_device[0]), int(dl_device[1])) != HOST:
        problem = f"the value is on the CPU, and cannot be put on {_described(*dl_device)}"
        raise BufferError(message("__dlpack__", problem, ()))
    memory = array.view(np.uint16) if dtype is bfloat16 else array
    versioned = _VERSIONS and max_version is not None and max_version[0] >= 1
    if copy and not versioned:
        capsule = memory.copy().__dlpack__()
    elif versioned:
        capsule = memory.__dlpack__(max_version=(1, 0), copy=bool(copy))
    else:
        capsule = np.asarray(_Lent(memory, True, memory.dtype)).__dlpack__()
    if dtype is bfloat16:
        description = _array_of(capsule)
        assert description is not None
        description.code = _BFLOAT
    return capsule


def imported(x: Any, to_host: bool = False, copy: bool | None = None, name: str = "from_dlpack") -> np.ndarray:
    """The array in `x`, an object with ``__dlpack__`` or a capsule: read-only, C-contiguous, in our dtypes.

    It shares memory with `x` unless `copy` is true or the layout needs a copy; with `to_host`, arrays on devices are
    asked to copy themselves to the CPU.
    """
    capsule = x if _array_of(x) is not None else _asked(x, to_host, copy, name)
    description = _array_of(capsule)
    if description is None:
        raise DTypeError(message(name, f"{type(x).__name__} gave no unused DLPack capsule", ()))
    if description.device not in _READABLE:
        _refuse_device(name, description.device, description.number)
    half = (description.code, description.bits, description.lanes) == (_BFLOAT, 16, 1)
    if half:
        description.code = _UNSIGNED
    try:
        array = np.from_dlpack(_Carrier(capsule))
    except (BufferError, RuntimeError, TypeError) as error:
        kind = f"code {description.code} with {description.bits} bits and {description.lanes} lanes"
        problem = f"elements of DLPack type {kind} are not held by tensors: {error}"
        raise DTypeError(message(name, problem, ())) from None
    if half:
        array = np.asarray(_Lent(array, False, bfloat16.numpy))
    return settled(array, copy, name)


def settled(array: np.ndarray, copy: bool | None, name: str) -> np.ndarray:
    """`array` in row-major order and read-only: itself where it can be and `copy` is not true."""
    if not (array.flags.c_contiguous and array.flags.aligned):
        if copy is False:
            problem = f"strides {array.strides} in bytes need a copy"
            raise BufferError(message(name, problem, (), "leave out copy=False"))
        array = np.array(array, order="C")
    elif copy:
        array = array.copy()
    array.flags.writeable = False
    return array


def _asked(x: Any, to_host: bool, copy: bool | None, name: str) -> Any:
    """The capsule that `x` exports."""
    if not hasattr(x, "__dlpack__") or not hasattr(x, "__dlpack_device__"):
        problem = f"{type(x).__name__} has no __dlpack__ and __dlpack_device__"
        raise DTypeError(message(name, problem, (), "use asarray for lists and numbers"))
    device, number = (int(part) for part in x.__dlpack_device__())
    options: dict[str, Any] = {"max_version": (1, 0)} if _VERSIONS else {}
    if device not in _READABLE:
        if not to_host:
            _refuse_device(name, device, number)
        if copy is False:
            raise BufferError(message(name, f"an array on {_described(device, number)} reaches the CPU by a copy", ()))
        options["dl_device"] = HOST
    elif copy is False:
        options["copy"] = False
    while True:
        try:
            return x.__dlpack__(**options)
        except BufferError as error:
            raise BufferError(message(name, str(error), ())) from None
        except TypeError:
            if "dl_device" in options or not options:
                raise
            options.popitem()  # older libraries do not know these arguments


def _described(device: int, number: int) -> str:
    return f"{_DEVICES.get(int(device), f'DLPack device type {int(device)}')}, device {int(number)}"


def _refuse_device(name: str, device: int, number: int) -> None:
    problem = f"the array is on {_described(device, number)}, and there is only 'cpu' here"
    raise ConfigError(message(name, problem, (), "copy it to the host first, or pass device='cpu'"))
