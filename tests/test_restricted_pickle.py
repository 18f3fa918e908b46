"""Pickles: arrays and plain containers come through, everything else is refused before it runs."""

import io
import os
import pickle
import struct
import tracemalloc
from datetime import date
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from vnl_mjx.clips.sources.restricted_pickle import read_plain_pickle
from vnl_mjx.errors import UserError

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=5)
)
ARRAYS = npst.arrays(
    st.sampled_from(["<f4", ">f8", "i2", "u1", "?", "U3", "S2"]),
    npst.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3),
)
VALUES = st.recursive(
    PLAIN | ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.fixture
def refusal(tmp_path):
    """Returns a function: the message with which a pickle is refused, one line with its name."""

    def refuse(content: bytes) -> str:
        path = tmp_path / "bad.p"
        path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            read_plain_pickle(path)
        message = str(caught.value)
        assert "\n" not in message and "bad.p" in message
        return message

    return refuse


def assert_same(found: object, expected: object) -> None:
    if isinstance(expected, np.ndarray | np.generic):
        expected = np.asarray(expected)
        assert np.asarray(found).dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert type(found) is type(expected) and len(found) == len(expected)
        for item, wanted in zip(found, expected, strict=True):
            assert_same(item, wanted)
    else:
        assert found == expected and type(found) is type(expected)


@settings(max_examples=60, deadline=None)
@given(
    value=st.dictionaries(st.text("abcdef", max_size=4), VALUES, max_size=4),
    protocol=st.integers(0, 5),
)
def test_what_is_plain_comes_through(tmp_path_factory, value, protocol):
    path = tmp_path_factory.mktemp("pickles") / "plain.p"
    path.write_bytes(pickle.dumps(value, protocol))
    assert_same(read_plain_pickle(path), value)


@pytest.mark.parametrize("protocol", range(6))
def test_jax_and_fortran_arrays(tmp_path, protocol):
    values = {
        "jax": jnp.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "scalar": np.float32(2.5),
        "empty": np.empty((0, 3)),
        "bytes": b"caf\xe9" if protocol > 2 else "text",
    }
    path = tmp_path / "arrays.p"
    path.write_bytes(pickle.dumps(values, protocol))
    found = read_plain_pickle(path)
    assert type(found["jax"]) is np.ndarray
    assert_same(found, {**values, "jax": np.asarray(values["jax"])})
    with pytest.raises(ValueError, match="read-only"):
        found["fortran"][0, 0] = 7


def test_shared_and_cyclic_containers(tmp_path):
    shared = [np.arange(3)]
    value: dict = {"a": shared, "b": (shared, shared)}
    value["self"] = value
    path = tmp_path / "cyclic.p"
    path.write_bytes(pickle.dumps(value))
    found = read_plain_pickle(path)
    assert found["self"] is found and found["b"][0] is found["a"]
    assert_same(found["a"], shared)


class Call:
    """Pickles to a call of anything."""

    def __init__(self, function, *arguments, state=None):
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.parts


class Point:
    """An ordinary object."""

    def __init__(self):
        self.x = 1


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("payload", "named"),
    [
        (Call(os.system, "touch {mark}"), "system"),
        (Call(eval, "open({mark!r}, 'w')"), "eval"),
        (Call(exec, "open({mark!r}, 'w')"), "exec"),
        (Call(getattr, "text", "upper"), "getattr"),
        (Call(open, "{mark}", "w"), "open"),
        (Call(np.save, "{mark}", np.zeros(3)), "save"),
        (Call(np.load, "{mark}", None, True), "load"),
        (Call(np.fromfile, "{mark}"), "fromfile"),
        (Call(pickle.loads, b"cos\nsystem\n(S'x'\ntR."), "loads"),
        (Point(), ""),
        (date(2026, 1, 1), "date"),
        ({1, 2}, ""),
        (np.dtype("f4"), "type"),
        (np.ndarray, "type"),
    ],
)
def test_calls_are_refused_and_do_not_run(tmp_path, refusal, payload, named, protocol):
    mark = tmp_path / "it_ran"
    if isinstance(payload, Call):
        function, arguments = payload.parts
        filled = (a.format(mark=mark) if isinstance(a, str) else a for a in arguments)
        payload = Call(function, *filled)
    for value in (payload, {"qpos": payload}, [np.arange(3), (payload,)]):
        assert named in refusal(pickle.dumps({"qpos": value}, protocol))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("array", "named"),
    [
        (np.array([{}, None], object), "Python objects"),
        (np.zeros(2, [("a", "f4"), ("b", "O")]), ""),
        (np.zeros(2, [("a", "f4")]), "type"),
        (np.zeros(2, "datetime64[s]"), "type"),
        (np.zeros(2, complex), "type"),
        (np.ma.masked_array([1.0]), "numpy.ma"),
        (np.zeros(1, "V3"), "type"),
    ],
)
def test_arrays_of_anything_but_numbers_and_text_are_refused(refusal, array, named):
    for protocol in range(6):
        assert named in refusal(pickle.dumps({"qpos": array}, protocol))


