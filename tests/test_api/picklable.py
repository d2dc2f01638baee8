"""Functions at the top level of a module, as users have them, for the tests of pickling."""

import functools

import numpy as np

import functrans as ft
from functrans.core import Primitive
from functrans.core.rules import def_abstract, def_impl


def loss(x, y=2.0):
    """The loss."""
    return np.sum(np.sin(x) * y)


@ft.jit
def decorated(x):
    return np.cos(x) * 2


@ft.jit
@ft.grad
def twice_decorated(x):
    return x**3


def rebound(x):
    return x * 5


rebound = ft.jit(rebound)
gradient = ft.grad(loss)
of_partial = ft.jit(functools.partial(loss, y=3.0))


@ft.extend.primitive(name="picklable_cubed")
def cubed(x):
    return np.multiply(x, x) * x


@cubed.def_vjp
def _(ct, out, x):
    return ct * 3 * x**2


under_another_name = ft.extend.primitive(lambda x: x * 4.0, name="picklable_quadrupled")

halved_p = Primitive("picklable_halved")
def_impl(halved_p, lambda x: x / 2)
def_abstract(halved_p, lambda x: x)


class Model:
    def __init__(self, w):
        self.w = w

    @ft.jit
    def __call__(self, x):
        return x * self.w

    @ft.grad
    def slope(self_free):  # noqa: N805  (a method of one array)
        return self_free

    @staticmethod
    @ft.jit
    def doubled(x):
        return x * 2

    @ft.jit
    @staticmethod
    def tripled(x):
        return x * 3

    @classmethod
    @ft.jit
    def scaled(cls, x):
        return x * cls.factor

    factor = 7.0

    def gradient(self, x):
        return ft.grad(lambda x: self(x) ** 2)(x)


def run_in_worker(task):
    function, x = task
    return function(x)


def in_threads(x):
    return ft.grad(ft.jit(loss))(np.full(3, x))[0]
