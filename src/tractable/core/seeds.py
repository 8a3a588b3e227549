"""Seeds: one integer decides everything random, and the caller's random state is left alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tractable.core.checks import check_count

if TYPE_CHECKING:
    import torch

__all__ = ["derive", "generator", "seeded"]


def derive(seed: int, *names: object) -> int:
    """Return an independent seed for each list of names, in ``[0, 2**63)``.

    Parameters
    ----------
    seed : int
        The run's seed.
    *names : object
        What the derived seed is for; their text is hashed.

    Examples
    --------
    >>> derive(0, "split") != derive(0, "training") != derive(1, "training")
    True
    """
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, device: str | torch.device = "cpu") -> torch.Generator:
    """Return a new ``torch.Generator`` on ``device`` seeded with ``seed``.

    Examples
    --------
    >>> import torch
    >>> torch.rand(1, generator=generator(3)) == torch.rand(1, generator=generator(3))
    tensor([True])
    """
    import torch

    check_count("seed", seed, 0)
    return torch.Generator(device=device).manual_seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed ``random``, ``numpy.random`` and torch inside the block; restore them after it.

    Examples
    --------
    >>> import torch
    >>> with seeded(0):
    ...     first = torch.rand(2)
    >>> with seeded(0):
    ...     second = torch.rand(2)
    >>> torch.equal(first, second)
    True
    """
    import random

    import numpy as np
    import torch

    check_count("seed", seed, 0)
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        _seed_torch(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


def _seed_torch(seed: int) -> None:
    """Seed torch's generators that exist here.

    `torch.manual_seed` also keeps a traceback for devices that may come later; in a sweep of
    short runs that is a large part of the work.
    """
    import torch

    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)