def binary(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


RECONSTRUCT = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
F8 = b"cnumpy\ndtype\n(" + binary("f8") + b"\x89\x88tR"


def array_state(shape: bytes, dtype: bytes, data: bytes) -> bytes:
    return RECONSTRUCT + b"(K\x01" + shape + dtype + b"\x89" + data + b"tb"


HUGE = b"\x8a\x08" + struct.pack("<q", 2**60)


@pytest.mark.parametrize(
    ("program", "named"),
    [
        # sizes that the file does not hold
        (array_state(HUGE + b"\x85", F8, b"C\x08" + bytes(8)), "declares an array of shape"),
        (array_state(b"K\x02\x85", F8, b"C\x08" + bytes(8)), "declares an array of shape (2,)"),
        (array_state(b"K\xff\x85", F8.replace(b"f8", b"U9"), b"C\x00"), "declares an array"),
        (array_state(b"J\xff\xff\xff\xff\x85", F8, b"C\x00"), "no tuple of sizes"),
        (array_state(HUGE + b"\x85", F8.replace(b"f8", b"S0"), b"C\x00"), "type 'S0'"),
        (b"\x8e" + struct.pack("<Q", 2**40) + b"abc", "truncated"),
        (b"\x8d" + struct.pack("<Q", 2**62) + b"abc", "truncated"),
        (b"\x96" + struct.pack("<Q", 2**62) + b"abc", "truncated"),
        # instructions that build other things
        (b"Vos.system\nQ", "BINPERSID"),
        (b"Pos.system\n", "PERSID"),
        (b"(Vtouch x\nios\nsystem\n", "INST"),
        (b"(" + F8 + b"Vx\no", "OBJ"),
        (b"cnumpy\nndarray\n)\x81", "NEWOBJ"),
        (b"cnumpy\nndarray\n)}\x92", "NEWOBJ_EX"),
        (b"\x82\x01", "EXT1"),
        (b"\x97", "NEXT_BUFFER"),
        # names in disguise
        (b"\x8c\x02os\x8c\x06system\x93", "os.system"),
        (b"\x8c\x05numpy\x8c\x0csave.__doc__\x93", "numpy.save.__doc__"),
        (b"\x8c\x05numpy\x8c\x10ndarray.__init__\x93", "ndarray.__init__"),
        (b"c__builtin__\neval\n", "__builtin__.eval"),
        (b"cbuiltins\ngetattr\n", "builtins.getattr"),
        # stand-ins are not toys
        (b"cnumpy\ndtype\n}" + binary("_function") + b"K\x01sb", "changes a function"),
        (b"cnumpy\ndtype\n(N}" + binary("_function") + b"K\x01stb", "changes a function"),
        (b"cnumpy\nndarray\n(K\x01tR", "from nothing"),
        (b"cjax._src.array\n_reconstruct_array\n(cnumpy\ndtype\n)NNtR", "JAX array"),
        (b"c_codecs\nencode\n(" + binary("x") + binary("rot13") + b"tR", "encoding 'rot13'"),
        (b"cnumpy\ndtype\n(" + binary("f4,(2,)O") + b"tR", "type 'f4,(2,)O'"),
        (b"cnumpy\ndtype\n(" + binary("O") + b"tR", "Python objects"),
        (RECONSTRUCT, "without numbers"),
        (b"]" * 200_000 + b"a" * 199_999, "damaged"),
        (b"(K\x01" + b"\x85" * 200_000 + b"K\x01d", "tuples"),
    ],
)
def test_programs_written_by_hand_are_refused(refusal, program, named):
    whole = b"\x80\x04}" + binary("qpos") + program + b"s."
    assert named in refusal(whole)


@pytest.mark.parametrize(
    "program", [b"K\x01r\xff\xff\xff\x7f", b"K\x01p99999999\n", b"K\x01r\xff\xff\xff\xff"]
)
def test_high_places_take_no_memory(tmp_path, program):
    path = tmp_path / "places.p"
    path.write_bytes(b"\x80\x04}" + binary("qpos") + program + b"s.")
    tracemalloc.start()
    assert read_plain_pickle(path) == {"qpos": 1}
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_a_tower_of_shared_tuples_as_a_key_is_refused_at_once(refusal):
    twice = b"2\x86"  # (x, x) of x: 2 to the power of 60 places to hash
    assert "tuples" in refusal(b"\x80\x04}K\x01" + twice * 60 + b"K\x01s.")


def test_repeating_one_text_takes_no_memory(tmp_path):
    megabyte = binary("a" * 2**20) + b"q\x00"
    repeat = b"c_codecs\nencode\n(h\x00" + binary("latin1") + b"tR"
    repeats = b"".join(binary(f"copy_{n}") + repeat for n in range(1000))
    shape = b"J" + struct.pack("<i", 2**20) + b"\x85"
    dtype = F8.replace(b"f8", b"S1")
    arrays = b"".join(
        binary(f"array_{n}") + array_state(shape, dtype, b"h\x00") for n in range(1500)
    )
    path = tmp_path / "amplified.p"
    path.write_bytes(b"\x80\x02}(" + binary("text") + megabyte + repeats + arrays + b"u.")
    found = read_plain_pickle(path)
    assert found["copy_0"] is found["copy_999"]
    assert found["array_0"].nbytes == 2**20
    bases = {array.__array_interface__["data"][0] for n, array in found.items() if "array" in n}
    assert len(bases) == 1


def test_what_is_not_one_dictionary_is_refused(refusal):
    assert "holds a list" in refusal(pickle.dumps([1, 2]))
    assert "holds a ndarray" in refusal(pickle.dumps(np.arange(3)))
    assert "holds a dict, expected a dictionary of arrays by name" in refusal(pickle.dumps({1: 2}))
    assert "joblib" in refusal(b"\x80\x04cjoblib.numpy_pickle\nNumpyArrayWrapper\n.")


def test_damage_gives_one_line(tmp_path, refusal):
    value = {"qpos": np.arange(40.0).reshape(4, 10), "names": ["a", "b"], "jax": jnp.ones(3)}
    rng = np.random.default_rng(0)
    for protocol in (2, 4, 5):
        whole = pickle.dumps(value, protocol)
        for size in np.linspace(1, len(whole) - 1, 20).astype(int):
            refusal(whole[:size])
        for place in rng.integers(0, len(whole), 200):
            changed = bytearray(whole)
            changed[place] = rng.integers(256)
            path: Path = tmp_path / "flipped.p"
            path.write_bytes(changed)
            try:
                read_plain_pickle(path)
            except UserError as error:
                assert "\n" not in str(error)


def test_the_real_pickle(shared_data):
    path = shared_data / "reference" / "stac_rodent_50f.p"
    found = read_plain_pickle(path)
    expected = pickle.load(io.BytesIO(path.read_bytes()))  # ours: JAX is trusted to read its own
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if hasattr(value, "shape"):
            assert type(found[name]) is np.ndarray
            assert_same(found[name], np.asarray(value))
        else:
            assert found[name] == value
