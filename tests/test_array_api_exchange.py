"""Arrays that pass to and from other libraries: DLPack, ``__array__``, the buffer protocol."""

from __future__ import annotations

import array
import ctypes
import gc
import sys
import weakref

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ConfigError, DTypeError, PlaceholderError
from chainrule.interop import dlpack

NUMPY_NAMES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128"
VERSIONED = np.lib.NumpyVersion(np.__version__) >= "2.1.0"


def sample(name: str) -> np.ndarray:
    values = np.arange(600).reshape(3, 200) % 2 if name == "bool" else np.arange(600).reshape(3, 200) % 100
    return values.astype(name)


def place(x) -> int:
    """Address of the first element."""
    return x.__array_interface__["data"][0]


def value_of(x: cr.Tensor) -> np.ndarray:
    return x.numpy()


# -- NumPy ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NUMPY_NAMES.split())
def test_numpy_both_ways_without_copying(name):
    source = sample(name)
    x = cr.from_dlpack(source)
    assert x.dtype is getattr(cr, name) and x.shape == source.shape
    assert place(value_of(x)) == place(source)
    back = np.from_dlpack(x)
    assert back.dtype == source.dtype and np.array_equal(back, source) and place(back) == place(source)
    assert not back.flags.writeable
    assert np.array_equal((x == cr.asarray(source)).numpy(), np.full(source.shape, True))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (2, 1, 3)])
def test_shapes(shape):
    source = np.ones(shape)
    x = cr.from_dlpack(source)
    assert x.shape == shape and np.array_equal(np.from_dlpack(x), source)


def test_export_keeps_the_memory_alive():
    x = cr.asarray(np.arange(1000.0)) * 2
    view = np.from_dlpack(x)
    del x
    gc.collect()
    assert np.array_equal(view, np.arange(1000.0) * 2)


def test_import_keeps_the_memory_alive_and_gives_it_back():
    class Owner:
        """An array-like whose end can be observed."""

        def __init__(self):
            self.array = np.arange(1000.0)

        def __dlpack__(self, **options):
            holder = dlpack._Lent(self.array, True, self.array.dtype)
            self.holder = weakref.ref(holder)
            return np.asarray(holder).__dlpack__(**options)

        def __dlpack_device__(self):
            return (1, 0)

    owner = Owner()
    x = cr.from_dlpack(owner)
    gc.collect()
    assert owner.holder() is not None and x[3].item() == 3
    y = x + 1
    del x
    assert y[3].item() == 4
    del y
    gc.collect()
    assert owner.holder() is None


@pytest.mark.parametrize(
    "view", [lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: a.T, lambda a: a[:, ::3], lambda a: a[1:, 2:50]]
)
def test_other_layouts_are_copied_to_row_major(view):
    source = view(sample("float64"))
    x = cr.from_dlpack(source)
    assert np.array_equal(x.numpy(), source) and x.numpy().flags.c_contiguous
    with pytest.raises(BufferError, match=r"^from_dlpack: strides .* in bytes need a copy"):
        cr.from_dlpack(source, copy=False)


def test_exports_never_have_negative_strides():
    x = cr.flip(cr.arange(6))
    assert np.from_dlpack(x).strides == (8,) and np.from_dlpack(x).tolist() == [5, 4, 3, 2, 1, 0]
    assert np.from_dlpack(x[::-2]).strides == (8,)
    assert np.from_dlpack(cr.ones((2, 3)).T).flags.c_contiguous


def test_copies():
    source = sample("float64")
    x = cr.from_dlpack(source, copy=True)
    assert place(x.numpy()) != place(source)
    assert place(cr.from_dlpack(source, copy=False).numpy()) == place(source)
    own = np.from_dlpack(dlpack._Carrier(x.__dlpack__(copy=True)))
    assert place(own) != place(x.numpy()) and np.array_equal(own, source)
    shared = np.from_dlpack(dlpack._Carrier(x.__dlpack__(copy=False)))
    assert place(shared) == place(x.numpy())
    if VERSIONED:
        own = np.from_dlpack(x, copy=True)
        own[0, 0] = 7
        assert x[0, 0].item() == 0


