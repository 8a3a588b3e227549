"""Pictures: they draw what they are given, and refuse what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from tractable import plot
from tractable.walkback.plots import (
    bound_terms,
    chain_grid,
    current_quiver,
    heat_and_walk,
    length_curve,
    level_curves,
    sample_grid,
    scatter,
    training_curves,
)


def test_a_grid_holds_every_image_in_its_place() -> None:
    images = np.arange(7)[:, None, None] / 7 * np.ones((7, 3, 2))
    figure = sample_grid(images, columns=3, invert=False)
    sheet = figure.axes[0].images[0].get_array()
    assert sheet is not None
    assert sheet.shape == (11, 8)  # three rows of three images with gaps of one pixel
    assert sheet[4, 3] == pytest.approx(4 / 7)  # the fifth image
    assert np.isnan(np.ma.filled(sheet[3].astype(float), np.nan)).all()


def test_color_images_may_have_the_channel_first() -> None:
    figure = sample_grid(np.random.default_rng(0).random((4, 3, 5, 5)), columns=2)
    assert figure.axes[0].images[0].get_array().shape == (11, 11, 3)
    with pytest.raises(ValueError, match="images must have shape"):
        sample_grid(np.zeros((4, 2, 5, 5)))


def test_chains_are_rows_and_times_are_named() -> None:
    figure = chain_grid(np.zeros((2, 3, 1, 4, 4)), ["a", "b", "c"], axis_label="time")
    labels = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert labels == ["a", "b", "c"]
    with pytest.raises(ValueError, match="labels must name the 3 times, got 2"):
        chain_grid(np.zeros((2, 3, 4, 4)), ["a", "b"])


def test_paths_and_fields_draw_in_given_axes() -> None:
    states = np.random.default_rng(0).normal(size=(3, 20, 2))
    figure = heat_and_walk(states, states, ["1", "2", "3"])
    assert len(figure.axes) == 6
    with pytest.raises(ValueError, match="the same length"):
        heat_and_walk(states, states[:2], ["1", "2", "3"])
    edges = np.linspace(-1, 1, 6)
    figure, ax = plot.new()
    assert current_quiver(edges, edges, np.ones((5, 5)), np.zeros((5, 5, 2)), ax=ax) is figure
    assert scatter(states[0], ax=ax) is figure


def test_theory_is_a_line_and_measurement_a_marker() -> None:
    temperature = 1.5 ** np.arange(6)
    figure = bound_terms(temperature, np.ones(6), error=np.ones(6), exact=np.ones(6))
    drawn = {(line.get_linestyle(), line.get_marker()) for line in figure.axes[0].lines}
    assert {("-", "None"), ("None", "o")} <= drawn
    level_curves(temperature, np.ones((6, 2)), np.ones((6, 2)), components=(0, 1), scales=[1, 1])
    length_curve([0, 10], {"a": [1, 2]}, errors={"a": [0.1, 0.1]}, levels={"b": 1.0}, trained=5)
    figure = training_curves([1, 10], {"bound": [1, 2], "sigma": [3, 4]}, units={"bound": "nats"})
    assert figure.axes[0].get_ylabel() == "bound, nats"
