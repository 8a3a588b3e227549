"""The tasks: what is drawn is what is said."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tractable.dynamics.tasks import cued_sine, sine_cues


def test_the_cued_sine_turns_by_its_frequency_from_the_first_step() -> None:
    # SECOND FORMULA: the imaginary part of a number that is turned by 2 pi f at every step
    frequencies = (0.05, 0.11, 0.17)
    inputs, targets = cued_sine(40, 30, frequencies, seed=3)
    cues = sine_cues(3)
    assert sorted(set(inputs[:, 0, 0].tolist())) == pytest.approx(cues.tolist())
    assert (inputs == inputs[:, :1]).all()
    for cue, frequency in zip(cues, frequencies, strict=True):
        own = targets[(inputs[:, 0, 0] == cue), :, 0].double().numpy()
        turn = complex(math.cos(2 * math.pi * frequency), math.sin(2 * math.pi * frequency))
        wanted = np.cumprod(np.full(30, turn)).imag
        assert len(own) > 0
        assert np.abs(own - wanted).max() < 1e-5


def test_which_sequence_has_which_frequency_is_drawn_evenly() -> None:
    cue = cued_sine(3000, 1, (0.1, 0.2, 0.3), seed=0)[0][:, 0, 0]
    counts = torch.stack([(cue == c).sum() for c in sine_cues(3)]).tolist()
    assert sum(counts) == 3000
    assert all(abs(count - 1000) < 4 * math.sqrt(3000 * 2 / 9) for count in counts)
    assert not torch.equal(cue, cued_sine(3000, 1, (0.1, 0.2, 0.3), seed=1)[0][:, 0, 0])


@pytest.mark.parametrize(
    ("frequencies", "message"),
    [((), "frequencies must name at least one"), ((0.5,), "frequencies must be"), ((0.0,), "freq")],
)
def test_frequencies_that_a_sine_cannot_have_are_refused(
    frequencies: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        cued_sine(2, 5, frequencies)
