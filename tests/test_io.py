"""functrans.io: what is loaded is what was saved; damaged, foreign and hostile files are rejected; kills do no harm."""

import hashlib
import io as bytes_io
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections import OrderedDict, deque, namedtuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, complex_number_dtypes, floating_dtypes, integer_dtypes

import functrans as ft
from functrans import io, optim

Pair = namedtuple("Pair", "left right")

DTYPES = (
    floating_dtypes() | integer_dtypes(endianness="?") | complex_number_dtypes() | st.sampled_from(["?", "<U3", "S2"])
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.text() | st.binary()
ARRAYS = arrays(DTYPES, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
KEYS = st.text() | st.integers() | st.booleans() | st.none() | st.tuples(st.text(max_size=2), st.integers())
TREES = st.recursive(
    SCALARS | ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.lists(inner, max_size=3).map(deque)
        | st.lists(st.tuples(st.text(), inner), max_size=3).map(OrderedDict)
    ),
    max_leaves=8,
)


def assert_identical(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert [(type(k), k) for k in a] == [(type(k), k) for k in b]
        a, b = list(a.values()), list(b.values())
    if isinstance(a, (list, tuple, deque)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_identical(x, y)
    elif isinstance(a, (np.ndarray, np.generic)):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        assert a.dtype.byteorder == b.dtype.byteorder
    elif isinstance(a, (float, complex)):
        assert repr(a) == repr(b)
    else:
        assert a == b


@given(tree=TREES)
def test_what_is_loaded_is_what_was_saved(tmp_path_factory, tree):
    path = tmp_path_factory.getbasetemp() / "tree.npz"
    io.save(path, tree)
    assert_identical(io.load(path), tree)


@pytest.mark.parametrize(
    "leaf",
    [
        np.float32(2.5),
        np.bool_(True),
        np.complex64(1 + 2j),
        np.arange(6.0).reshape(2, 3).T,
        np.arange(10)[::-2],
        np.array(3, ">f8"),
        np.zeros((0, 3), ">i2"),
        np.array(["2020-01-01", "NaT"], "M8[D]"),
        np.array([1], "m8[ns]"),
        np.float64("nan"),
        np.uint64(2**64 - 1),
        10**5000,
        -0.0,
        "\ud800",
    ],
    ids=lambda leaf: type(leaf).__name__,
)
def test_leaves(tmp_path, leaf):
    io.save(tmp_path / "leaf", [leaf])
    assert_identical(io.load(tmp_path / "leaf"), [leaf])


def test_loaded_arrays_are_ones_own(tmp_path):
    x = np.ones(3)
    io.save(tmp_path / "f", (x, x))
    a, b = io.load(tmp_path / "f")
    a[0] = 7
    assert b[0] == x[0] == 1


def test_numpy_reads_the_arrays(tmp_path):
    io.save(tmp_path / "f.npz", {"a": np.arange(3)})
    with np.load(tmp_path / "f.npz", allow_pickle=False) as found:
        np.testing.assert_array_equal(found["leaf0"], np.arange(3))


def test_equal_trees_give_equal_files(tmp_path):
    for name in "ab":
        io.save(tmp_path / name, {"x": np.arange(3.0), "y": "z"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_state_of_a_training_with_like(tmp_path):
    params = {"w": np.ones((2, 3), np.float32), "b": [np.zeros(3), None]}
    optimizer = optim.chain(optim.clip(1.0), optim.lbfgs(memory_size=2), optim.params_ema(0.9))
    tree = {"params": params, "state": optimizer.init(params), "key": ft.random.key(3), "pair": Pair(1, [2.0])}
    io.save(tmp_path / "f", tree)
    found = io.load(tmp_path / "f", like=tree)
    assert ft.tree.structure(found) == ft.tree.structure(tree)
    for x, y in zip(ft.tree.leaves(found), ft.tree.leaves(tree), strict=True):
        assert_identical(x, y)
    shapes = ft.eval_shape(lambda: {**tree, "pair": Pair(1, [2.0])})
    assert ft.tree.structure(io.load(tmp_path / "f", like=shapes)) == ft.tree.structure(tree)
    with pytest.raises(
        ValueError, match=r"f: tree\['state'\]\[0\] is a EmptyState, and a file cannot bring its class along.*like="
    ):
        io.load(tmp_path / "f")


@pytest.mark.parametrize(
    ("saved", "like", "message"),
    [
        (
            {"a": 1.0},
            {"b": 1.0},
            r"tree is a dict with 1 children: \['a'\] in the file, and one with 1 children: \['b'\]",
        ),
        ({"a": [1.0]}, {"a": (1.0,)}, r"tree\['a'\] is a list in the file, and a tuple in `like`"),
        ([np.ones(2)], [np.ones(3)], r"tree\[0\] is float64\[2\] in the file, and float64\[3\] in `like`"),
        ([np.ones(2)], [np.ones(2, "f")], r"float64\[2\] in the file, and float32\[2\]"),
        ([1.0], [[1.0]], r"tree\[0\] is 1.0 in the file, and list in `like`"),
        ([None], [1.0], r"tree\[0\] is a None in the file, and 1.0 in `like`"),
        (Pair(1, 2), (1, 2), "tree is a Pair in the file, and a tuple in `like`"),
        ([1], [1, 2], r"a list with 1 children: \[0\] in the file, and one with 2 children"),
    ],
)
def test_files_that_do_not_agree_with_like(tmp_path, saved, like, message):
    io.save(tmp_path / "f", saved)
    with pytest.raises(ValueError, match=message):
        io.load(tmp_path / "f", like=like)


def looped():
    tree = []
    tree.append(tree)
    return tree


@pytest.mark.parametrize(
    ("tree", "kind", "message"),
    [
        ({"a": [object()]}, TypeError, r"save: tree\['a'\]\[0\] is <object.* of type object, which is no array"),
        ([np.array([None])], TypeError, r"tree\[0\] is an array of dtype object"),
        ([np.zeros(1, [("a", int)])], TypeError, "only numbers, strings and dates"),
        ([np.ma.array([1], mask=[True])], TypeError, "save its data and its mask"),
        ({frozenset(): 1}, TypeError, "has the key frozenset"),
        ([lambda: 0], TypeError, "of type function"),
        (looped(), ValueError, "contains itself"),
    ],
)
def test_trees_that_cannot_be_saved(tmp_path, tree, kind, message):
    (tmp_path / "f").write_text("old")
    with pytest.raises(kind, match=message):
        io.save(tmp_path / "f", tree)
    assert (tmp_path / "f").read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


def test_tracers_are_not_saved(tmp_path):
    with pytest.raises(TypeError, match=r"save: tree\['x'\] is a tracer, float64\[\]"):
        ft.grad(lambda x: io.save(tmp_path / "f", {"x": x}) or x)(1.0)


# Damage


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "f"
    tree = {"a": np.arange(5.0), "b": [np.float32(1), "text"], "c": np.zeros((0, 2))}
    io.save(path, tree)
    return tree, path.read_bytes()


def load_bytes(tmp_path, data):
    path = tmp_path / "damaged.npz"
    path.write_bytes(data)
    return io.load(path)


def test_every_damaged_byte_is_found_or_harmless(tmp_path, good):
    tree, data = good
    rng = random.Random(0)
    harmless = 0
    places = range(0, len(data), 4)
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1 << rng.randrange(8)
        try:
            assert_identical(load_bytes(tmp_path, bytes(damaged)), tree)
            harmless += 1  # dates and attributes, which nobody reads
        except io.FileFormatError as error:
            assert str(tmp_path / "damaged.npz") in str(error)  # noqa: PT017
    assert harmless < len(places) / 4


def test_every_truncation_is_found(tmp_path, good):
    for size in range(0, len(good[1]), 5):
        with pytest.raises(io.FileFormatError, match=r"damaged.npz: damaged, truncated, or no file of "):
            load_bytes(tmp_path, good[1][:size])


def rezipped(data, change, **options):
    """The file with other entries: `change` takes a dict from names to bytes."""
    with zipfile.ZipFile(bytes_io.BytesIO(data)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    out = bytes_io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


def recorded(data, change):
    """The file with another record, its checksum being right."""

    def rewrite(entries):
        record = json.loads(entries["structure.npy"][128 + 32 :])
        change(record)
        content = json.dumps(record).encode()
        header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(content) + 32},)}}".ljust(117) + "\n"
        start = b"\x93NUMPY\x01\x00\x76\x00" + header.encode()
        entries["structure.npy"] = start + hashlib.sha256(content).digest() + content

    return rezipped(data, rewrite)


HUGE = 2**40


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(version=2), "its format has version 2, and this functrans reads version 1"),
        (lambda r: r.update(format="other"), "no such format"),
        (lambda r: r.pop("arrays"), "incomplete"),
        (lambda r: r["arrays"].pop(), "'leaf2.npy' is not of functrans"),
        (lambda r: r["arrays"].append(r["arrays"][0]), "the array 'leaf3.npy' is missing"),
        (lambda r: r["arrays"][0].update(shape=[HUGE]), rf"has 168 bytes, but is recorded as float64\[{HUGE}\]"),
        (lambda r: r["arrays"][2].update(shape=[0, 10**30]), "the header of 'leaf2.npy'"),
        (lambda r: r["arrays"][0].update(shape=[-5]), "leaf0 is recorded as"),
        (lambda r: r["arrays"][0].update(shape=[5.0]), "leaf0 is recorded as"),
        (lambda r: r["arrays"][0].update(dtype="O"), "leaf0 is recorded as"),
        (lambda r: r["arrays"][0].update(dtype="i4,i4"), "leaf0 is recorded as"),
        (lambda r: r["arrays"][0].update(dtype="<i8"), "the header of 'leaf0.npy' is not what is recorded"),
        (lambda r: r["arrays"][0].update(dtype="__import__('os')"), "leaf0 is recorded as"),
        (lambda r: r["arrays"][0].update(sha256="0" * 64), "the checksum of 'leaf0.npy' is wrong"),
        (lambda r: r["tree"].update(t="exec"), "tree is recorded as"),
        (lambda r: r["tree"]["c"].pop(), "tree is recorded as"),
        (lambda r: r["tree"]["c"][0].update(i=1), r"tree\['b'\]\[0\] is recorded as|are not part of the tree"),
        (
            lambda r: r["tree"].update(c=[r["tree"]["c"][1]], k=[["str", "b"]]),
            "2 of its arrays are not part of the tree",
        ),
        (lambda r: r["tree"]["k"].__setitem__(0, ["eval", "1"]), "no scalar"),
        (lambda r: r["tree"]["k"].__setitem__(0, ["int", "x"]), "damaged"),
        (lambda r: r.update(tree=nested_record(300)), "nested too deeply"),
        (lambda r: r.update(tree={"t": "node", "n": "os.system", "k": [], "c": []}), "cannot bring its class along"),
    ],
)
def test_records_that_lie(tmp_path, good, change, message):
    with pytest.raises(ValueError, match=f"damaged.npz: .*({message})"):
        load_bytes(tmp_path, recorded(good[1], change))


