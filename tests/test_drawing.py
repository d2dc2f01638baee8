"""functrans.draw: what a drawing shows, of every kind of program; and where it puts it."""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.drawing.graph import Box, Node
from functrans.drawing.layout import Layout, lay_out
from functrans.drawing.ordering import layered, places

V = np.array([0.5, 1.0, 2.0])


def predict(params, x):
    h = np.tanh(x @ params["W"][0] + params["b"])
    return h @ params["W"][1]


def loss(params, x, y):
    error = predict(params, x) - y
    return np.mean(error**2)


PARAMS = {"W": [np.ones((4, 5)), np.ones((5, 2))], "b": np.zeros(5)}
DATA = np.ones((3, 4)), np.zeros((3, 2))


def scanned(x):
    def body(c, row):
        return np.sin(c) * row, c

    last, rows = lax.scan(body, 1.0, x)
    return last + np.sum(rows)


def branched(x):
    return lax.cond(np.sum(x) > 0, lambda x: np.sin(x) + 1, lambda x: x * 2, x)


def switched(i, x):
    return lax.switch(i, [lambda x: x, lambda x: np.sin(x), lambda x: 0.0 * x], x)


def looped(x):
    return lax.while_loop(lambda c: np.sum(c[0]) < 9, lambda c: (np.exp(c[0]), c[1] + 1), (x, 0))


@ft.custom_vjp
def clipped(x):
    return x * 3


clipped.defvjp(lambda x: (clipped(x), None), lambda _, ct: (np.minimum(ct, 1.0),))


def long_program(x):
    for i in range(250):
        x = np.sin(x) * i
    return x


PROGRAMS = {
    "mlp": (loss, (PARAMS, *DATA)),
    "gradient": (ft.value_and_grad(loss), (PARAMS, *DATA)),
    "jit": (ft.jit(loss), (PARAMS, *DATA)),
    "jit of gradient": (ft.jit(ft.grad(loss)), (PARAMS, *DATA)),
    "hessian": (ft.hessian(lambda x: np.sum(np.sin(x) ** 3)), (V,)),
    "vmap": (ft.vmap(np.dot), (np.ones((2, 3)), np.ones((2, 3)))),
    "scan": (scanned, (V,)),
    "gradient of scan": (ft.grad(scanned), (V,)),
    "cond": (branched, (V,)),
    "gradient of cond": (ft.grad(lambda x: np.sum(branched(x))), (V,)),
    "switch": (switched, (1, V)),
    "while": (looped, (V,)),
    "forward derivative of while": (lambda x: ft.jvp(lambda x: looped(x)[0], (x,), (x,)), (V,)),
    "gradient of while": (ft.grad(lambda x: np.sum(looped(x)[0])), (V,)),
    "checkpoint": (ft.checkpoint(lambda x: np.sum(np.sin(np.sin(x)))), (V,)),
    "gradient of checkpoint": (ft.grad(ft.checkpoint(lambda x: np.sum(np.sin(np.sin(x))))), (V,)),
    "custom rule": (clipped, (V,)),
    "gradient of custom rule": (ft.grad(lambda x: np.sum(clipped(x))), (V,)),
    "named call": (lambda x: ft.named_call(lambda x: x + 1, name="layer")(x) * 2, (V,)),
    "solve": (lambda b: lax.custom_linear_solve(lambda x: 2 * x, b, lambda _, b: b / 2, symmetric=True), (V,)),
    "several results": (lambda x: lax.sort((x, -x), num_keys=1), (V,)),
    "effects": (lambda x: ft.debug.print("{}", x), (V,)),
    "nothing": (lambda: (), ()),
    "no result": (lambda x: None, (V,)),
    "a literal": (lambda: 3.0, ()),
    "an input": (lambda x: (x, x), (V,)),
    "unused": (lambda x, y: y, (V, V)),
    "captured": (lambda x: x + V, (V,)),
    "no array": (lambda x, how: x + len(how), (V, "fast")),
    "empty array": (lambda x: x + 1, (np.zeros((0, 3)),)),
    "long": (long_program, (1.0,)),
    "wide": (lambda *xs: sum(xs), tuple([V] * 40)),
    "deep": (ft.jit(ft.jit(ft.jit(ft.jit(np.sin)))), (V,)),
}


