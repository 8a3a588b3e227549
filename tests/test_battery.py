"""No bad argument passes unseen, and every refusal names the argument."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tractable.core.processes import load_file

battery = load_file(Path(__file__).parent / "battery.py")
ROOMS = (
    "core.gaussian",
    "core.nonlinearity",
    "core.seeds",
    "data",
    "dynamics",
    "linear",
    "spectra",
    "spiking",
    "tensors",
    "train",
    "vision.convrnn",
    "vision.retina",
    "walkback",
)
SYSTEMS = [room for room in ROOMS if not room.startswith(("core.", "data", "train"))]
SHAPES = ("empty", "one more axis", "transposed")
# What is let through on purpose, and why.
ALLOWED = {
    r"(\.(forward|recurrent_jacobian|orbit|deriv)|^surrogate_derivative)\("
    r"(x|h|v|state|inputs|tokens|spikes)=": "a network in use: NaN passes as in torch",
    r"^Cell\.init_state\(": "only the shape of x is read",
    r"^(Node|ConvRNNSpec\.(chain|feedback))\(": "a graph in the making: validate refuses it",
    r"^(Recordings\.from_trials|bootstrap_median)\(values=nan\)": "NaN is what was not recorded",
    r"^spearman_brown\(correlation=nan\)": "NaN, of what does not vary, stays NaN",
    r"^crossing_times\(target=nan\)": "a target that is not known is never reached",
    r"\.mean_cov\(": "a prior inside the iteration: checked once, at its start",
    r"^(Bernoulli|Gaussian)(Operator|Prior)\.(log_prob|mean|std)\(s(_next)?=(nan|inf)\)": (
        "a law on tensors inside a walk: NaN passes as in torch; walks check their start"
    ),
    r"^SpectralLaw\.cdf\(lam=inf\)": "the distribution is 1 at infinity",
    r"^(amp|detectability|prepare|rank_scan)\(Y=nan\)": "NaN is a missing entry",
    r"^category_coherence\(Y=": "the items and features that are named do not exist any more",
    r"^gaussian_structure\(name=": "any name of one's own",
    r"^(Local(Conv2d|Norm)\.forward\((x|u)|rectification_cap\(active)=(nan|inf)\)": (
        "an image or a share that is not known: NaN passes"
    ),
    r"^(bootstrap_fields\(ensemble|(classify_rf|fit_dog|fit_gabor|opposite_ratio|orientation|"
    r"radial_fraction|radial_profile)\(rf|pairwise_cosine\(fields)=nan\)": (
        "NaN marks a silent cell"
    ),
    r"^Nonlinearity\.deriv\(x=(nan|inf)\)": "a function of numbers: NaN stays NaN",
    r"^seeded\(": "a block that is not entered here: it is refused there",
    r"^Prepared\.inverse\(values=(nan|inf)\)": "a missing entry stays missing",
}


@pytest.mark.parametrize("room", ROOMS)
def test_every_bad_argument_is_refused_by_name(room: str) -> None:
    calls = battery.record(f"tractable.{room}")
    tried, missed = 0, []
    for call in calls:
        for name, word, bad in battery.attempts(call):
            found = battery.attempt(call, name, word, bad)
            tried += 1
            taken = found.verdict == "accepted" and word in SHAPES
            if found.verdict == "ok" or taken or any(re.search(p, found.call) for p in ALLOWED):
                continue
            missed.append(f"{found.verdict}: {found.call}: {found.said}")
    assert tried > (100 if room in SYSTEMS else 1)
    assert not missed, f"{len(missed)} of {tried}:\n" + "\n".join(missed)


def test_the_battery_sees_a_hole() -> None:
    def careless(count: int, kind: str) -> str:
        return kind * int(count)

    call = battery.Call(
        "careless",
        careless,
        None,
        {"count": 2, "kind": "a"},
        dict.fromkeys(("count", "kind")),
        {"count": int},
    )
    found = [battery.attempt(call, *one) for one in battery.attempts(call)]
    verdicts = {one.call: one.verdict for one in found}
    assert verdicts == {
        "careless(count=negative)": "accepted",
        "careless(count=nan)": "unnamed",
        "careless(count=fraction)": "accepted",
        "careless(count=text)": "unnamed",
        "careless(kind=unknown name)": "accepted",
    }
