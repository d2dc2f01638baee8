"""Settings of the library. All are plain attributes of `config`, read when they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ContextDecorator, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from functrans.forking import fork_safe_lock

__all__ = ["Config", "config", "debug_infs", "debug_key_reuse", "debug_nans"]


_jit_disabled: ContextVar[bool | None] = ContextVar("jit_disabled", default=None)
"""What `functrans.disable_jit()` says in this thread; None where it is not in use."""

_lock = fork_safe_lock()


@dataclass
class Config:
    """What can be set.

    >>> from functrans.config import config
    >>> config.program_cache_equations
    200000
    """

    program_cache_equations: int = 200_000
    """How many equations the programs kept for reuse may have together; the least recently used go first."""

    copy_captured_bytes: int = 65_536
    """Arrays up to this size are copied when a recording reads them from outside; larger ones are made read-only."""

    check_programs: bool = False
    """Type-check every program that a recording, a transformation or a pass makes (the tests turn it on)."""

    nan_safe_gradients: bool = True
    """Whether in reverse mode a cotangent that a selection or an index made zero stays zero, also where the derivative
    that it is multiplied by is infinite: `grad(lambda x: np.where(x > 0, np.sqrt(x), 0.0))(0.0)` is 0.0, not NaN."""

    debug_nans: bool = False
    """Whether programs stop, with a `NonFiniteError`, where an equation makes a NaN of operands without one."""

    debug_infs: bool = False
    """The same for infinities."""

    debug_key_reuse: bool = False
    """Whether the second use of a random key is a `KeyReuseError`."""

    retrace_warning: int | None = 32
    """How often a jitted function may be recorded before a `RetraceWarning` says why it is; None or 0: never."""

    checks_values: bool = field(default=False, init=False, repr=False)
    """Whether one of the two is on; follows them."""

    state: object = field(default=None, init=False, repr=False)
    """What the way of a call to its program depends on: the same object as long as no setting, and no class of pytrees,
    has changed. None while a setting is on for which the call must be looked at."""

    _states: dict[bool, object] = field(default_factory=dict, init=False, repr=False)

    _disable_jit: bool = field(default=False, init=False, repr=False)
    _disabling: list[bool] = field(default_factory=list, init=False, repr=False)
    """An element for each thread's block that says whether."""

    @property
    def disable_jit(self) -> bool:
        """Whether jitted functions, loops and branches run as plain Python; `functrans.disable_jit()` sets it for a
        block of one thread."""
        if not self._disabling:  # the usual case, at each call of a jitted function
            return self._disable_jit
        here = _jit_disabled.get()
        return self._disable_jit if here is None else here

    @disable_jit.setter
    def disable_jit(self, disable: bool) -> None:
        self._disable_jit = bool(disable)

    @contextmanager
    def jit_disabled(self, disable: bool) -> Iterator[None]:
        """Within it, and in this thread (or asynchronous task) alone, `disable_jit` is as given."""
        self._disabling.append(True)  # atomic, as adding to a number is not
        self._find_state()
        token = _jit_disabled.set(bool(disable))
        try:
            yield
        finally:
            _jit_disabled.reset(token)
            self._disabling.pop()
            self._find_state()

    def changed(self) -> None:
        """Something has changed on which the way of a call to its program depends."""
        with _lock:
            self._states.clear()
            self._find_state()

    def _find_state(self) -> None:
        with _lock:
            looks = self.checks_values or self.debug_key_reuse or self._disable_jit or self._disabling
            state = None if looks else self._states.setdefault(self.nan_safe_gradients, object())
            super().__setattr__("state", state)

    def __post_init__(self) -> None:
        self._find_state()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("debug_nans", "debug_infs"):
            super().__setattr__(
                "checks_values", getattr(self, "debug_nans", False) or getattr(self, "debug_infs", False)
            )
        if "state" in self.__dict__:
            self._find_state()


config = Config()


class debug_nans(ContextDecorator):  # noqa: N801  (a context manager and decorator, used like a function)
    """Within it, `config.debug_nans` is as given: a program stops at the first operation that makes a NaN.

    For a block of code, or as a decorator for a function; also inside of `jit`, loops and branches. It holds for all
    threads. Without the block: `functrans.config.debug_nans = True`.

    Args:
        enabled: whether to look for NaN.

    Raises:
        NonFiniteError: within it, where a program makes a NaN; it names the operation and the line.

    >>> import numpy as np
    >>> import functrans as ft
    >>> with ft.debug_nans(True):
    ...     ft.jit(np.log)(-1.0)
    Traceback (most recent call last):
      ...
    functrans.errors.NonFiniteError: ...
    """

    _setting = "debug_nans"

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = bool(enabled)
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(getattr(config, self._setting))
        setattr(config, self._setting, self.enabled)

    def __exit__(self, *_: object) -> None:
        setattr(config, self._setting, self._before.pop())


class debug_infs(debug_nans):  # noqa: N801
    """Within it, `config.debug_infs` is as given: a program stops at the first operation that makes an infinity.

    As `debug_nans`, of which it is independent.

    >>> import numpy as np
    >>> import functrans as ft
    >>> with ft.debug_infs(True):
    ...     ft.jit(np.exp)(1000.0)
    Traceback (most recent call last):
      ...
    functrans.errors.NonFiniteError: ...
    """

    _setting = "debug_infs"


class debug_key_reuse(debug_nans):  # noqa: N801
    """Within it, `config.debug_key_reuse` is as given: a random key that is used a second time is an error.

    Keys are told apart by where they come from, not by their words: `random.key(0)` twice gives two keys. A function
    that is recorded (by `grad`, `vmap`, `jit`) uses the keys that it draws from when it is called.

    Args:
        enabled: whether to look.

    Raises:
        KeyReuseError: within it, at the second use; it names the line of the first one.

    >>> import functrans as ft
    >>> key = ft.random.key(0)
    >>> with ft.debug_key_reuse(True):
    ...     ft.random.uniform(key), ft.random.uniform(key)
    Traceback (most recent call last):
      ...
    functrans.errors.KeyReuseError: ...
    """

    _setting = "debug_key_reuse"
