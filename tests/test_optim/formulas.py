"""The optimisers as their papers have them, element by element in plain Python, for comparison.

Each is a generator function of numbers `x, next gradient -> next x`: `steps(x, gradients)` yields the parameter after
each step. They share no code with functrans.
"""

from math import copysign, sqrt


def sgd(x, gradients, lr=0.1, momentum=0.0, nesterov=False):
    """Sutskever et al., ICML 2013, section 2, with the velocity in units of gradients."""
    v = 0.0
    for g in gradients:
        v = momentum * v + g
        x -= lr * (g + momentum * v if nesterov else v)
        yield x


def adam(x, gradients, lr=0.1, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0):
    """Kingma and Ba, arXiv:1412.6980, algorithm 1; Loshchilov and Hutter, arXiv:1711.05101, algorithm 2."""
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        x -= lr * ((m / (1 - b1**t)) / (sqrt(v / (1 - b2**t)) + eps) + weight_decay * x)
        yield x


def nadam(x, gradients, lr=0.1, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0):
    """Dozat, ICLR workshop 2016, algorithm 2, with a constant momentum."""
    m = n = 0.0
    for t, g in enumerate(gradients, 1):
        m = b1 * m + (1 - b1) * g
        n = b2 * n + (1 - b2) * g**2
        m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        x -= lr * (m_hat / (sqrt(n / (1 - b2**t)) + eps) + weight_decay * x)
        yield x


def amsgrad(x, gradients, lr=0.1, b1=0.9, b2=0.999, eps=1e-8):
    """Reddi, Kale and Kumar, arXiv:1904.09237, algorithm 2, with Adam's corrections."""
    m = v = top = 0.0
    for t, g in enumerate(gradients, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        top = max(top, v / (1 - b2**t))
        x -= lr * (m / (1 - b1**t)) / (sqrt(top) + eps)
        yield x


def adamax(x, gradients, lr=0.1, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0):
    """Kingma and Ba, algorithm 2."""
    m = u = 0.0
    for t, g in enumerate(gradients, 1):
        m = b1 * m + (1 - b1) * g
        u = max(b2 * u, abs(g) + eps)
        x -= lr / (1 - b1**t) * m / u + lr * weight_decay * x
        yield x


def adabelief(x, gradients, lr=0.1, b1=0.9, b2=0.999, eps=1e-16):
    """Zhuang et al., arXiv:2010.07468, algorithm 2."""
    m = s = 0.0
    for t, g in enumerate(gradients, 1):
        m = b1 * m + (1 - b1) * g
        s = b2 * s + (1 - b2) * (g - m) ** 2 + eps
        x -= lr * (m / (1 - b1**t)) / (sqrt(s / (1 - b2**t)) + eps)
        yield x


def radam(x, gradients, lr=0.1, b1=0.9, b2=0.999, eps=1e-8):
    """Liu et al., arXiv:1908.03265, algorithm 2, with Adam's eps and a threshold of 5."""
    m = v = 0.0
    rho_inf = 2 / (1 - b2) - 1
    for t, g in enumerate(gradients, 1):
        v = b2 * v + (1 - b2) * g**2
        m = b1 * m + (1 - b1) * g
        m_hat = m / (1 - b1**t)
        rho = rho_inf - 2 * t * b2**t / (1 - b2**t)
        if rho >= 5:
            r = sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
            x -= lr * r * m_hat / (sqrt(v / (1 - b2**t)) + eps)
        else:
            x -= lr * m_hat
        yield x


def rmsprop(x, gradients, lr=0.1, decay=0.9, eps=1e-8, centered=False, momentum=0.0, nesterov=False):
    """Tieleman and Hinton, lecture 6.5; Graves, arXiv:1308.0850, eq. 38 to 40."""
    n = mean = v = 0.0
    for g in gradients:
        n = decay * n + (1 - decay) * g * g
        mean = decay * mean + (1 - decay) * g
        step = -lr * g / sqrt((n - mean**2 if centered else n) + eps)
        v = momentum * v + step
        x += step + momentum * v if nesterov else v
        yield x


def rmsprop_of_torch(x, gradients, lr=0.1, decay=0.9, eps=1e-8):
    """As RMSProp, with eps outside of the root and the average corrected."""
    n = 0.0
    for t, g in enumerate(gradients, 1):
        n = decay * n + (1 - decay) * g * g
        x -= lr * g / (sqrt(n / (1 - decay**t)) + eps)
        yield x


def adagrad(x, gradients, lr=0.1, first=0.1, eps=1e-7):
    """Duchi, Hazan and Singer, JMLR 12, 2011, with diagonal matrices."""
    total = first
    for g in gradients:
        total += g * g
        x -= lr * g / sqrt(total + eps)
        yield x


def adadelta(x, gradients, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0):
    """Zeiler, arXiv:1212.5701, algorithm 1."""
    e_g = e_x = 0.0
    for g in gradients:
        g = g + weight_decay * x
        e_g = rho * e_g + (1 - rho) * g * g
        dx = -sqrt(e_x + eps) / sqrt(e_g + eps) * g
        e_x = rho * e_x + (1 - rho) * dx * dx
        x += lr * dx
        yield x


def lion(x, gradients, lr=0.1, b1=0.9, b2=0.99, weight_decay=1e-3):
    """Chen et al., arXiv:2302.06675, algorithm 2."""
    m = 0.0
    for g in gradients:
        c = b1 * m + (1 - b1) * g
        m = b2 * m + (1 - b2) * g
        x -= lr * ((copysign(1, c) if c else 0.0) + weight_decay * x)
        yield x


def sign_sgd(x, gradients, lr=0.1):
    """Bernstein et al., arXiv:1802.04434, algorithm 1."""
    for g in gradients:
        x -= lr * (copysign(1, g) if g else 0.0)
        yield x