def nodes_of(drawing):
    return [node for node in drawing._graph.walk() if isinstance(node, Node)]


def titles(drawing):
    return [node.title for node in drawing._graph.walk() if isinstance(node, Box)][1:]


def labels(drawing, *kinds):
    return [node.lines[0] for node in nodes_of(drawing) if node.kind in kinds]


OPERATIONS = ("operation", "derivative")


@pytest.fixture(params=PROGRAMS, scope="module")
def drawing(request):
    fun, args = PROGRAMS[request.param]
    return ft.draw(fun, *args, depth=3)


# What every drawing has to be


def levels(box):
    yield box
    for node in box.nodes:
        if isinstance(node, Box):
            yield from levels(node)


def ends_of(box):
    """The nodes that edges of a box may name."""
    own = {node.key for node in (*box.inputs, *box.nodes, *box.outputs) if isinstance(node, Node)}
    return own | {port.key for b in box.nodes if isinstance(b, Box) for port in (*b.inputs, *b.outputs)}


def test_edges_join_nodes(drawing):
    keys = Counter(node.key for node in drawing._graph.walk())
    assert max(keys.values()) == 1
    for box in levels(drawing._graph):
        ends = ends_of(box)
        assert all(edge.source in ends and edge.target in ends for edge in (*box.edges, *box.loops))


def test_places(drawing):
    layout: Layout = lay_out(drawing._graph)
    place = {node.key: where for node, where in (*layout.nodes, *layout.boxes)}
    assert len(place) == len(list(drawing._graph.walk())) - 1
    for where in place.values():
        assert -1e-6 <= where.x <= where.x + where.width <= layout.width + 1e-6
        assert -1e-6 <= where.y <= where.y + where.height <= layout.height + 1e-6
    for box in levels(drawing._graph):
        members = [place[node.key] for node in (*box.inputs, *box.nodes, *box.outputs)]
        assert not any(overlap(a, b) for a, b in combinations(members, 2))
        if box is not drawing._graph:
            assert all(within(member, place[box.key]) for member in members)
    for curve in layout.curves:
        assert touches(curve.points[0], place[curve.edge.source])
        assert touches(curve.points[-1], place[curve.edge.target])
        if not curve.dashed:
            heights = [y for _, y in curve.points]
            assert heights == sorted(heights)


def overlap(a, b):
    return (
        min(a.x + a.width, b.x + b.width) - max(a.x, b.x) > 1e-6
        and min(a.y + a.height, b.y + b.height) - max(a.y, b.y) > 1e-6
    )


def within(a, b):
    return b.x < a.x and b.y < a.y and a.x + a.width < b.x + b.width and a.y + a.height < b.y + b.height


def touches(point, place):
    x, y = point
    return place.x <= x <= place.x + place.width and place.y - 1e-6 <= y <= place.y + place.height + 1e-6


