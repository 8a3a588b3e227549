"""Any theory's dataset becomes a picture that can be read."""

from __future__ import annotations

import io

import numpy as np
import pytest
import xarray as xr

from tractable.explore import draw, quantities, scalars


def dataset() -> xr.Dataset:
    random = np.random.default_rng(0)
    units = {"units": "ms"}
    return xr.Dataset(
        {
            "number": ((), 3.0),
            "named": (("net",), [1.0, 2.0], units),
            "curve": (("t",), np.linspace(0, 1, 30), units),
            "family": (("net", "t"), random.random((2, 30)), units),
            "many": (("row", "t"), random.random((40, 30)), units),
            "image": (("x", "t"), random.random((50, 30)), units),
            "three": (("net", "row", "t"), random.random((2, 40, 30)), units),
            "table": (("net", "row"), random.random((2, 40)), units),
            "flag": (("t",), np.arange(30) > 9, units),
            "text": (("net",), ["a", "b"]),
        },
        coords={"t": np.geomspace(1, 1000, 30), "net": ["deep", "wide"], "x": np.arange(50.0)},
    )


def test_numbers_and_curves_are_told_apart() -> None:
    found = quantities(dataset())
    assert set(found) == {"named", "curve", "family", "many", "image", "three", "table", "flag"}
    assert set(found[-2:]) == {"named", "table"}  # those without a numeric axis come last
    assert scalars(dataset()) == {"number": 3.0}


@pytest.mark.parametrize("name", quantities(dataset()))
def test_every_shape_is_drawn_with_named_axes(name: str) -> None:
    figure = draw(dataset(), name)
    figure.savefig(io.BytesIO(), format="svg")
    assert figure.get_label()
    first = figure.axes[0]
    assert first.get_xlabel()
    assert first.get_ylabel()


def test_lines_show_the_numbers_and_the_spacing() -> None:
    data = dataset()
    axes = draw(data, "family").axes[0]
    assert axes.get_xscale() == "log"
    for line, row in zip(axes.lines, data.family.values, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), row)
        np.testing.assert_array_equal(line.get_xdata(), data.t.values)
    assert axes.get_ylabel() == "family (ms)"


def test_an_unknown_quantity_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"name must be one of .*curve.*, got 'kurve'"):
        draw(dataset(), "kurve")
