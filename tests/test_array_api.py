"""Every name of the Array API standard 2024.12, with its arguments and how they may be given."""

from __future__ import annotations

import inspect

import pytest

import chainrule as cr
from chainrule.errors import ConfigError
from chainrule.recording import MAXIMUM_AXES

# signatures as the standard writes them, and the functions that have them

FUNCTIONS = {
    "()": "__array_namespace_info__",
    "(x, /)": (
        "abs acos acosh asin asinh atan atanh bitwise_invert ceil conj cos cosh exp expm1 floor imag isfinite "
        "isinf isnan log log10 log1p log2 logical_not matrix_transpose negative nonzero positive real reciprocal "
        "round sign signbit sin sinh sqrt square tan tanh trunc unique_all unique_counts unique_inverse "
        "unique_values"
    ),
    "(x1, x2, /)": (
        "add atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor copysign divide equal "
        "floor_divide greater greater_equal hypot less less_equal logaddexp logical_and logical_or logical_xor "
        "matmul maximum minimum multiply nextafter not_equal pow remainder subtract"
    ),
    "(x, /, *, axis=None, keepdims=False)": "all any argmax argmin count_nonzero max mean min",
    "(start, /, stop=None, step=1, *, dtype=None, device=None)": "arange",
    "(x, /, *, axis=-1, descending=False, stable=True)": "argsort sort",
    "(obj, /, *, dtype=None, device=None, copy=None)": "asarray",
    "(x, dtype, /, *, copy=True, device=None)": "astype",
    "(*arrays)": "broadcast_arrays",
    "(x, /, shape)": "broadcast_to",
    "(from_, to, /)": "can_cast",
    "(x, /, min=None, max=None)": "clip",
    "(arrays, /, *, axis=0)": "concat stack",
    "(x, /, *, axis=None, dtype=None, include_initial=False)": "cumulative_prod cumulative_sum",
    "(x, /, *, axis=-1, n=1, prepend=None, append=None)": "diff",
    "(shape, *, dtype=None, device=None)": "empty ones zeros",
    "(x, /, *, dtype=None, device=None)": "empty_like ones_like zeros_like",
    "(x, /, axis)": "expand_dims squeeze",
    "(n_rows, n_cols=None, /, *, k=0, dtype=None, device=None)": "eye",
    "(type, /)": "finfo iinfo",
    "(x, /, *, axis=None)": "flip",
    "(x, /, *, device=None, copy=None)": "from_dlpack",
    "(shape, fill_value, *, dtype=None, device=None)": "full",
    "(x, /, fill_value, *, dtype=None, device=None)": "full_like",
    "(dtype, kind)": "isdtype",
    "(start, stop, /, num, *, dtype=None, device=None, endpoint=True)": "linspace",
    "(*arrays, indexing='xy')": "meshgrid",
    "(x, source, destination, /)": "moveaxis",
    "(x, /, axes)": "permute_dims",
    "(x, /, *, axis=None, dtype=None, keepdims=False)": "prod sum",
    "(x, repeats, /, *, axis=None)": "repeat",
    "(x, /, shape, *, copy=None)": "reshape",
    "(*arrays_and_dtypes)": "result_type",
    "(x, /, shift, *, axis=None)": "roll",
    "(x1, x2, /, *, side='left', sorter=None)": "searchsorted",
    "(x, /, *, axis=None, correction=0.0, keepdims=False)": "std var",
    "(x, indices, /, *, axis=None)": "take",
    "(x, indices, /, *, axis=-1)": "take_along_axis",
    "(x1, x2, /, *, axes=2)": "tensordot",
    "(x, repetitions, /)": "tile",
    "(x, /, *, k=0)": "tril triu",
    "(x, /, *, axis=0)": "unstack",
    "(x1, x2, /, *, axis=-1)": "vecdot",
    "(condition, x1, x2, /)": "where",
}
LINALG = {
    "(x, /, *, upper=False)": "cholesky",
    "(x1, x2, /, *, axis=-1)": "cross vecdot",
    "(x, /)": "det eigh eigvalsh inv matrix_transpose slogdet svdvals",
    "(x, /, *, offset=0)": "diagonal",
    "(x1, x2, /)": "matmul outer solve",
    "(x, /, *, keepdims=False, ord='fro')": "matrix_norm",
    "(x, n, /)": "matrix_power",
    "(x, /, *, rtol=None)": "matrix_rank pinv",
    "(x, /, *, mode='reduced')": "qr",
    "(x, /, *, full_matrices=True)": "svd",
    "(x1, x2, /, *, axes=2)": "tensordot",
    "(x, /, *, offset=0, dtype=None)": "trace",
    "(x, /, *, axis=None, keepdims=False, ord=2)": "vector_norm",
}
FFT = {
    "(x, /, *, n=None, axis=-1, norm='backward')": "fft hfft ifft ihfft irfft rfft",
    "(n, /, *, d=1.0, dtype=None, device=None)": "fftfreq rfftfreq",
    "(x, /, *, s=None, axes=None, norm='backward')": "fftn ifftn irfftn rfftn",
    "(x, /, *, axes=None)": "fftshift ifftshift",
}
INFO = {
    "()": "capabilities default_device devices",
    "(*, device=None)": "default_dtypes",
    "(*, device=None, kind=None)": "dtypes",
}
TENSOR = {
    "()": "__abs__ __bool__ __complex__ __dlpack_device__ __float__ __index__ __int__ __invert__ __neg__ __pos__",
    "(other, /)": (
        "__add__ __and__ __eq__ __floordiv__ __ge__ __gt__ __le__ __lshift__ __lt__ __matmul__ __mod__ __mul__ "
        "__ne__ __or__ __pow__ __rshift__ __sub__ __truediv__ __xor__"
    ),
    "(*, api_version=None)": "__array_namespace__",
    "(*, stream=None, max_version=None, dl_device=None, copy=None)": "__dlpack__",
    "(key, /)": "__getitem__",
    "(key, value, /)": "__setitem__",
    "(device, /, *, stream=None)": "to_device",
}

