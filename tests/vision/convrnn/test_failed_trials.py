"""A graph whose training goes NaN is a failed trial with its reason, and the search goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tractable.search import search
from tractable.studies.vision import _convrnn_parts as parts
from tractable.studies.vision.convrnn_graph import ConvrnnGraph


def test_nan_is_recorded_and_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaled = parts.scaled

    def spoiled(net: torch.nn.Module, factor: float) -> torch.nn.Module:
        if factor > 1.5:
            with torch.no_grad():
                net.head.weight.fill_(torch.nan)  # type: ignore[union-attr]  # a linear readout
        return scaled(net, factor)  # type: ignore[arg-type]  # a ConvRNN

    monkeypatch.setattr(parts, "scaled", spoiled)
    found = search(
        ConvrnnGraph.preset("smoke"), "validation_accuracy", maximize=True,
        over={"init_scale": "0.5:4.0"}, trials=5, sampler="random", out=tmp_path, progress=False,
    )  # fmt: skip
    failed = found.init_scale.values > 1.5
    assert 0 < failed.sum() < 5
    assert (found.state.values[failed] == "failed").all()
    assert all("NaN" in e or "nan" in e for e in found.error.values[failed].tolist())
    assert (found.state.values[~failed] == "complete").all()
