"""Nonlinearities phi with derivative and kinks: the built-in ones, and a user's own."""

from __future__ import annotations

import copy
import functools
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erf, expit, ndtr

from tractable.core.checks import (
    as_floats,
    check_choice,
    check_count,
    check_finite,
    check_range,
    nearest_names,
)
from tractable.core.gaussian import expectation, truncated_moments
from tractable.core.kinks import derivative_of, find_kinks

__all__ = ["NONLINEARITIES", "Nonlinearity", "as_nonlinearity"]

Function = Callable[..., np.ndarray]


@dataclass(frozen=True)
class _Builtin:
    """One row of the table: phi, phi', where they bend, and the parameters."""

    phi: Function
    deriv: Function
    kinks: Callable[..., tuple[float, ...]] = lambda: ()
    slopes: Callable[..., tuple[float, ...]] | None = None
    """Slopes between the kinks, left to right, of a piecewise-linear function."""
    params: Mapping[str, float] | None = None


def _normal(x: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)


HALF_PI_ROOT = np.sqrt(np.pi) / 2

NONLINEARITIES: Mapping[str, _Builtin] = {
    "linear": _Builtin(lambda x: x, np.ones_like, slopes=lambda: (1.0,)),
    "relu": _Builtin(
        lambda x: np.maximum(x, 0.0),
        lambda x: (x > 0) * 1.0,
        lambda: (0.0,),
        lambda: (0.0, 1.0),
    ),
    "leaky_relu": _Builtin(
        lambda x, a: np.where(x > 0, x, a * x),
        lambda x, a: np.where(x > 0, 1.0, a),
        lambda a: (0.0,),
        lambda a: (a, 1.0),
        {"a": 0.01},
    ),
    "hard_tanh": _Builtin(
        lambda x: np.clip(x, -1.0, 1.0),
        lambda x: (np.abs(x) < 1) * 1.0,
        lambda: (-1.0, 1.0),
        lambda: (0.0, 1.0, 0.0),
    ),
    "tanh": _Builtin(np.tanh, lambda x: _sech2(x)),
    "erf": _Builtin(lambda x: erf(HALF_PI_ROOT * x), lambda x: np.exp(-(HALF_PI_ROOT**2) * x * x)),
    "shifted_relu": _Builtin(
        lambda x, c: np.maximum(x + c, 0.0) - c,
        lambda x, c: (x > -c) * 1.0,
        lambda c: (-c,),
        lambda c: (0.0, 1.0),
        {"c": 0.5},
    ),
    "smoothed_relu": _Builtin(
        lambda x, c, width: (x + c) * ndtr((x + c) / width) + width * _normal((x + c) / width) - c,
        lambda x, c, width: ndtr((x + c) / width),
        lambda c, width: (),
        params={"c": 0.5, "width": 0.5},
    ),
    "elu": _Builtin(
        lambda x, a: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0.0))),
        lambda x, a: np.where(x > 0, 1.0, a * np.exp(np.minimum(x, 0.0))),
        lambda a: (0.0,),
        params={"a": 1.0},
    ),
    "gelu": _Builtin(lambda x: x * ndtr(x), lambda x: ndtr(x) + x * _normal(x)),
    "silu": _Builtin(lambda x: x * expit(x), lambda x: expit(x) * (1 + x * (1 - expit(x)))),
    "sin": _Builtin(np.sin, np.cos),
    "softplus": _Builtin(lambda x: np.logaddexp(0.0, x), expit),
}
"""The built-in nonlinearities by name. ``erf`` is erf(sqrt(pi) x / 2), of slope 1 at 0."""


def _sech2(x: np.ndarray) -> np.ndarray:
    e = np.exp(-2 * np.abs(x))
    return 4 * e / (1 + e) ** 2


