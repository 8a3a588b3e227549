"""The audit recognizes chains, names causes, and says why where it predicts nothing."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from torch import nn

from tractable.spectra import Audit, audit, init_
from tractable.spectra.chain import trace


def chain(depth: int, width: int, activation=nn.Tanh) -> nn.Sequential:
    parts = [m for _ in range(depth) for m in (nn.Linear(width, width), activation())]
    return nn.Sequential(*parts)


class Residual(nn.Module):
    def __init__(self, width: int, scale: float = 1.0) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(width, width), scale

    def forward(self, x):
        return x + self.scale * torch.relu(self.layer(x))


def codes(found: Audit) -> set[str]:
    return {item.code for item in found.advice}


def test_functional_nonlinearities_are_found_by_their_values() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.c(torch.nn.functional.gelu(self.b(torch.sin(self.a(x)))))

    model, x = Plain(), torch.randn(7, 4)
    with torch.no_grad():
        found = trace(model, (x,))
    assert not found.reason
    assert found.readout
    assert [call.phi.name if call.phi else "" for call in found.layers] == ["sin", "gelu", ""]
    assert audit(model, x).predicted is not None


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (nn.Sequential(nn.Linear(4, 4), Residual(4), Residual(4)), "a residual connection"),
        (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 4)), "LayerNorm"),
        (nn.Sequential(*[nn.Linear(4, 4), nn.Tanh()] * 3), "used more than once"),
        (nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4), nn.Tanh()), "is not x itself"),
    ],
)
def test_what_is_no_chain_is_measured_with_a_reason(model, reason) -> None:
    found = audit(model, torch.randn(5, 4))
    assert found.predicted is None
    assert reason in found.reason
    assert "theory-not-applicable" in codes(found)
    assert found.blocks
    assert found.measured.n_in == 4


def test_measured_and_predicted_agree() -> None:
    # SIMULATION: moments of a finite network against products and sums over its layers
    torch.manual_seed(0)
    net, x = chain(10, 300), torch.randn(32, 300)
    report = init_(net, target_variance=0.5, input_batch=x)
    found = audit(net, x)
    assert found.predicted.mean == pytest.approx(1 / report.sigma_w**2, rel=0.05)
    assert found.predicted.relative_variance == pytest.approx(0.5, rel=0.05)
    assert found.semi_empirical.mean == pytest.approx(found.measured.mean, rel=0.05)
    assert found.measured.relative_variance == pytest.approx(0.5, rel=0.15)
    assert found.healthy
    assert found.layers[3].chi == pytest.approx(1, abs=0.05)
    assert found.layers[3].sigma_w == pytest.approx(report.sigma_w, rel=1e-5)
    assert found.layers[3].ortho_error < 1e-5


@pytest.mark.parametrize("widths", [(100, 100, 200), (100, 200, 100), (200, 100, 150)])
def test_the_mean_of_layers_of_different_widths(widths: tuple[int, ...]) -> None:
    # SIMULATION: on the smaller side of J, with the stretch of layers that widen
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise((100, *widths)):
        parts += [nn.Linear(n_in, n_out), nn.Tanh()]
    net, x = nn.Sequential(*parts), torch.randn(32, 100)
    init_(net, target_q=0.1, input_batch=x)
    found = audit(net, x)
    assert found.predicted.mean == pytest.approx(found.measured.mean, rel=0.05)
    assert found.semi_empirical.mean == pytest.approx(found.measured.mean, rel=0.05)


def test_a_classifier_is_measured_up_to_its_readout() -> None:
    net = nn.Sequential(nn.Linear(5, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 3))
    kept = {name: value.clone() for name, value in net.state_dict().items()}
    found = audit(net, torch.randn(6, 5))
    assert (found.measured.n_in, found.measured.n_out) == (20, 20)
    assert not net[-1]._forward_hooks, "the model is left as it was"
    assert all(torch.equal(kept[name], value) for name, value in net.state_dict().items())
    with_softmax = nn.Sequential(*net, nn.LogSoftmax(-1))
    assert audit(with_softmax, torch.randn(6, 5)).predicted is not None


def test_relu_is_named_with_its_smallest_variance() -> None:
    net, x = chain(12, 40, nn.ReLU), torch.randn(20, 40)
    init_(net, target_q=1.0, input_batch=x)
    found = {item.code: item for item in audit(net, x).advice}
    assert found["relu"].numbers["minimum"] == pytest.approx(12)
    assert "variance" in found
    assert "not-orthogonal" not in found
    assert found["variance"].numbers["predicted"] == pytest.approx(12, rel=0.25)


def test_dead_units_are_counted() -> None:
    net = chain(3, 10, nn.ReLU)
    net[2].bias.data[:4] = -100.0
    found = audit(net, torch.randn(50, 10))
    dead = next(item for item in found.advice if item.code == "dead-units")
    assert found.layers[1].dead >= 0.4
    assert "'2'" in dead.sentence


def test_runaway_q_is_named() -> None:
    net, x = chain(10, 60, nn.GELU), torch.randn(20, 60)
    with pytest.warns(UserWarning, match="unstable"):
        init_(net, target_q=0.5, input_batch=x)
    assert "q-unstable" in codes(audit(net, x))


def test_depth_beyond_what_signals_survive() -> None:
    net, x = chain(40, 60), torch.randn(20, 60)
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.orthogonal_(layer.weight, 0.8)
            nn.init.normal_(layer.bias, 0.0, 0.3)
    found = {item.code: item for item in audit(net, x).advice}
    assert found["too-deep"].numbers["xi_c"] < 5
    assert "gradients-vanish" in found


def test_convolutions_are_told_from_delta_orthogonal_ones() -> None:
    def conv_net() -> nn.Sequential:
        return nn.Sequential(
            *[m for _ in range(3) for m in (nn.Conv2d(4, 4, 3, padding=1), nn.Tanh())]
        )

    x = torch.randn(4, 4, 5, 5)
    net = conv_net()
    assert "conv-not-delta-orthogonal" in codes(audit(net, x))
    init_(net, input_batch=x)
    assert audit(net, x).healthy


def test_exploding_blocks_are_named() -> None:
    net = nn.Sequential(*[Residual(16, scale=8.0) for _ in range(6)])
    found = {item.code: item for item in audit(net, torch.randn(4, 16)).advice}
    assert found["gradients-explode"].numbers["product"] > 100


def test_json_and_dataset() -> None:
    for model in (chain(3, 8), nn.Sequential(Residual(8), Residual(8))):
        found = audit(model, torch.randn(6, 8))
        content = json.loads(found.json())
        assert content["measured"]["n_in"] == 8
        assert [item["code"] for item in content["advice"]] == [a.code for a in found.advice]
        again = Audit.from_dataset(found.to_dataset())
        assert str(again) == str(found)
        assert np.array_equal(again.measured.nodes, found.measured.nodes)
        assert len(again.layers) == len(found.layers)
        assert again.blocks == found.blocks
    with pytest.raises(ValueError, match="must hold an Audit"):
        Audit.from_dataset(found.to_dataset().assign_attrs(result="other"))


def test_bad_input_is_refused() -> None:
    with pytest.raises(TypeError, match=r"must be an nn\.Module, got function"):
        audit(lambda x: x, torch.ones(1, 2))
    with pytest.raises(ValueError, match="target must be > 0"):
        audit(nn.Linear(2, 2), torch.ones(1, 2), target=0.0)
    broken = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    broken[0].weight.data[:] = torch.nan
    with pytest.raises(FloatingPointError, match="first in layer '0'"):
        audit(broken, torch.ones(1, 2))


def test_without_layers() -> None:
    found = audit(chain(3, 8), torch.randn(6, 8), per_layer=False)
    assert found.layers == ()
    assert found.advice


def test_few_samples_are_no_evidence_of_dead_units() -> None:
    """At one input half of the units of a healthy ReLU network are off."""
    torch.manual_seed(0)
    model = chain(3, 40, nn.ReLU)
    for samples in (1, 2, 3):
        x = torch.randn(samples, 40)
        assert "dead-units" not in codes(audit(model, x, progress=False))
    with torch.no_grad():
        model[2].bias[:20] = -100.0
    assert "dead-units" in codes(audit(model, torch.randn(8, 40), progress=False))


def test_the_variance_of_a_chain_of_uneven_widths_is_predicted() -> None:
    """SIMULATION: beside the mean over sampled Jacobians."""
    torch.manual_seed(0)
    widths = [50, 300, 200, 250]
    parts = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), nn.Tanh())]
    model = nn.Sequential(*parts)
    init_(model, "gaussian", target_q=0.3)
    found = audit(model, torch.randn(4, 50), progress=False)
    for predicted in (found.predicted, found.semi_empirical):
        assert predicted is not None
        measured = found.measured.relative_variance
        assert predicted.relative_variance == pytest.approx(measured, rel=0.1)