def test_flags_of_versioned_capsules():
    x = cr.asarray(sample("float32"))
    plain = x.__dlpack__()
    assert "dltensor_versioned" not in repr(plain) and "dltensor" in repr(plain)
    assert "dltensor_versioned" not in repr(x.__dlpack__(max_version=(0, 8)))
    if VERSIONED:
        for version in ((1, 0), (1, 3), (2, 0)):
            capsule = x.__dlpack__(max_version=version)
            assert "dltensor_versioned" in repr(capsule)
            head = dlpack._Versioned.from_address(dlpack._pointer(capsule, b"dltensor_versioned"))
            assert head.major == 1 and head.flags & 1  # read-only
        capsule = x.__dlpack__(max_version=(1, 0), copy=True)
        head = dlpack._Versioned.from_address(dlpack._pointer(capsule, b"dltensor_versioned"))
        assert head.flags & 2 and not head.flags & 1  # a copy, which may be written


def test_arguments_of_export():
    x = cr.ones(3)
    assert x.__dlpack_device__() == (1, 0)
    x.__dlpack__(dl_device=(1, 0))
    with pytest.raises(BufferError) as caught:
        x.__dlpack__(dl_device=(2, 1))
    assert str(caught.value).splitlines()[0] == (
        "__dlpack__: the value is on the CPU, and cannot be put on CUDA, device 1"
    )
    with pytest.raises(BufferError, match=r"^__dlpack__: memory of the CPU has no streams, so not 1"):
        x.__dlpack__(stream=1)
    with pytest.raises(TypeError):
        x.__dlpack__(None)
    with pytest.raises(PlaceholderError):
        cr.vmap(lambda v: np.from_dlpack(v))(x)


def test_a_tensor_passes_through():
    x = cr.ones(3)
    assert place(cr.from_dlpack(x).numpy()) == place(x.numpy())


def test_raw_capsules():
    source = sample("int32")
    x = cr.from_dlpack(source.__dlpack__())
    assert place(x.numpy()) == place(source)
    used = source.__dlpack__()
    cr.from_dlpack(used)
    with pytest.raises(DTypeError, match=r"^from_dlpack: PyCapsule has no __dlpack__ and __dlpack_device__"):
        cr.from_dlpack(used)


class Elsewhere:
    """What an array on a device looks like; it can copy itself to the host if asked to."""

    def __init__(self, device=(2, 3)):
        self.device, self.asked = device, None

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, *, max_version=None, dl_device=None, copy=None):
        self.asked = dl_device
        values = np.arange(3.0)
        return values.__dlpack__(max_version=max_version) if VERSIONED else values.__dlpack__()


@pytest.mark.parametrize(
    "device, name",
    [((2, 3), "CUDA, device 3"), ((8, 0), "Metal, device 0"), ((99, 1), "DLPack device type 99, device 1")],
)
def test_a_device_that_is_not_there(device, name):
    with pytest.raises(ConfigError) as caught:
        cr.from_dlpack(Elsewhere(device))
    first, second, third = str(caught.value).splitlines()
    assert first == f"from_dlpack: the array is on {name}, and there is only 'cpu' here"
    assert second.startswith("recorded at ") and second.rpartition(":")[0].endswith(__file__)
    assert third == "help: copy it to the host first, or pass device='cpu'"


def test_a_capsule_of_a_device_that_is_not_there():
    source = sample("float32")
    capsule = source.__dlpack__()
    described = dlpack._array_of(capsule)
    described.device, described.number = 2, 1  # what CuPy's capsules say
    try:
        with pytest.raises(ConfigError, match=r"^from_dlpack: the array is on CUDA, device 1, and there is only 'cpu'"):
            cr.from_dlpack(capsule)
    finally:
        described.device, described.number = 1, 0


def test_arrays_on_devices_are_asked_for_a_host_copy():
    there = Elsewhere()
    assert cr.from_dlpack(there, device="cpu").tolist() == [0, 1, 2]
    assert there.asked == (1, 0)
    with pytest.raises(BufferError, match=r"^from_dlpack: an array on CUDA, device 3 reaches the CPU by a copy"):
        cr.from_dlpack(Elsewhere(), device="cpu", copy=False)
    with pytest.raises(ConfigError, match="'cuda' is not available"):
        cr.from_dlpack(there, device="cuda")