class Nonlinearity:
    r"""A nonlinearity phi of one variable, with its derivative and its kinks.

    Built-in: ``linear``, ``relu``, ``leaky_relu(a)``, ``hard_tanh``, ``tanh``, ``erf`` (which is
    erf(sqrt(pi) x / 2), of slope 1 at 0), ``shifted_relu(c)`` = max(x + c, 0) - c,
    ``smoothed_relu(c, width)`` = (x + c) Phi((x + c) / w) + w n((x + c) / w) - c with the normal
    distribution Phi and density n, ``elu(a)``, ``gelu``, ``silu``, ``sin``, ``softplus``.

    Parameters
    ----------
    function : str or callable
        A built-in name, also with its parameters as in ``"leaky_relu(0.2)"``, or a function of
        float64 torch tensors (also an `torch.nn.Module`) that acts on each entry by itself.
    deriv : callable, optional
        phi' of a user's function; by default by automatic differentiation in float64, compared
        with a difference quotient.
    kinks : sequence of float
        Arguments where phi' or phi'' of a user's function jumps; by default searched for.
    params : mapping, optional
        Parameters of a built-in: ``a`` of leaky_relu and elu, ``c`` and ``width`` of the others.

    Attributes
    ----------
    name : str
        Name with parameters.
    kinks : tuple of float
        Arguments where phi' or phi'' jumps, ascending.
    slopes : tuple of float or None
        The slopes between the kinks when phi is piecewise linear, else None.

    Raises
    ------
    ValueError
        For an unknown name or parameter, and for a function that returns NaN or infinity.
    TypeError
        For a function that does not map a float64 tensor to one of the same shape.

    Examples
    --------
    >>> phi = Nonlinearity("leaky_relu", params={"a": 0.2})
    >>> phi(np.array([-1.0, 2.0])), phi.deriv(np.array([-1.0, 2.0]))
    (array([-0.2,  2. ]), array([0.2, 1. ]))
    >>> Nonlinearity("erf").mu(1, 0.3), float((1 + np.pi * 0.3) ** -0.5)
    (0.717500104071, 0.717500104071)
    >>> import torch
    >>> Nonlinearity(torch.nn.Hardsigmoid()).kinks
    (-3.0, 3.0)
    """

    name: str
    kinks: tuple[float, ...]
    slopes: tuple[float, ...] | None

    def __init__(
        self,
        function: str | Callable[..., Any],
        deriv: Callable[..., Any] | None = None,
        kinks: Sequence[float] = (),
        params: Mapping[str, float] | None = None,
    ) -> None:
        if isinstance(function, str):
            if deriv is not None or len(kinks):
                raise ValueError(
                    f"deriv and kinks are for your own functions; {function!r} brings its own"
                )
            self._from_table(*_parse(function, dict(params or {})))
        elif callable(function):
            if params:
                raise ValueError("params are for built-in names; bind those of your own function")
            self._from_user(function, deriv, tuple(float(k) for k in kinks))
        else:
            raise TypeError(
                f"a nonlinearity must be a name or a callable, got {type(function).__name__}"
            )

    def _from_table(self, name: str, params: dict[str, float]) -> None:
        row = NONLINEARITIES[name]
        self._phi = functools.partial(row.phi, **params) if params else row.phi
        self._deriv = functools.partial(row.deriv, **params) if params else row.deriv
        self.kinks = row.kinks(**params)
        self.slopes = row.slopes(**params) if row.slopes else None
        values = ", ".join(f"{value:g}" for value in params.values())
        self.name = f"{name}({values})" if params else name
        self._key: Any = self.name if not params else (name, *params.values())

    def _from_user(
        self,
        function: Callable[..., Any],
        deriv: Callable[..., Any] | None,
        kinks: tuple[float, ...],
    ) -> None:
        from torch import nn

        own = getattr(function, "__name__", "") or type(function).__name__
        self.name = own if own != "<lambda>" else "own function"
        self._key = (id(function), id(deriv), kinks)
        self._function = function  # kept alive, so that its id stays its own
        if isinstance(function, nn.Module):
            function = copy.deepcopy(function).double()
        self._phi, self._deriv, second = derivative_of(function, deriv)
        for k in kinks:
            check_finite("kinks", k)
        with np.errstate(over="ignore", invalid="ignore"):  # of functions that grow fast
            self.kinks = tuple(sorted(set(kinks) or find_kinks(self._deriv, second)))
            self.slopes = _slopes(self._phi, self._deriv, self.kinks)

    # --- values ------------------------------------------------------------------------------

    def __call__(self, x: ArrayLike) -> np.ndarray:
        """Return phi(x), float64, of the same shape."""
        return np.asarray(self._phi(as_floats("x", x)))

    def deriv(self, x: ArrayLike) -> np.ndarray:
        """Return phi'(x), float64, of the same shape; at a kink one of its two values."""
        return np.asarray(self._deriv(as_floats("x", x)))

    @property
    def is_linear(self) -> bool:
        """Whether phi is one straight line."""
        return self.slopes is not None and len(set(self.slopes)) == 1

    @functools.cached_property
    def even(self) -> bool:
        """Whether phi'(x)^2 = phi'(-x)^2."""
        x = np.linspace(0.01, 8.0, 97)
        return bool(np.allclose(self.deriv(x) ** 2, self.deriv(-x) ** 2, rtol=1e-13, atol=1e-15))

    # --- expectations over h = sqrt(q) z -----------------------------------------------------

    def mean(self, f: Callable[[np.ndarray], np.ndarray], q: float, *, atol: float = 0.0) -> float:
        """Return E[f(h)] for h of variance q, with panels that end at the kinks of phi."""
        return expectation(f, q, self.kinks, atol=atol)

    def mu(self, k: int, q: float) -> float:
        """Return mu_k = E[phi'(h)^(2k)]: closed form when phi is piecewise linear."""
        check_count("k", k, 0)
        check_range("q", q, 0.0)
        if self.slopes is not None and q > 0:
            values, probabilities = self.derivative_law(q)
            return float(probabilities @ values**k)
        return self.mean(lambda h: self.deriv(h) ** (2 * k), q)

    def second_moment(self, q: float) -> float:
        """Return E[phi(h)^2]."""
        if self.slopes is not None and q > 0:
            return float(sum(self._pieces(q)))
        return self.mean(lambda h: self(h) ** 2, q)

    def bias_variance(self, q: float, sigma_w2: float) -> float:
        """Return q - sigma_w^2 E[phi(h)^2] in one integral, so that little cancels."""
        if self.slopes is not None and q > 0:
            z2 = truncated_moments(*self._bounds(q))[2]
            own = np.array(self._pieces(q))
            return float((q * z2 - sigma_w2 * own).sum())
        return self.mean(lambda h: h * h - sigma_w2 * self(h) ** 2, q, atol=1e-15 * q)

    def derivative_law(self, q: float) -> tuple[np.ndarray, np.ndarray]:
        """Return values and probabilities of d = phi'(h)^2 when phi is piecewise linear.

        Raises
        ------
        ValueError
            When phi is not piecewise linear.
        """
        if self.slopes is None:
            raise ValueError(f"{self.name} is not piecewise linear: d = phi'^2 has a density")
        check_range("q", q, 0.0, open_low=True)
        probability = truncated_moments(*self._bounds(q))[0]
        values, place = np.unique(np.array(self.slopes) ** 2, return_inverse=True)
        return values, np.bincount(place, weights=probability, minlength=values.size)

    def _bounds(self, q: float) -> tuple[np.ndarray, np.ndarray]:
        ends = np.array([-np.inf, *self.kinks, np.inf]) / np.sqrt(q)
        return ends[:-1], ends[1:]

    def _pieces(self, q: float) -> list[float]:
        """Return E[phi^2] piece by piece: phi = a (h - k) + phi(k) on each."""
        assert self.slopes is not None
        sigma = np.sqrt(q)
        starts = (self.kinks[0] if self.kinks else 0.0, *self.kinks)
        heights = self(np.array(starts))
        offsets = heights - np.array(self.slopes) * np.array(starts)
        P, z, z2 = truncated_moments(*self._bounds(q))
        slope = np.array(self.slopes) * sigma
        return list(slope**2 * z2 + 2 * slope * offsets * z + offsets**2 * P)

    # --- identity ----------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Nonlinearity) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        bends = f", kinks={self.kinks}" if self.kinks else ""
        return f"Nonlinearity({self.name!r}{bends})"


