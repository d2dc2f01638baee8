"""From a program to what is drawn of it: equations become nodes, and those that carry programs become boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

from functrans.core.aval import Aval
from functrans.core.jaxpr import Atom, Equation, Jaxpr, Literal, jaxprs_in
from functrans.core.printing import format_aval
from functrans.drawing.graph import Box, Edge, Node
from functrans.drawing.labels import label_of, short, title_of, tooltip_of
from functrans.drawing.naming import of_derivative, place_of, variable_of

__all__ = ["build"]


class _End(NamedTuple):
    """Where a value comes from."""

    key: str
    result: str = ""
    """Which result of it, if it has several."""


def build(
    jaxpr: Jaxpr,
    arguments: Sequence[str],
    constants: Sequence[str],
    outputs: Sequence[str],
    depth: int,
    max_nodes: int | None,
) -> Box:
    """What is drawn of a program.

    Args:
        jaxpr: the program.
        arguments, constants: the names of its inputs.
        outputs: the names of its outputs.
        depth: how many levels of programs inside of it are opened.
        max_nodes: of how many equations each has a node of its own; None: of all.
    """
    builder = _Builder(max_nodes)
    top = builder.box("")
    used = _used(jaxpr)
    ends = []
    for i, name in enumerate([*arguments, *constants]):
        kind = "unused" if -1 - i not in used else "argument" if i < len(arguments) else "constant"
        node = builder.node(kind, (name, format_aval(jaxpr.in_avals[i])), "not used" if kind == "unused" else "")
        top.nodes.append(node)
        ends.append(_End(node.key))
    outs = builder.fill(top, jaxpr, ends, depth)
    for atom, end, name in zip(jaxpr.outs, outs, outputs, strict=True):
        aval = jaxpr.aval(atom)
        value = (f"= {atom.value}",) if isinstance(atom, Literal) else ()
        node = builder.node("output", (name, *value, format_aval(aval)))
        top.nodes.append(node)
        builder.connect(top, end, node, format_aval(aval))
    return top


def _used(jaxpr: Jaxpr) -> set[Atom]:
    return {x for eqn in jaxpr.eqns for x in eqn.inputs} | set(jaxpr.outs)


def _variables(jaxpr: Jaxpr) -> dict[Equation, str]:
    """The variables to which the user has assigned what equations give: the last one of an expression."""
    used_within = {(x, eqn.source) for eqn in jaxpr.eqns for x in eqn.inputs}
    named = [eqn for eqn in jaxpr.eqns if not any([(out, eqn.source) in used_within for out in eqn.outs])]
    return {eqn: variable for eqn in named if (variable := variable_of(eqn))}


class _Builder:
    """Makes the nodes and boxes of one drawing."""

    def __init__(self, max_nodes: int | None) -> None:
        self.max_nodes = max_nodes
        self.room = max_nodes
        """How many nodes may still be drawn inside of boxes; None: as many as there are."""
        self._count = 0

    def _key(self) -> str:
        self._count += 1
        return f"n{self._count}"

    def node(self, kind: str, lines: Sequence[str], tooltip: str = "") -> Node:
        return Node(self._key(), kind, tuple(lines), tooltip)

    def box(self, title: str, tooltip: str = "") -> Box:
        return Box(self._key(), title, tooltip)

    def connect(self, box: Box, end: _End | None, target: Node, tooltip: str) -> None:
        """An edge, unless the value is a literal. Edges between the same two nodes are one."""
        if end is None:
            return
        for edge in reversed(box.edges[-8:]):
            if edge.source == end.key and edge.target == target.key and edge.result == end.result:
                edge.count += 1
                return
        box.edges.append(Edge(end.key, target.key, tooltip, end.result))

    # ---- programs

    def fill(self, box: Box, jaxpr: Jaxpr, ends: Sequence[_End | None], depth: int) -> list[_End | None]:
        """Draw the equations of a program into a box.

        Args:
            box: where to.
            jaxpr: the program.
            ends: where its inputs come from; None for a literal.
            depth: how many levels of programs inside of it are opened.

        Returns:
            Where its outputs come from.
        """
        env: dict[int, _End | None] = {-1 - i: end for i, end in enumerate(ends)}
        variables = _variables(jaxpr)
        for eqns in self._grouped(jaxpr):
            if len(eqns) > 1:
                self._group(box, eqns, env, jaxpr)
                continue
            (eqn,) = eqns
            operands = [env[x] if type(x) is int else None for x in eqn.inputs]
            opened = _interior(eqn) if depth > 0 else None
            if opened is not None and self._has_room(eqn):
                inner = self.box(title_of(eqn, variables.get(eqn, "")), tooltip_of(eqn))
                box.nodes.append(inner)
                results = opened(_Opened(self, box, inner, eqn, operands, depth - 1))
            else:
                results = self._operation(box, eqn, operands, variables.get(eqn, ""))
            env.update(zip(eqn.outs, results, strict=True))
        return [env[x] if type(x) is int else None for x in jaxpr.outs]

    def _has_room(self, eqn: Equation) -> bool:
        if self.room is None:
            return True
        inside = sum([len(jaxpr) for value in eqn.params.values() for jaxpr in jaxprs_in(value)])
        if inside > self.room:
            return False
        self.room -= inside
        return True

    def _grouped(self, jaxpr: Jaxpr) -> list[list[Equation]]:
        """The equations one by one, or in runs if there are too many: by their scopes and lines as far as possible."""
        if self.max_nodes is None or len(jaxpr) <= self.max_nodes:
            return [[eqn] for eqn in jaxpr.eqns]
        runs = [list(run) for _, run in groupby(jaxpr.eqns, lambda eqn: (eqn.scopes, place_of(eqn)))]
        size = -(-len(jaxpr) // self.max_nodes)
        groups: list[list[Equation]] = []
        for run in runs:
            if groups and len(runs) > self.max_nodes and len(groups[-1]) + len(run) <= 2 * size:
                groups[-1].extend(run)
            else:
                groups.extend([run[i : i + 4 * size] for i in range(0, len(run), 4 * size)])
        return groups

    # ---- equations

    def _operation(self, box: Box, eqn: Equation, operands: Sequence[_End | None], variable: str) -> list[_End | None]:
        kind = "derivative" if of_derivative(eqn) else "operation"
        node = self.node(kind, label_of(eqn, variable), tooltip_of(eqn))
        box.nodes.append(node)
        for i, (end, aval) in enumerate(zip(operands, eqn.in_avals, strict=True)):
            which = f"operand {i} of {eqn.primitive.name}: " if len(operands) > 1 else ""
            self.connect(box, end, node, f"{which}{format_aval(aval)}")
        several = len(eqn.out_avals) > 1
        return [_End(node.key, str(i) if several else "") for i in range(len(eqn.out_avals))]

    def _group(self, box: Box, eqns: Sequence[Equation], env: dict[int, _End | None], jaxpr: Jaxpr) -> None:
        counts = Counter([eqn.primitive.name for eqn in eqns])
        names = [f"{n} {name}" if n > 1 else name for name, n in counts.most_common(3)]
        more = [f"and {len(counts) - 3} kinds more"] if len(counts) > 3 else []
        places = list(dict.fromkeys([place for eqn in eqns if (place := place_of(eqn))]))
        where = [places[0] if len(places) == 1 else f"{places[0]} ..."] if places else []
        node = self.node("group", (f"{len(eqns)} operations", *names, *more, *where), "\n".join(places[:12]))
        box.nodes.append(node)
        own = {out for eqn in eqns for out in eqn.outs}
        entering = dict.fromkeys([x for eqn in eqns for x in eqn.inputs if type(x) is int and x not in own])
        seen: set[str] = set()
        for x in entering:
            end = env[x]
            if end is not None and end.key not in seen:
                seen.add(end.key)
                self.connect(box, _End(end.key), node, format_aval(jaxpr.aval(x)))
        env.update(dict.fromkeys(own, _End(node.key)))


# --------------------------------------------------------------------------------------------------------------------
# What is inside of the operations that carry programs


class _Opened(NamedTuple):
    """An equation of which a box is drawn."""

    builder: _Builder
    outer: Box
    inner: Box
    eqn: Equation
    operands: Sequence[_End | None]
    depth: int

    def enter(self, roles: Sequence[str]) -> list[_End | None]:
        """Ports by which the operands enter; a literal is written on its port."""
        return self._enter(self.outer, self.inner, self.operands, self.eqn.inputs, self.eqn.in_avals, roles)

    def leave(self, ends: Sequence[_End | None], roles: Sequence[str], jaxpr: Jaxpr | None = None) -> list[_End | None]:
        """Ports by which the results leave, which are outputs of the program if one is given."""
        atoms = [0] * len(ends) if jaxpr is None else jaxpr.outs
        return self._leave(self.inner, ends, atoms, self.eqn.out_avals, roles)

    def fill(self, jaxpr: Jaxpr, ends: Sequence[_End | None]) -> list[_End | None]:
        """The program drawn into the box itself."""
        return self.builder.fill(self.inner, jaxpr, ends, self.depth)

    def inside(self, title: str, jaxpr: Jaxpr, ends: Sequence[_End | None], roles: Sequence[str]) -> list[_End | None]:
        """The program drawn into a box of its own inside of the box: one of several."""
        box = self.builder.box(title)
        self.inner.nodes.append(box)
        entered = self._enter(self.inner, box, ends, jaxpr.invars, jaxpr.in_avals, [""] * len(ends))
        outs = self.builder.fill(box, jaxpr, entered, self.depth)
        return self._leave(box, outs, jaxpr.outs, jaxpr.out_avals, roles)

    def loop_back(self, n_carry: int, first_input: int) -> None:
        """Edges from where the carry leaves to where it enters."""
        for i in range(n_carry):
            source, target = self.inner.outputs[i], self.inner.inputs[first_input + i]
            self.inner.loops.append(Edge(source.key, target.key, "to the next iteration"))

    def _enter(
        self,
        outer: Box,
        inner: Box,
        ends: Sequence[_End | None],
        atoms: Sequence[Atom],
        avals: Sequence[Aval],
        roles: Sequence[str],
    ) -> list[_End | None]:
        for end, atom, aval, role in zip(ends, atoms, avals, roles, strict=True):
            inner.inputs.append(self._port(atom, aval, role))
            self.builder.connect(outer, end, inner.inputs[-1], format_aval(aval))
        return [_End(port.key) for port in inner.inputs]

    def _leave(
        self,
        inner: Box,
        ends: Sequence[_End | None],
        atoms: Sequence[Atom],
        avals: Sequence[Aval],
        roles: Sequence[str],
    ) -> list[_End | None]:
        for end, atom, aval, role in zip(ends, atoms, avals, roles, strict=True):
            inner.outputs.append(self._port(atom, aval, role))
            self.builder.connect(inner, end, inner.outputs[-1], format_aval(aval))
        return [_End(port.key) for port in inner.outputs]

    def _port(self, atom: Atom, aval: Aval, role: str) -> Node:
        text = " ".join([part for part in (role, short(atom.value) if isinstance(atom, Literal) else "") if part])
        return self.builder.node("port", (text,) if text else (), f"{role} {format_aval(aval)}".strip())


def _interior(eqn: Equation) -> Callable[[_Opened], list[_End | None]] | None:
    """The function that draws what is inside of an equation; None if nothing is, or nothing that can be drawn."""
    found = _INTERIORS.get(eqn.primitive.name)
    if found is not None:
        return found
    jaxpr = eqn.params.get("jaxpr")
    if type(jaxpr) is not Jaxpr or len(jaxpr.in_avals) != len(eqn.inputs) or len(jaxpr.outs) != len(eqn.outs):
        return None
    return _call


def _call(opened: _Opened) -> list[_End | None]:
    jaxpr = opened.eqn.params["jaxpr"]
    outs = opened.fill(jaxpr, opened.enter([""] * len(jaxpr.in_avals)))
    return opened.leave(outs, [""] * len(outs), jaxpr)


def _scan(opened: _Opened) -> list[_End | None]:
    eqn = opened.eqn
    jaxpr, n_consts, n_carry = eqn.params["jaxpr"], eqn.params["n_consts"], eqn.params["n_carry"]
    rows, stacks = len(eqn.inputs) - n_consts - n_carry, len(eqn.outs) - n_carry
    outs = opened.fill(jaxpr, opened.enter(["const"] * n_consts + ["carry"] * n_carry + ["row of"] * rows))
    results = opened.leave(outs, ["carry"] * n_carry + ["stack"] * stacks, jaxpr)
    opened.loop_back(n_carry, n_consts)
    return results


def _replay(opened: _Opened) -> list[_End | None]:
    eqn = opened.eqn
    body, n_consts, n_carry = eqn.params["body"], eqn.params["n_consts"], eqn.params["n_carry"]
    read, written = len(eqn.inputs) - 1 - n_consts - n_carry, len(eqn.outs) - n_carry
    ends = opened.enter(["times"] + ["const"] * n_consts + ["carry"] * n_carry + ["tape"] * read)
    results = opened.leave(opened.fill(body, ends[1:]), ["carry"] * n_carry + ["tape"] * written, body)
    opened.loop_back(n_carry, 1 + n_consts)
    return results


def _while(opened: _Opened) -> list[_End | None]:
    eqn = opened.eqn
    cond, body, n_cond = eqn.params["cond"], eqn.params["body"], eqn.params["n_cond_consts"]
    n_consts = n_cond + eqn.params["n_body_consts"]
    n_carry = len(eqn.inputs) - n_consts
    roles = ["carry"] * n_carry + ["tape"] * (len(body.outs) - n_carry)
    more = ["count", "snapshots"][: len(eqn.outs) - len(body.outs)]  # neither comes from the body
    ends = opened.enter(["const"] * n_consts + ["carry"] * n_carry)
    opened.inside("condition", cond, [*ends[:n_cond], *ends[n_consts:]], ["goes on"])
    outs = opened.inside("body", body, ends[n_cond:], roles)
    results = opened.leave([*outs, *[None] * len(more)], roles + more)
    opened.loop_back(n_carry, n_consts)
    return results


def _cond(opened: _Opened) -> list[_End | None]:
    eqn, branches = opened.eqn, opened.eqn.params["branches"]
    unnamed = [""] * len(eqn.outs)
    ends = opened.enter(["which", *[""] * (len(eqn.inputs) - 1)])
    truth = eqn.in_avals[0].dtype.kind == "b" and len(branches) == 2
    found = [
        opened.inside(f"if {bool(i)}" if truth else f"branch {i}", branch, ends[1:], unnamed)
        for i, branch in enumerate(branches)
    ]
    results = opened.leave(found[0], unnamed)
    for others in found[1:]:
        for end, port in zip(others, opened.inner.outputs, strict=True):
            opened.builder.connect(opened.inner, end, port, "")
    return results


_INTERIORS = {"scan": _scan, "replay": _replay, "while": _while, "snapshots": _while, "cond": _cond}