PROPERTIES = ("T", "device", "dtype", "mT", "ndim", "shape", "size")
CONSTANTS = ("e", "inf", "nan", "newaxis", "pi")
DTYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128".split()
ARITHMETIC = "add sub mul truediv floordiv mod pow and or xor lshift rshift matmul".split()


def cases(table: dict[str, str]) -> list[tuple[str, str]]:
    return sorted((name, signature) for signature, names in table.items() for name in names.split())


def compare(function, signature: str) -> None:
    """`function` takes what the standard's signature takes; it may take more."""
    wanted = inspect.signature(eval(f"lambda {_as_lambda(signature)}: None")).parameters.values()
    found = inspect.signature(function).parameters
    in_order = list(found.values())
    kinds = inspect.Parameter
    for position, parameter in enumerate(wanted):
        if parameter.kind is kinds.KEYWORD_ONLY:
            assert parameter.name in found, f"argument {parameter.name} is missing"
            own = found[parameter.name]
            assert own.kind in (kinds.KEYWORD_ONLY, kinds.POSITIONAL_OR_KEYWORD)
        else:
            own = in_order[position]
            assert own.kind is parameter.kind, f"argument {position} is {own.kind.description}"
            if parameter.kind is kinds.POSITIONAL_OR_KEYWORD:
                assert own.name == parameter.name
        if parameter.default is not kinds.empty and parameter.name != "correction":
            assert own.default == parameter.default, f"{parameter.name} is {own.default!r} by default"
    # what the standard does not name is optional
    names = {parameter.name for parameter in wanted}
    more = [own for own in in_order[len(wanted) :] if own.name not in names]
    assert all(own.default is not kinds.empty or own.kind in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD) for own in more)


def _as_lambda(signature: str) -> str:
    return signature[1:-1]


