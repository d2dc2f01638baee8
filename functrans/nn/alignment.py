"""Losses of sequences whose places in the input nobody has marked."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

import functrans.numpy as fnp
from functrans.lax import scan
from functrans.nn.composing import public, shape_of
from functrans.nn.softmaxes import log_softmax

__all__ = ["ctc_loss"]


@public
def ctc_loss(
    logits: Any,
    logit_paddings: Any,
    labels: Any,
    label_paddings: Any,
    *,
    blank_id: int = 0,
    log_epsilon: float = -1e5,
) -> Any:
    """Less the logarithm of the probability that frames spell labels (connectionist temporal classification; Graves,
    Fernandez, Gomez and Schmidhuber 2006).

    Each frame says a class or nothing, the blank. A class that several frames in a row say is one label; the blank
    between two makes them two.

    Args:
        logits: an array of real numbers, (batch, frames, classes).
        logit_paddings: (batch, frames): not 0 where a frame does not count.
        labels: integers, (batch, labels). None is the blank.
        label_paddings: (batch, labels): 0 for labels, then not 0 for what only fills the row.
        blank_id: the class that is the blank.
        log_epsilon: what stands for the logarithm of 0. Labels that the frames are too few for cost about so much.

    Returns:
        An array, (batch,).

    Raises:
        TypeError, ValueError: if shapes or dtypes do not fit, or a label that has a value is no class or the blank.

    >>> import numpy as np
    >>> import functrans as ft
    >>> logits, labels = np.zeros((1, 2, 3)), np.array([[1]])
    >>> 9 * np.exp(-ft.nn.ctc_loss(logits, np.zeros((1, 2)), labels, np.zeros((1, 1))))  # "1-", "-1", "11"
    array([3.])
    """
    blank = operator.index(blank_id)
    _check(shape_of(logits), shape_of(logit_paddings), shape_of(labels), shape_of(label_paddings), blank)
    labels, filled = fnp.asarray(labels), fnp.asarray(label_paddings) != 0
    if labels.dtype.kind not in "iu":
        raise TypeError(f"ctc_loss: labels must be integers, got {labels.dtype}{list(labels.shape)}")
    labels = fnp.where(filled, blank, labels)
    log_p = log_softmax(logits)
    if isinstance(labels, np.ndarray) and isinstance(filled, np.ndarray):
        _check_labels(labels[~filled], log_p.shape[-1], blank)
    path = _with_blanks(labels, blank)
    emitted = fnp.take_along_axis(log_p, fnp.broadcast_to(path[:, None], (*log_p.shape[:2], path.shape[1])), axis=2)
    last = 2 * (labels.shape[1] - fnp.sum(filled, axis=1))
    return -_log_probability(emitted, fnp.asarray(logit_paddings) != 0, path, last, blank, log_epsilon)


def _check(
    logits: tuple[int, ...], frames: tuple[int, ...], labels: tuple[int, ...], fill: tuple[int, ...], blank: int
) -> None:
    if len(logits) != 3 or len(labels) != 2 or logits[:2] != frames or labels != fill or labels[0] != logits[0]:
        raise ValueError(
            "ctc_loss: logits (batch, frames, classes), logit_paddings (batch, frames), labels and label_paddings "
            f"(batch, labels) have the shapes {logits}, {frames}, {labels} and {fill}"
        )
    if not 0 <= blank < logits[2]:
        raise ValueError(f"ctc_loss: blank_id must be one of the {logits[2]} classes, got {blank}")


def _check_labels(labels: np.ndarray[Any, Any], n: int, blank: int) -> None:
    wrong = labels[(labels < 0) | (labels >= n) | (labels == blank)]
    if wrong.size:
        raise ValueError(f"ctc_loss: a label is one of {n} classes, and not the blank, {blank}; got {wrong[0]}")


def _with_blanks(labels: Any, blank: int) -> Any:
    """The labels with a blank before, between and after them."""
    batch, n = labels.shape
    blanks = fnp.full_like(labels, blank)
    pairs = fnp.reshape(fnp.stack([blanks, labels], axis=2), (batch, 2 * n))
    return fnp.concatenate([pairs, np.full((batch, 1), blank, labels.dtype)], axis=1)


def _log_probability(emitted: Any, is_pad: Any, path: Any, last: Any, blank: int, log_zero: float) -> Any:
    """The forward recursion: the probability of all beginnings of alignments that are at a place of the path."""
    batch, n = path.shape
    never = np.full((batch, 2), log_zero, emitted.dtype)
    changes = (path[:, 2:] != blank) & (path[:, 2:] != path[:, :-2])
    may_skip = fnp.concatenate([np.zeros((batch, 2), bool), changes], axis=1)[:, :n]

    def step(reached: Any, frame: Any) -> tuple[Any, None]:
        emitted, is_pad = frame
        before = fnp.concatenate([never, reached], axis=1)
        skipping = fnp.where(may_skip, before[:, :n], log_zero)
        arriving = fnp.logaddexp(fnp.logaddexp(reached, before[:, 1 : n + 1]), skipping)
        return fnp.where(is_pad[:, None], reached, arriving + emitted), None

    first = np.full((batch, n), log_zero, emitted.dtype)
    first[:, 0] = 0
    reached, _ = scan(step, first, (fnp.moveaxis(emitted, 1, 0), fnp.moveaxis(is_pad, 1, 0)))
    ends = fnp.concatenate([never[:, :1], reached], axis=1)  # at the last label, and at the blank after it
    at_label, at_blank = [
        fnp.take_along_axis(ends, fnp.reshape(last + offset, (batch, 1)), axis=1)[:, 0] for offset in (0, 1)
    ]
    return fnp.logaddexp(at_label, at_blank)