def test_older_exporters():
    class Old:
        def __dlpack__(self, stream=None):
            return np.arange(3.0).__dlpack__()

        def __dlpack_device__(self):
            return (1, 0)

    assert cr.from_dlpack(Old()).tolist() == [0, 1, 2]
    assert cr.from_dlpack(Old(), copy=False).tolist() == [0, 1, 2]
    assert cr.asarray(Old()).tolist() == [0, 1, 2]


def test_elements_that_tensors_do_not_hold():
    capsule = sample("float32").__dlpack__()
    dlpack._array_of(capsule).lanes = 2
    with pytest.raises(DTypeError, match=r"^from_dlpack: elements of DLPack type code 2 with 32 bits and 2 lanes"):
        cr.from_dlpack(capsule)
    capsule = sample("int8").__dlpack__()
    dlpack._array_of(capsule).code = 10  # a float of eight bits
    with pytest.raises(DTypeError, match=r"^from_dlpack: elements of DLPack type code 10 with 8 bits and 1 lanes"):
        cr.from_dlpack(capsule)


def test_what_is_no_array():
    with pytest.raises(DTypeError) as caught:
        cr.from_dlpack([1, 2])
    first, _, third = str(caught.value).splitlines()
    assert first == "from_dlpack: list has no __dlpack__ and __dlpack_device__"
    assert third == "help: use asarray for lists and numbers"


def test_a_compiled_step_does_not_write_to_foreign_memory():
    source = np.ones(4096, np.float32)
    weight = cr.from_dlpack(source)

    @cr.compile
    def step():
        weight.mul_(2.0)
        return weight.sum()

    assert [step().item() for _ in range(3)] == [8192, 16384, 32768]
    assert (source == 1).all()
    assert (weight == 8).all()


@pytest.mark.parametrize("version", [None, (1, 0)])
@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_a_compiled_step_does_not_write_to_exported_memory(version, name):
    weight = cr.ones(4096, dtype=getattr(cr, name)) + 0.0

    @cr.compile
    def step():
        weight.mul_(2.0)
        return weight.sum()

    step()
    view = cr.from_dlpack(weight.__dlpack__(max_version=version))
    assert place(view._value("test")) == place(weight._value("test"))
    step()
    assert (view == 2).all() and (weight == 4).all()
    step()
    assert (view == 2).all() and (weight == 8).all()


# -- PyTorch, JAX ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NUMPY_NAMES.replace("uint16 uint32 uint64", "").split() + ["bfloat16"])
def test_torch_both_ways_without_copying(name):
    torch = pytest.importorskip("torch")
    source = torch.arange(600).reshape(3, 200).to(getattr(torch, name))
    x = cr.from_dlpack(source)
    assert x.dtype is getattr(cr, name) and x.shape == (3, 200)
    assert place(x._value("test")) == source.data_ptr()
    back = torch.from_dlpack(x)
    assert back.dtype is source.dtype and back.data_ptr() == source.data_ptr() and torch.equal(back, source)
    again = torch.utils.dlpack.from_dlpack(x)
    assert again.data_ptr() == source.data_ptr()
    own = x.clone() if name == "bool" else x + x
    assert torch.equal(torch.from_dlpack(own), source if name == "bool" else source + source)
    assert torch.equal(torch.from_dlpack(cr.asarray(source)), source)


def test_torch_details():
    torch = pytest.importorskip("torch")
    base = torch.arange(12.0).reshape(3, 4)
    assert cr.from_dlpack(base.T).tolist() == base.T.tolist()
    assert cr.from_dlpack(base[1:]).tolist() == base[1:].tolist()
    assert place(cr.from_dlpack(base[1:]).numpy()) == base[1:].data_ptr()
    half = base.to(torch.bfloat16)
    assert cr.from_dlpack(half.T).astype(cr.float32).tolist() == base.T.tolist()
    assert cr.from_dlpack(half, copy=True).astype(cr.float32).tolist() == base.tolist()
    exported = torch.from_dlpack(cr.flip(cr.arange(4)))  # PyTorch ends the process at a negative stride
    assert exported.tolist() == [3, 2, 1, 0]
    copied = torch.from_dlpack(cr.ones(3), copy=True)
    copied.add_(1)
    assert copied.tolist() == [2, 2, 2]
    with pytest.raises((RuntimeError, BufferError), match=r"requires? grad"):
        cr.from_dlpack(torch.ones(2, requires_grad=True))
    assert cr.asarray(torch.ones(2, requires_grad=True)).tolist() == [1, 1]


