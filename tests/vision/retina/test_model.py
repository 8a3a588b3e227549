"""The model family: shapes, names, options, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tractable.vision.retina import LocalConv2d, LocalNorm, RetinaVVS, activations, parameter_count
from tractable.vision.retina.model import multiplications, weights_of

SMALL = {
    "kernel": 3,
    "retina_channels": 4,
    "vvs_channels": 5,
    "head": (7, 3),
    "in_shape": (1, 8, 8),
}


@pytest.mark.parametrize("retina_layers", [0, 1, 2, 3])
@pytest.mark.parametrize("d_vvs", [0, 1, 4])
def test_layers_and_logits(retina_layers: int, d_vvs: int) -> None:
    model = RetinaVVS(2, d_vvs, retina_layers=retina_layers, **SMALL)
    retina = [f"retina_{i}" for i in range(1, retina_layers + 1)]
    vvs = [f"vvs_{i}" for i in range(1, d_vvs + 1)]
    assert model.layer_names == [*retina, *vvs, "fc1", "fc2"]
    assert model.bottleneck == (retina[-1] if retina else None)
    assert model(torch.rand(4, 1, 8, 8)).shape == (4, 3)


@pytest.mark.parametrize(
    "options",
    [
        {"tied": False},
        {"tied": "bottleneck"},
        {"norm": "local"},
        {"norm": "batch"},
        {"lgn_layers": 2},
        {"stride": 2},
        {"stride": 2, "tied": False},
        {"bias": False},
        {"pool": 4},
        {"in_shape": (3, 8, 8)},
    ],
)
def test_every_option_runs_and_has_gradients(options: dict) -> None:
    model = RetinaVVS(2, 1, **{**SMALL, **options})
    model(torch.rand(3, *model.in_shape)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    if options.get("bias") is False:
        assert weights_of(model, "retina_2").bias is None


def test_stride_shrinks_the_map_of_the_retina() -> None:
    model = RetinaVVS(2, 1, stride=2, **SMALL)
    found = model.activations(torch.rand(1, 1, 8, 8), ["retina_1", "retina_2", "vvs_1"])
    assert [tuple(u.shape[1:]) for u in found.values()] == [(4, 8, 8), (2, 4, 4), (5, 4, 4)]


def test_initial_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = RetinaVVS(1, 1, seed=3, **SMALL).state_dict()
    torch.manual_seed(2)
    two = RetinaVVS(1, 1, seed=3, **SMALL).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    other = RetinaVVS(1, 1, seed=4, **SMALL).state_dict()
    assert not torch.equal(one["vvs_1.conv.weight"], other["vvs_1.conv.weight"])


def test_reset_of_one_layer_leaves_the_others() -> None:
    model = RetinaVVS(1, 1, **SMALL)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.reset(9, ["retina_2"])
    changed = [name for name, value in model.state_dict().items() if (value != before[name]).any()]
    assert changed == ["retina_2.conv.weight"]


def test_multiplications_of_a_published_step() -> None:
    # 9 x 9 x 32 x 32 kernels at 1024 places: 85 million of the second layer behind the bottleneck
    assert (
        multiplications(RetinaVVS(1, 2)) - multiplications(RetinaVVS(1, 1)) == 81 * 32 * 32 * 1024
    )


def test_local_normalization_divides_by_the_neighborhood() -> None:
    u = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    norm = LocalNorm(3, side=3, sigma=0.5).double()
    block = u[1, :, 3:6, 2:5]
    expected = u[1, 2, 4, 3] / torch.sqrt(0.25 + block.square().mean())
    assert torch.allclose(norm(u)[1, 2, 4, 3], expected)


def test_local_convolution_is_not_shared() -> None:
    layer = LocalConv2d(1, 1, 3, (6, 6))
    y = layer(torch.ones(1, 1, 6, 6))
    assert y[0, 0, 1:-1, 1:-1].std() > 0
    assert layer.kernels().shape == (6, 6, 1, 1, 3, 3)
    with pytest.raises(ValueError, match="6 x 6, got \\(5, 6\\)"):
        layer(torch.ones(1, 1, 5, 6))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_bn": 0}, "n_bn must be >= 1"),
        ({"kernel": 4}, "kernel must be odd.*got 4"),
        ({"d_vvs": -1}, "d_vvs must be >= 0"),
        ({"norm": "layer"}, "norm must be one of"),
        ({"tied": "all"}, "tied must be one of"),
        ({"pool": 3}, "pool must divide the map of 8 x 8, got 3"),
        ({"noise_in": -0.1}, "noise_in must be >= 0"),
        ({"retina_layers": 0, "lgn_layers": 1}, "lgn_layers needs a retina"),
        ({"in_shape": (8, 8)}, "in_shape must be"),
        ({"head": ()}, "head must name"),
    ],
)
def test_bad_arguments_are_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RetinaVVS(**{"n_bn": 1, "d_vvs": 1, **SMALL, **change})


def test_bad_images_are_named() -> None:
    model = RetinaVVS(1, 1, **SMALL)
    with pytest.raises(ValueError, match=r"\(B, 1, 8, 8\), got \(1, 8, 8\); add a first dimension"):
        model(torch.rand(1, 8, 8))
    with pytest.raises(TypeError, match="divide by 255"):
        model(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))
    bad = torch.rand(2, 1, 8, 8)
    bad[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="images must be finite, got 1 of 128"):
        activations(model, "vvs_1", bad)


def test_counts_name_every_layer() -> None:
    model = RetinaVVS(1, 1, norm="batch", **SMALL)
    counts = parameter_count(model)
    assert counts["total"] == sum(v for k, v in counts.items() if k != "total")
    assert counts["retina_2"] == 3 * 3 * 4 + 1 + 2
    assert isinstance(weights_of(model, "fc1"), nn.Linear)
