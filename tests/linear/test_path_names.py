"""Names written at the ends of paths stay legible where the paths end together."""

import numpy as np
from matplotlib.text import Text

from tractable.linear.plots import plot_trajectories


def test_names_at_the_ends_of_paths_do_not_overlap() -> None:
    ends = np.array([[-1.0, 0.0], [-1.0, 0.004], [-1.01, -0.004], [-0.99, 0.001], [1, 1], [1, -1]])
    frames = np.linspace(0, 1, 5)[:, None, None] * ends
    names = ["pine", "oak", "rose", "daisy", "robin", "salmon"]
    figure = plot_trajectories(frames, items=names)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == names
    # of the text alone: the line to the end of the path may pass by other names
    boxes = [Text.get_window_extent(text) for text in axes.texts]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i]), names[i]
