"""Arrays are read-only while a recording reads them, and as they were afterwards."""

import threading

import numpy as np
import pytest

import functrans as ft


def total(x):
    return np.sum(x * x)


def views(base):
    return base[1:], base[::-1], base.reshape(2, -1), base[1:][1:]


def test_views_and_their_owners_in_every_order():
    base = np.arange(6.0)
    for arrays in ((base, *views(base)), (*views(base), base)):
        ft.grad(lambda *args: sum(np.sum(a) for a in args), argnums=tuple(range(5)))(*arrays)
        assert all(a.flags.writeable for a in arrays)


def test_views_of_what_an_outer_recording_holds():
    big = np.ones(20_000)
    view = big[1:]
    ft.grad(lambda x: np.sum(big * x) + ft.grad(lambda y: np.sum(view * y))(x))(2.0)
    ft.grad(lambda b: np.sum(b) * ft.grad(lambda y: np.sum(view * y))(2.0))(big)
    assert big.flags.writeable
    assert view.flags.writeable


def foreign():
    frozen = np.ones(3)
    view = frozen[:]
    frozen.flags.writeable = False
    return {
        "strided": np.lib.stride_tricks.as_strided(np.ones(5), (3,), (8,)),
        "bytes": np.frombuffer(bytearray(24)),
        "window": np.lib.stride_tricks.sliding_window_view(np.ones(5), 3, writeable=True),
        "view of a frozen array": view,
        "broadcast": np.broadcast_arrays(np.ones(1), np.ones(3))[0],
        "read-only": frozen,
    }


@pytest.mark.parametrize("kind", foreign())
def test_arrays_that_could_not_be_unlocked_are_left_alone(kind):
    x = foreign()[kind]
    before = None if kind == "broadcast" else x.flags.writeable
    np.testing.assert_array_equal(ft.grad(total)(x), 2 * x)
    assert before is None or x.flags.writeable is before


def test_an_error_of_the_function_is_what_the_caller_sees():
    x = np.ones(6)
    with pytest.raises(KeyError, match="mine"):
        ft.grad(lambda x, y: {}["mine"])(x[1:], x)
    assert x.flags.writeable


def test_two_threads_with_an_array_and_a_view_of_it():
    base = np.ones(100)
    view = base[1:]
    failures = []

    def work(x):
        try:
            for _ in range(200):
                ft.grad(total)(x)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(x,)) for x in (base, view, base, view)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ft.grad(total)(np.ones(4)[1:])  # what had to wait is unlocked with the next one
    assert not failures
    assert base.flags.writeable
    assert view.flags.writeable


@pytest.mark.parametrize("transform", [ft.grad, ft.jit, ft.vmap, lambda f: lambda x: ft.jvp(f, (x,), (x,))])
def test_arguments_cannot_be_written_to(transform):
    x = np.ones((2, 20_000))

    def writes(a):
        out = np.sum(a)
        x[:] = 5.0
        return out

    with pytest.raises(ft.errors.CapturedArrayMutatedError, match="was written to at"):
        transform(writes)(x)
    assert x.flags.writeable
    assert x[0, 0] == 1.0


def test_tangents_cannot_be_written_to():
    t = np.ones(3)

    def writes(x):
        t[:] = 7.0
        return x

    with pytest.raises(ft.errors.CapturedArrayMutatedError):
        ft.jvp(writes, (np.ones(3),), (t,))
    assert t.flags.writeable


def test_what_cannot_be_locked_is_copied():
    captured = np.frombuffer(bytearray(8 * 20_000))
    argument = np.frombuffer(bytearray(8 * 3))

    def writes(x):
        out = np.sum(x) + np.sum(captured)
        captured[:] = 5.0
        argument[:] = 5.0
        return out

    value, _ = ft.value_and_grad(writes)(argument)
    assert value == 0.0
    assert captured[0] == argument[0] == 5.0
