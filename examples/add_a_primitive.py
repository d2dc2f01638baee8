"""Two primitives of one's own, one by its JVP and one by its VJP, checked, and a wrong rule reported.

Run it: `python examples/add_a_primitive.py`.
"""

import numpy as np
from scipy.special import erfcx

import functrans as ft
from functrans.test_util import check_grads

# A function that functrans does not know, from any library: its value on arrays, and its derivative along a tangent t.


@ft.extend.primitive(elementwise=True)
def scaled_erfc(x):
    return erfcx(x)  # exp(x**2) * erfc(x)


@scaled_erfc.def_jvp
def _(t, out, x):
    return t * (2 * x * out - 2 / np.sqrt(np.pi))


# An algorithm whose inside nobody wants to differentiate: the cotangents of the operands, from the one of the result.


@ft.extend.primitive(elementwise=True)
def kepler(mean_anomaly, eccentricity):
    anomaly = mean_anomaly
    for _ in range(50):
        excess = anomaly - eccentricity * np.sin(anomaly) - mean_anomaly
        anomaly = anomaly - excess / (1 - eccentricity * np.cos(anomaly))
    return anomaly


@kepler.def_vjp
def _(ct, anomaly, mean_anomaly, eccentricity):
    ct_mean = ct / (1 - eccentricity * np.cos(anomaly))
    return ct_mean, ct_mean * np.sin(anomaly)


def main():
    x, eccentricity = np.linspace(-1, 2, 4), np.full(4, 0.3)

    # One rule is enough for every transformation: forward and reverse mode, of any order.
    check_grads(scaled_erfc, (x,), order=3)
    check_grads(kepler, (x, eccentricity), order=2)
    print("both rules are right")
    print("hessian:", ft.hessian(kepler, argnums=1)(1.0, 0.3))
    print("batched:", ft.vmap(ft.grad(scaled_erfc))(x))

    @ft.extend.primitive
    def wrong(x):
        return np.sin(x) * x

    wrong.def_jvp(lambda t, out, x: t * (np.sin(x) - np.cos(x) * x))
    try:
        check_grads(lambda x: np.exp(wrong(x)), (x,), order=1)
    except AssertionError as error:
        print(error)


if __name__ == "__main__":
    main()
