"""Priors by name, as the command line has them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence

from tractable.core.checks import check_choice, check_count
from tractable.tensors.priors.discrete import Bernoulli, Rademacher
from tractable.tensors.priors.gaussian import Gaussian
from tractable.tensors.priors.nonnegative import Exponential, TruncatedGaussian
from tractable.tensors.priors.protocol import Prior
from tractable.tensors.priors.sparse import GaussBernoulli

__all__ = ["as_prior", "as_priors", "register_prior"]

NAMED: dict[str, Callable[..., Prior]] = {
    "gaussian": Gaussian,
    "rademacher": Rademacher,
    "bernoulli": Bernoulli,
    "gauss-bernoulli": GaussBernoulli,
    "truncated-gaussian": TruncatedGaussian,
    "nonnegative": TruncatedGaussian,
    "exponential": Exponential,
}


def register_prior(name: str, make: Callable[..., Prior]) -> None:
    """Name a prior of one's own for `as_prior`; numbers after the name are its arguments.

    Parameters
    ----------
    name : str
        Letters, digits and hyphens; replaces an earlier one of that name, but not ours.
    make : callable
        Returns the prior.

    Examples
    --------
    >>> register_prior("coin", lambda p=0.5: Bernoulli(p))
    >>> as_prior("coin(0.2)")
    Bernoulli(p=0.2)
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise ValueError(f"name must be lower-case letters, digits and hyphens, got {name!r}")
    if name in OURS:
        raise ValueError(f"name must not be that of a prior of the library, got {name!r}")
    NAMED[name] = make


OURS = frozenset(NAMED)


def as_prior(prior: Prior | str, *, name: str = "prior") -> Prior:
    """Return a prior from its name, or the prior itself.

    Parameters
    ----------
    prior : Prior or str
        A name with the arguments of its class in parentheses, ``"gaussian(0.4, 1)"``.
    name : str
        The argument's name, for the message of an error.

    Raises
    ------
    ValueError
        For an unknown name, which names the nearest one, and for a wrong argument.
    TypeError
        For an object without the methods of `Prior`.

    Examples
    --------
    >>> as_prior("gaussian(0.4)")
    Gaussian(mean=0.4, var=1)
    >>> as_prior("gausian")
    Traceback (most recent call last):
    ValueError: prior must be one of 'gaussian', ... got 'gausian'; did you mean 'gaussian'?
    """
    if not isinstance(prior, str):
        needed = ("log_z", "mean_cov", "moments", "sample", "rank")
        missing = [name for name in needed if not hasattr(prior, name)]
        if missing or inspect.isclass(prior):
            raise TypeError(
                f"{name}: a prior must have {', '.join(needed)}; {prior!r} "
                + ("is a class: call it" if inspect.isclass(prior) else f"lacks {missing}")
            )
        return prior
    match = re.fullmatch(r"\s*([\w-]+)\s*(?:\(([^)]*)\))?\s*", prior)
    family = match[1].lower() if match else prior
    check_choice(name, family, NAMED)
    assert match
    try:
        numbers = [float(item) for item in (match[2] or "").split(",") if item.strip()]
        return NAMED[family](*numbers)
    except (TypeError, ValueError) as error:
        signature = inspect.signature(NAMED[family])
        raise ValueError(f"{name} {prior!r}: {error}; {family} takes {signature}") from error


def as_priors(priors: Prior | str | Sequence[Prior | str], order: int) -> tuple[Prior, ...]:
    """Return one prior for each mode; a single one serves all modes.

    Raises
    ------
    ValueError
        For a sequence of another length than ``order``.

    Examples
    --------
    >>> len(as_priors("gaussian(0.4)", 3))
    3
    """
    check_count("order", order)
    if isinstance(priors, str) or not isinstance(priors, Sequence):
        return (as_prior(priors, name="priors"),) * order
    if len(priors) != order:
        raise ValueError(
            f"priors must be one prior, or one for each of the {order} modes, got {len(priors)}"
        )
    return tuple(as_prior(prior, name="priors") for prior in priors)
