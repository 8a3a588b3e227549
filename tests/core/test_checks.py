"""Input checks and progress."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tractable.core.checks import check_choice, check_finite, check_range, check_shape
from tractable.core.progress import track
from tractable.core.seeds import derive, seeded


@pytest.mark.parametrize("value", [np.array([1, np.inf]), torch.tensor([0.0, torch.nan])])
def test_arrays_and_tensors_are_refused_alike(value: object) -> None:
    with pytest.raises(ValueError, match=r"x must be finite, got 1 of 2 .* index \(1,\)"):
        check_finite("x", value)


def test_a_nan_is_never_in_range() -> None:
    with pytest.raises(ValueError, match="gain must be a number, got nan"):
        check_range("gain", float("nan"))


def test_open_ends() -> None:
    check_range("p", 0.0, low=0)
    with pytest.raises(ValueError, match="p must be > 0 and < 1, got 0"):
        check_range("p", 0.0, low=0, high=1, open_low=True, open_high=True)


def test_choices_and_shapes() -> None:
    check_choice("kind", "slow", ["root", "slow"])
    check_shape("x", (3, 4), ("n", 4))
    with pytest.raises(ValueError, match=r"x must have shape \(n,\), got \(3, 4\)"):
        check_shape("x", (3, 4), ("n",))


def test_track_passes_items_through_and_stops_its_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    from tractable.core import progress

    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(progress, "QUIET_SECONDS", -1.0)
    assert list(track((i for i in range(4)), "work")) == [0, 1, 2, 3]
    with pytest.raises(ZeroDivisionError):
        list(track((1 // (2 - i) for i in range(4)), "work"))


def test_seeds_are_restored_and_independent() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    with seeded(1):
        torch.rand(3), np.random.rand(3)  # noqa: NPY002
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002
    assert len({derive(0, "a", i) for i in range(1000)}) == 1000