def test_jax_both_ways():
    jax = pytest.importorskip("jax")
    x = cr.asarray(np.arange(1000, dtype=np.float32)) * 2.0
    there = jax.dlpack.from_dlpack(x)
    assert np.array_equal(np.asarray(there), x.numpy())
    assert there.unsafe_buffer_pointer() == place(x.numpy())
    back = cr.from_dlpack(there)
    assert place(back.numpy()) == there.unsafe_buffer_pointer()
    half = jax.numpy.arange(8, dtype=jax.numpy.bfloat16)
    assert cr.from_dlpack(half).dtype is cr.bfloat16
    assert cr.from_dlpack(half).astype(cr.float32).tolist() == list(range(8))
    assert jax.dlpack.from_dlpack(cr.from_dlpack(half)).dtype == jax.numpy.bfloat16


# -- NumPy's own protocols ------------------------------------------------------------------------------------------


def test_array_protocol():
    x = cr.asarray(np.arange(6.0).reshape(2, 3))
    assert place(np.asarray(x)) == place(x.numpy()) and not np.asarray(x).flags.writeable
    assert np.asarray(x, dtype=np.float32).dtype == np.float32
    own = np.array(x)
    own[0, 0] = 5
    assert x[0, 0].item() == 0
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        assert place(np.asarray(x, copy=False)) == place(x.numpy())
        assert place(np.asarray(x, copy=True)) != place(x.numpy())
        with pytest.raises(ValueError, match="copy"):
            np.asarray(x, dtype=np.float32, copy=False)
        with pytest.raises(ValueError, match="copy"):
            np.asarray(cr.ones(2, dtype=cr.bfloat16), copy=False)


def test_buffer_protocol():
    x = cr.asarray(np.arange(6, dtype=np.int32).reshape(2, 3))
    view = x.__buffer__(0)
    assert view.readonly and view.shape == (2, 3) and view.format == "i" and view.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert ctypes.addressof(ctypes.c_char.from_buffer_copy(view)) and place(np.asarray(view)) == place(x.numpy())
    with pytest.raises(BufferError, match=r"^__buffer__: the memory of tensors is read-only"):
        x.__buffer__(1)
    with pytest.raises(BufferError, match=r"^__buffer__: the buffer protocol has no bfloat16"):
        cr.ones(2, dtype=cr.bfloat16).__buffer__(0)
    if sys.version_info >= (3, 12):
        assert memoryview(x).tolist() == [[0, 1, 2], [3, 4, 5]] and bytes(x) == x.numpy().tobytes()


def test_asarray_shares_only_when_asked():
    source = sample("float32")
    assert place(cr.asarray(source).numpy()) != place(source)
    assert place(cr.asarray(source, copy=True).numpy()) != place(source)
    assert place(cr.asarray(source, copy=False).numpy()) == place(source)
    x = cr.ones(3)
    assert cr.asarray(x) is x and cr.asarray(x, copy=False) is x and cr.asarray(x, copy=True) is not x
    for wrong in ([1, 2], 3.0):
        with pytest.raises(ValueError, match=r"^asarray: a \w+ has no memory to share, so a copy is needed"):
            cr.asarray(wrong, copy=False)
    with pytest.raises(ValueError, match=r"^asarray: float64 of float32 needs a copy"):
        cr.asarray(source, dtype=cr.float64, copy=False)
    with pytest.raises(ValueError, match=r"^asarray: float64 of float32 needs a copy"):
        cr.asarray(x, dtype=cr.float64, copy=False)
    with pytest.raises(ValueError, match="need a copy"):
        cr.asarray(source.T, copy=False)
    numbers = array.array("d", [1, 2, 3])
    shared = cr.asarray(numbers, copy=False)
    assert shared.dtype is cr.float64 and shared.tolist() == [1, 2, 3]
    assert place(shared.numpy()) == numbers.buffer_info()[0]
    assert cr.asarray(numbers).tolist() == cr.asarray(memoryview(numbers)).tolist() == [1, 2, 3]