def as_nonlinearity(phi: Nonlinearity | str | Callable[..., Any]) -> Nonlinearity:
    """Return phi itself, or the `Nonlinearity` of a name or a callable.

    Examples
    --------
    >>> as_nonlinearity("shifted_relu(0.5)")
    Nonlinearity('shifted_relu(0.5)', kinks=(-0.5,))
    """
    if isinstance(phi, str):
        _parse(phi, {}, "phi")
    return phi if isinstance(phi, Nonlinearity) else Nonlinearity(phi)


def _parse(
    text: str, params: dict[str, float], argument: str = "function"
) -> tuple[str, dict[str, float]]:
    """Return name and all parameters of ``name``, ``name(1, 2)`` or ``name(a=1)``."""
    match = re.fullmatch(r"\s*([\w\s-]+?)\s*(?:\((.*)\))?\s*", text)
    name = (match[1] if match else text).lower().replace("-", "_").replace(" ", "_")
    check_choice(argument, name, NONLINEARITIES)
    defaults = dict(NONLINEARITIES[name].params or {})
    given: dict[str, float] = {}
    for i, part in enumerate(
        p for p in ((match[2] or "") if match else "").split(",") if p.strip()
    ):
        key, _, value = part.rpartition("=")
        key = key.strip() or (list(defaults)[i] if i < len(defaults) else f"number {i + 1}")
        try:
            given[key] = float(value)
        except ValueError:
            raise ValueError(f"{text!r}: {value.strip()!r} is not a number") from None
    for key, value in {**given, **params}.items():
        if key not in defaults:
            near = nearest_names(key, defaults, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            allowed = ", ".join(defaults) or "none"
            raise ValueError(f"{name} has no parameter {key!r} (it has: {allowed}){hint}")
        check_finite(key, float(value))
        defaults[key] = float(value)
    if defaults.get("width", 1.0) <= 0:
        raise ValueError(f"width must be > 0, got {defaults['width']}")
    return name, defaults


def _slopes(phi: Function, deriv: Function, kinks: tuple[float, ...]) -> tuple[float, ...] | None:
    """Return the slopes between the kinks of a piecewise-linear function, None of another."""
    ends = [-40.0, *kinks, 40.0]
    slopes = []
    for low, high in itertools.pairwise(ends):
        inside = low + (high - low) * (np.arange(64) + 0.5) / 64
        values = deriv(inside)
        line = phi(inside[:1]) + values[0] * (inside - inside[0])
        if np.ptp(values) > 1e-12 or np.abs(phi(inside) - line).max() > 1e-10:
            return None
        slopes.append(float(values[0]))
    return tuple(slopes)