def test_shapes_that_no_array_can_have(tmp_path):
    io.save(tmp_path / "f", [np.zeros((0, 10**9))])
    lies = (tmp_path / "f").read_bytes()
    shape = f"(0, {10**29})"

    def lengthen(entries):
        head = entries["leaf0.npy"][:10]
        text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}"
        entries["leaf0.npy"] = head + (text.ljust(117) + "\n").encode()

    lies = recorded(rezipped(lies, lengthen), lambda r: r["arrays"][0].update(shape=[0, 10**29]))
    with pytest.raises(io.FileFormatError, match="an array is recorded with shape"):
        load_bytes(tmp_path, lies)


def nested_record(depth):
    node = {"t": "None"}
    for _ in range(depth):
        node = {"t": "list", "c": [node]}
    return node


def savez(tmp_path, compressed):
    (np.savez_compressed if compressed else np.savez)(tmp_path / "foreign.npz", a=np.zeros(1000))
    return (tmp_path / "foreign.npz").read_bytes()


def test_foreign_and_hostile_archives(tmp_path, good):
    data = good[1]

    def bomb(entries):
        entries["leaf0.npy"] = bytes(10_000_000)

    cases = [
        (b"not an archive at all", "File is not a zip file"),
        (b"", "File is not a zip file"),
        (savez(tmp_path, False), "no entry 'structure.npy'"),
        (savez(tmp_path, True), "'a.npy' is compressed"),
        (rezipped(data, bomb, compression=zipfile.ZIP_DEFLATED), "is compressed"),
        (rezipped(data, lambda e: e.update({"../../etc/passwd": b"x"})), r"'../../etc/passwd' is not of functrans"),
        (rezipped(data, lambda e: e.pop("leaf1.npy")), "'leaf1.npy' is missing"),
        (rezipped(data, lambda e: e.update({"leaf0.npy": e["leaf0.npy"][:-1]})), "has 167 bytes"),
        (rezipped(data, lambda e: e.update({"structure.npy": b""})), "no array of bytes"),
        (rezipped(data, lambda e: e.update({"structure.npy": e["structure.npy"][:-1]})), "no array of bytes"),
    ]
    for content, message in cases:
        with pytest.raises(io.FileFormatError, match=message):
            load_bytes(tmp_path, content)
    out = bytes_io.BytesIO(data)
    with zipfile.ZipFile(out, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("leaf0.npy", b"x")
    with pytest.raises(io.FileFormatError, match="is there twice"):
        load_bytes(tmp_path, out.getvalue())


def test_entries_that_share_their_bytes(tmp_path):
    """Central directories may name one place of the file many times over: the sum of sizes is held against the file."""
    io.save(tmp_path / "f", [np.zeros(10_000)] * 2)
    data = (tmp_path / "f").read_bytes()
    with zipfile.ZipFile(bytes_io.BytesIO(data)) as archive:
        infos = archive.infolist()
        directory = archive.start_dir
    out = bytes_io.BytesIO(data[:directory])
    first = infos[1]
    with zipfile.ZipFile(out, "a") as archive:
        archive.start_dir = directory
        for number in range(50):
            info = zipfile.ZipInfo(f"leaf{number}.npy")
            info.file_size, info.compress_size = first.file_size, first.compress_size
            info.CRC, info.header_offset, info.external_attr = first.CRC, first.header_offset, 0
            archive.filelist.append(info)
        archive._didModify = True
    with pytest.raises(io.FileFormatError, match="claim to be larger than the file"):
        load_bytes(tmp_path, out.getvalue())


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError):
        io.load(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        io.save(tmp_path / "none" / "f", 1)
    with pytest.raises(OSError, match="directory"):
        io.load(tmp_path)


# Writers that fail or are killed


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    io.save(tmp_path / "f", 1)

    def no_space(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        io.save(tmp_path / "f", 2)
    assert io.load(tmp_path / "f") == 1
    assert os.listdir(tmp_path) == ["f"]


def test_links_are_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    io.save(tmp_path / "folder" / "f", 1)
    os.symlink(tmp_path / "folder" / "f", tmp_path / "link")
    io.save(tmp_path / "link", 2)
    assert (tmp_path / "link").is_symlink()
    assert io.load(tmp_path / "folder" / "f") == 2


TRAINING = """
import sys
import numpy as np
import functrans as ft
from functrans import io, optim

path, last = sys.argv[1], int(sys.argv[2])
optimizer = optim.adam(optim.cosine_decay_schedule(0.1, 1000))
rng_key = ft.random.key(0)
params = {"w": np.ones((200, 50)), "b": np.zeros(50, np.float32)}
carry = {"step": 0, "params": params, "state": optimizer.init(params), "key": rng_key}
try:
    carry = io.load(path, like=carry)
except FileNotFoundError:
    pass

def loss(params, x):
    return np.sum(np.tanh(x @ params["w"] + params["b"]) ** 2)

print("ready", flush=True)
while carry["step"] < last:
    key, batch_key = ft.random.split(carry["key"])
    x = ft.random.normal(batch_key, (4, 200))
    updates, state = optimizer.update(ft.grad(loss)(carry["params"], x), carry["state"])
    params = optim.apply_updates(carry["params"], updates)
    carry = {"step": carry["step"] + 1, "params": params, "state": state, "key": key}
    io.save(path, carry)
print("done", flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
def test_training_that_is_killed_at_random_moments_goes_on(tmp_path):
    root = Path(__file__).parent.parent

    def start(path, last):
        command = [sys.executable, "-c", TRAINING, str(path), str(last)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, text=True)

    rng = random.Random(1)
    path, last, kills = tmp_path / "killed.npz", 150, 0
    whole = start(tmp_path / "whole.npz", last)
    while True:
        process = start(path, last)
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.02, 0.2))
        if process.poll() is None and kills < 3:
            process.kill()
            kills += 1
            process.communicate()
            if path.exists():
                io.load(path, like=example())
            continue
        assert process.communicate()[0] == "done\n"
        break
    assert whole.communicate()[0] == "ready\ndone\n"
    assert kills
    assert path.read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["killed.npz", "whole.npz"]  # leftovers have been removed


def example():
    params = {"w": np.ones((200, 50)), "b": np.zeros(50, np.float32)}
    return {
        "step": 0,
        "params": params,
        "state": optim.adam(optim.constant_schedule(1.0)).init(params),
        "key": ft.random.key(0),
    }


WRITING = """
import sys
import numpy as np
from functrans import io

for _ in range(60):
    io.save(sys.argv[1], np.full(5000, int(sys.argv[2])))
"""


def test_concurrent_writers(tmp_path):
    path = tmp_path / "f"
    io.save(path, np.full(5000, 0))
    root = Path(__file__).parent.parent
    writers = [subprocess.Popen([sys.executable, "-c", WRITING, str(path), str(i)], cwd=root) for i in (1, 2)]
    while any([w.poll() is None for w in writers]):
        found = io.load(path)
        assert np.all(found == found[0])
    assert [w.returncode for w in writers] == [0, 0]
    assert os.listdir(tmp_path) == ["f"]