@pytest.mark.parametrize("name, signature", cases(FUNCTIONS))
def test_function(name, signature):
    compare(getattr(cr, name), signature)


@pytest.mark.parametrize("name, signature", cases(LINALG))
def test_linalg(name, signature):
    compare(getattr(cr.linalg, name), signature)


@pytest.mark.parametrize("name, signature", cases(FFT))
def test_fft(name, signature):
    compare(getattr(cr.fft, name), signature)


@pytest.mark.parametrize("name, signature", cases(INFO))
def test_inspection_signature(name, signature):
    compare(getattr(cr.__array_namespace_info__(), name), signature)


@pytest.mark.parametrize("name, signature", cases(TENSOR))
def test_method(name, signature):
    compare(getattr(cr.ones((2, 2)), name), signature)


def test_other_names():
    x = cr.ones((2, 2))
    for name in PROPERTIES:
        assert hasattr(x, name)
    for name in ARITHMETIC:
        for prefix in ("", "r", "i"):
            compare(getattr(x, f"__{prefix}{name}__"), "(other, /)")
    for name in CONSTANTS:
        assert hasattr(cr, name)
    for name in DTYPES:
        assert repr(getattr(cr, name)) == f"chainrule.{name}"
    assert cr.__array_api_version__ == "2024.12"


def test_namespace():
    x = cr.ones(2)
    assert x.__array_namespace__() is cr
    for version in ("2021.12", "2022.12", "2023.12", "2024.12"):
        assert x.__array_namespace__(api_version=version) is cr
    with pytest.raises(ConfigError, match=r"^__array_namespace__: version '2019.06' of the standard is not offered; "):
        x.__array_namespace__(api_version="2019.06")


def test_inspection():
    info = cr.__array_namespace_info__()
    wanted = {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": MAXIMUM_AXES}
    assert info.capabilities() == wanted
    assert info.default_device() == "cpu" and info.devices() == ["cpu"]
    assert info.default_dtypes() == info.default_dtypes(device="cpu") == {
        "real floating": cr.float32, "complex floating": cr.complex64, "integral": cr.int64, "indexing": cr.int64,
    }  # fmt: skip
    assert list(info.dtypes()) == DTYPES
    assert list(info.dtypes(kind="integral")) == DTYPES[1:9]
    assert list(info.dtypes(kind=("bool", "complex floating"))) == ["bool", "complex64", "complex128"]
    assert info.dtypes(device="cpu", kind="unsigned integer")["uint8"] is cr.uint8
    with pytest.raises(ConfigError, match="device 'cuda' is not available"):
        info.dtypes(device="cuda")


DEVICES = {
    "asarray": ([1],), "arange": (3,), "empty": (2,), "empty_like": (cr.ones(2),), "eye": (2,), "full": (2, 1.0),
    "full_like": (cr.ones(2), 1.0), "linspace": (0, 1, 3), "ones": (2,), "ones_like": (cr.ones(2),), "zeros": (2,),
    "zeros_like": (cr.ones(2),), "astype": (cr.ones(2), cr.float64), "from_dlpack": (cr.ones(2),),
}  # fmt: skip


@pytest.mark.parametrize("name", DEVICES)
def test_devices(name):
    function = getattr(cr, name)
    assert function(*DEVICES[name], device="cpu").device == "cpu"
    assert function(*DEVICES[name], device=cr.ones(1).device).device == "cpu"
    with pytest.raises(ConfigError, match="device 'cuda:1' is not available; there is 'cpu'"):
        function(*DEVICES[name], device="cuda:1")


def test_to_device():
    x = cr.ones(2)
    assert x.to_device("cpu") is x
    with pytest.raises(ConfigError, match=r"^to_device: device 'tpu' is not available; there is 'cpu'"):
        x.to_device("tpu")
    with pytest.raises(ConfigError, match=r"^to_device: the CPU has no streams, so not 3"):
        x.to_device("cpu", stream=3)