def test_svg_shows_everything(drawing):
    root = ET.fromstring(drawing.svg("functrans"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    written = Counter(element.text for element in root.iter("{http://www.w3.org/2000/svg}text"))
    for node in nodes_of(drawing):
        assert all(written[line] for line in node.lines)
    assert not [text for text, number in root.attrib.items() if number == "nan"]


def test_dot_declares_what_it_joins(drawing):
    lines = drawing.dot.splitlines()
    declared = {found[1] for line in lines if (found := re.match(r" *(n\d+) \[", line))}
    joined = [found.groups() for line in lines if (found := re.match(r" *(n\d+) -> (n\d+)", line))]
    assert {name for pair in joined for name in pair} <= declared
    opened = sum(line.endswith("{") for line in lines)
    assert opened == sum(line.strip() == "}" for line in lines)
    assert len(joined) == sum(len(box.edges) + len(box.loops) for box in levels(drawing._graph))


# What is drawn


def test_names_and_shapes():
    drawing = ft.draw(loss, PARAMS, *DATA)
    assert labels(drawing, "argument") == ["params['W'][0]", "params['W'][1]", "params['b']", "x", "y"]
    assert [node.lines[-1] for node in nodes_of(drawing)][:3] == ["f64[4,5]", "f64[5,2]", "f64[5]"]
    assert labels(drawing, "output") == ["output"]
    assert labels(ft.draw(lambda x: {"z": x, "a": [x, x]}, 1.0), "output") == [
        "output['a'][0]",
        "output['a'][1]",
        "output['z']",
    ]
    assert labels(ft.draw(lambda x, *, scale: x * scale, 1.0, scale=V), "argument") == ["x", "scale"]


def test_results_have_the_names_of_variables():
    assert "h = tanh" in labels(ft.draw(predict, PARAMS, DATA[0]), "operation")
    assert "error = sub" in labels(ft.draw(ft.grad(loss), PARAMS, *DATA), "operation")

    def accumulate(x):
        total = x + V
        total *= 2
        if (big := np.sin(total)) is not None:
            pair = a, b = big, np.cos(big)
        return pair, a, b, [total - 1 for total in (x,)]

    assert labels(ft.draw(accumulate, V), *OPERATIONS) == [
        "total = add",
        "total = mul(·, 2)",
        "big = sin",
        "cos",
        "sub(·, 1)",
    ]


def test_operations_of_derivatives_have_their_own_look():
    drawing = ft.draw(ft.value_and_grad(lambda x: np.sum(np.sinh(x))), np.ones(17))
    assert labels(drawing, "operation") == ["sinh", "reduce_sum"]
    assert labels(drawing, "derivative") == ["cosh"]


def test_tooltip_has_the_line():
    drawing = ft.draw(loss, PARAMS, *DATA)
    tooltip = next(node.tooltip for node in nodes_of(drawing) if node.lines[0] == "error = sub")
    first, where, line = tooltip.split("\n")
    assert first == "sub: (f64[3,2], f64[3,2]) -> (f64[3,2])"
    assert where.startswith(__file__)
    assert where.endswith(" (in loss)")
    assert line == "error = predict(params, x) - y"


def test_inputs_of_all_kinds():
    scale = 4.0 * V
    drawing = ft.draw(lambda x, y, z: (x + scale, y, 2.5, x * np.ones(3)), V, 1, 2.0)
    assert labels(drawing, "argument") == ["x", "y"]
    assert labels(drawing, "unused") == ["z"]
    assert labels(drawing, "constant") == ["scale", "captured"]
    outputs = [node.lines for node in nodes_of(drawing) if node.kind == "output"]
    assert outputs[1:3] == [("output[1]", "i64[]"), ("output[2]", "= 2.5", "f64[]")]
    assert ft.draw(lambda x: x + V, ft.ShapeDtypeStruct((3,), "float32")).dot.count("f32[3]")


def test_an_operand_used_twice_has_one_edge():
    drawing = ft.draw(lambda x: np.add(x, x), V)
    assert [edge.label for edge in drawing._graph.edges] == ["\N{MULTIPLICATION SIGN}2", ""]


def test_results_are_numbered_where_there_are_several():
    drawing = ft.draw(lambda x: lax.sort((x, -x), num_keys=1), V)
    assert sorted(edge.label for edge in drawing._graph.edges if edge.label) == ["0", "1"]


def test_arguments_have_values():
    def f(x):
        return np.sin(x) if x > 0 else np.cos(x)

    assert labels(ft.draw(f, -1.0), *OPERATIONS)[-1:] == ["cos"]
    assert "sin" in labels(ft.draw(ft.grad(f), -1.0), *OPERATIONS)
    with pytest.raises(ft.errors.TracerBoolConversionError, match="argument x of f"):
        ft.draw(f, ft.ShapeDtypeStruct((), float))


def test_a_program():
    closed = ft.make_jaxpr(lambda x: np.sin(x) + V)(V)
    drawing = ft.draw(closed)
    assert labels(drawing, "argument", "constant", "output") == ["input 0", "captured", "output 0"]
    assert labels(ft.draw(closed.jaxpr), "argument") == ["input 0", "input 1"]
    with pytest.raises(TypeError, match="without arguments"):
        ft.draw(closed, V)


# Boxes


def test_boxes_are_opened():
    times = "\N{MULTIPLICATION SIGN}"
    assert titles(ft.draw(scanned, V)) == [f"scan {times}3"]
    assert titles(ft.draw(ft.grad(scanned), V)) == [f"scan {times}3", f"scan {times}3 reversed"]
    assert titles(ft.draw(branched, V)) == ["cond", "if False", "if True"]
    assert titles(ft.draw(switched, 1, V)) == ["cond", "branch 0", "branch 1", "branch 2"]
    assert titles(ft.draw(looped, V)) == ["while", "condition", "body"]
    assert titles(ft.draw(clipped, V)) == ["custom rule clipped"]
    assert titles(ft.draw(ft.jit(loss), PARAMS, *DATA)) == ["jit loss"]
    assert titles(ft.draw(ft.checkpoint(np.sin), V)) == ["checkpoint"]


@pytest.mark.parametrize(("depth", "boxes"), [(0, 0), (1, 1), (2, 2), (9, 4)])
def test_depth(depth, boxes):
    drawing = ft.draw(ft.jit(ft.jit(ft.jit(ft.jit(np.sin)))), V, depth=depth)
    assert len(titles(drawing)) == boxes
    closed = [node.lines[1] for node in nodes_of(drawing) if node.kind == "operation"]
    assert closed == (["f64[3]"] if depth == 9 else ["1 operation inside"])


def test_loops_go_back():
    (box,) = [b for b in ft.draw(scanned, V)._graph.nodes if isinstance(b, Box)]
    assert [port.lines for port in box.inputs] == [("carry 1",), ("row of",)]
    assert [port.lines for port in box.outputs] == [("carry",), ("stack",)]
    assert [(loop.source, loop.target) for loop in box.loops] == [(box.outputs[0].key, box.inputs[0].key)]


def test_long_programs_are_grouped():
    drawing = ft.draw(long_program, 1.0)
    groups = [node for node in nodes_of(drawing) if node.kind == "group"]
    assert 2 <= len(groups) <= 120
    assert sum(int(node.lines[0].split()[0]) for node in groups) == 500
    assert groups[0].lines[-1] == f"test_drawing.py:{long_program.__code__.co_firstlineno + 2}"
    assert len(labels(ft.draw(long_program, 1.0, max_nodes=None), "operation")) == 500
    assert len(labels(ft.draw(long_program, 1.0, max_nodes=1), "group")) <= 4

    def lines(x):
        for _ in range(30):
            x = np.sin(x)
            x = np.cos(x)
            x = np.exp(x) + x
        return x

    assert len(labels(ft.draw(lines, 1.0, max_nodes=40), "group", "operation")) <= 60
    closed = ft.draw(lambda x: ft.jit(long_program)(np.sin(x)), 1.0)
    assert labels(closed, "operation") == ["sin", "jit long_program"]


# Formats


HOSTILE = "<b>&amp;\"'\\N{x}|\n\x00\ud800 é 中 $x_1$"


@pytest.fixture
def hostile():
    return ft.draw(lambda params: params[HOSTILE] + 1, {HOSTILE: 1.0})


def test_labels_are_escaped(hostile):
    written = {element.text for element in ET.fromstring(hostile.svg("functrans")).iter()}
    assert any(text and "<b>&amp;" in text and "中" in text for text in written)
    assert "\x00" not in hostile.dot
    assert hostile.dot.encode()
    (line,) = [line for line in hostile.dot.splitlines() if "&amp;amp;" in line]
    assert 'label="params[' in line


def test_a_title_is_escaped():
    def f(x):
        return x

    f.__name__ = 'f"<&>'
    drawing = ft.draw(f, 1.0)
    assert drawing.dot.startswith('digraph "f\\"<&amp;>" {')
    assert ET.fromstring(drawing.svg("functrans"))[0].text == 'f"<&>'


@pytest.mark.parametrize("name", ["gradient of scan", "nothing", "long"])
def test_png(name):
    pytest.importorskip("matplotlib")
    fun, args = PROGRAMS[name]
    png = ft.draw(fun, *args).png("functrans", dpi=50)
    assert png.startswith(b"\x89PNG")


def test_save(tmp_path, hostile):
    pytest.importorskip("matplotlib")
    starts = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF", "dot": b"digraph", "GV": b"digraph"}
    for suffix, start in starts.items():
        path = hostile.save(tmp_path / f"program.{suffix}", engine="functrans")
        assert path.read_bytes().startswith(start)
    with pytest.raises(ValueError, match=r"\.svg, \.png, \.pdf, \.dot or \.gv, but the path is 'program.bmp'"):
        hostile.save("program.bmp")


def test_jupyter_shows_it():
    drawing = ft.draw(np.sin, V)
    bundle = drawing._repr_mimebundle_()
    assert bundle == {"image/svg+xml": drawing.svg(), "text/plain": repr(drawing)}
    assert drawing._repr_mimebundle_(exclude=["text/plain"]).keys() == {"image/svg+xml"}
    assert repr(drawing) == "<drawing of sin: 1 operation, 1 argument, 1 output>"


def install_dot(folder: Path, monkeypatch, script: str) -> None:
    program = folder / "dot"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_graphviz_is_used_where_it_is(tmp_path, monkeypatch):
    install_dot(tmp_path, monkeypatch, 'echo "$@"; cat')
    drawing = ft.draw(np.sin, V)
    assert drawing.svg() == "-Tsvg\n" + drawing.dot
    assert drawing.png(dpi=50) == ("-Tpng -Gdpi=50\n" + drawing.dot).encode()
    assert drawing.svg("functrans").startswith("<svg")


def test_graphviz_fails(tmp_path, monkeypatch):
    install_dot(tmp_path, monkeypatch, "echo no such layout >&2; exit 3")
    with pytest.raises(RuntimeError, match="dot failed: no such layout"):
        ft.draw(np.sin, V).svg()


def test_graphviz_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    drawing = ft.draw(np.sin, V)
    assert drawing.svg().startswith("<svg")
    with pytest.raises(RuntimeError, match="is not installed"):
        drawing.svg("dot")


# Messages


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: ft.draw(3, V), TypeError, "draw needs a function or a program, got 3 of type int"),
        (lambda: ft.draw(np.sin, V, depth=-1), ValueError, "how many levels of boxes are opened, 0 or more; got -1"),
        (lambda: ft.draw(np.sin, V, depth=True), ValueError, "got True"),
        (lambda: ft.draw(np.sin, V, max_nodes=0), ValueError, "1 or more, or None for any number; got 0"),
        (lambda: ft.draw(lambda x: "text", V), TypeError, "must be an array or a number, got 'text'"),
        (lambda: ft.draw(np.sin, np.array(["a"])), TypeError, "unsupported dtype"),
        (lambda: ft.draw(np.sin, V).svg("neato"), ValueError, "engine must be"),
        (lambda: ft.draw(np.sin, V).png("functrans", dpi=0), ValueError, "dpi must be positive, got 0"),
    ],
)
def test_messages(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


# The layered layout


def test_layers():
    layers = layered(5, [(0, 1), (1, 2), (0, 3), (2, 3), (4, 3)], set(), set())
    assert layers.rank[:5] == [0, 1, 2, 3, 2]  # the last is where it is used
    assert [len(row) for row in layers.rows] == [1, 2, 3, 1]
    assert layers.chains[2][0] == 0
    assert len(layers.chains[2]) == 4
    forced = layered(3, [(1, 2)], {0}, {2})
    assert forced.rank == [0, 1, 2]


def test_crossings_are_undone():
    layers = layered(6, [(0, 5), (1, 4), (2, 3)], set(), set())
    upper, lower = layers.rows
    assert [{0: 5, 1: 4, 2: 3}[node] for node in upper] == lower


def test_nodes_keep_their_distance():
    rng = np.random.default_rng(0)
    pairs = [(a, b) for a, b in combinations(range(40), 2) if rng.random() < 0.08]
    layers = layered(40, pairs, set(), set())
    widths = [float(rng.uniform(5, 50)) for _ in layers.rank]
    x = places(layers, widths, 7.0, [(0.0, 0.0)] * len(pairs))
    for row in layers.rows:
        for a, b in pairwise(row):
            assert x[b] - x[a] >= (widths[a] + widths[b]) / 2 + 7.0 - 1e-6
