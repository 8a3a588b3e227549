"""Priors as text, for files: the class and its numbers."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tractable.tensors.priors import Prior

__all__ = ["prior_from_text", "prior_in_words", "prior_to_text"]

KNOWN = (
    *("Bernoulli", "Discrete", "Exponential", "GaussBernoulli", "Gaussian", "Rademacher"),
    "TruncatedGaussian",
)


def prior_to_text(prior: Any) -> str:
    """Return JSON of one of the library's priors; of one's own the name alone.

    Examples
    --------
    >>> from tractable.tensors import Gaussian
    >>> prior_to_text(Gaussian(0.5))
    '{"class": "Gaussian", "mean": 0.5, "var": 1.0, "cov": null}'
    """
    name = type(prior).__name__
    if name not in KNOWN or not is_dataclass(prior):
        return json.dumps({"class": name})
    names = [f.name for f in fields(prior)]
    numbers = {own: _plain(getattr(prior, own)) for own in names}
    return json.dumps({"class": name, **numbers})


def prior_from_text(text: str) -> Prior | None:
    """Return the prior that `prior_to_text` wrote, None where it is none of the library's.

    Examples
    --------
    >>> prior_from_text('{"class": "Gaussian", "mean": 0.5, "var": 1.0, "cov": null}')
    Gaussian(mean=0.5, var=1)
    """
    from tractable.tensors import priors

    values = json.loads(text)
    name = values.pop("class")
    return getattr(priors, name)(**values) if name in KNOWN and values is not None else None


def prior_in_words(prior: Any) -> str:
    """Return the class of a prior and its numbers, to be read.

    Examples
    --------
    >>> from tractable.tensors import Gaussian, TruncatedGaussian
    >>> prior_in_words(Gaussian(0.5))
    'Gaussian, mean 0.5, var 1'
    >>> prior_in_words(TruncatedGaussian(0, 1 - 1e-15, factorized=True))
    'TruncatedGaussian, mean 0, var 1, factorized'
    """
    values = json.loads(prior_to_text(prior))
    words = [str(values.pop("class"))]
    for name, value in values.items():
        if value is True:
            words.append(name)
        elif value is not None and value is not False:
            numbers = [f"{number:.4g}" for number in np.ravel(value)]
            shown = numbers[0] if np.ndim(value) == 0 else f"[{', '.join(numbers)}]"
            words.append(f"{name} {shown}")
    return ", ".join(words)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return np.asarray(value).tolist()
