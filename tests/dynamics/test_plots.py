"""Pictures: what is drawn is what was given, P = 0 and P = 1 pass, bad input is named."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy import special
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score

from tractable.dynamics import plots
from tractable.dynamics.plots import canvas

N, V = 5, 7


def inputs(P: int, seed: int = 0) -> dict[str, tuple[tuple[Any, ...], dict[str, Any]]]:
    """Return positional and keyword arguments of every function for P points."""
    rng = np.random.default_rng(seed)
    theta = np.linspace(-1, 1, P) if P > 1 else np.zeros(P)
    eigvals = rng.normal(size=(P, N)) + 1j * rng.normal(size=(P, N))
    states = rng.normal(size=(20, N))
    words = [f"word{i}" for i in range(P)]
    groups = (["positive", "neutral", "negative"] * P)[:P]
    return {
        "plot_state_space": (
            (states, rng.normal(size=(P, N))),
            {
                "labels": np.arange(20) % 2,
                "theta": theta,
                "roots": rng.normal(size=(P, N)),
                "stability": ["stable", "saddle(1)", "marginal"][:P],
                "readout": rng.normal(size=N),
                "trajectories": [rng.normal(size=(4, N))],
            },
        ),
        "plot_eigenvalues": ((eigvals,), {"theta": theta}),
        "plot_spectrum_along": ((theta, eigvals), {}),
        "plot_time_constants": (
            (theta, rng.exponential(size=(P, N))),
            {"unstable": np.abs(eigvals) > 1, "length": 3.0},
        ),
        "plot_input_effects": ((rng.normal(size=P), rng.normal(size=P)), {"words": words}),
        "plot_valence": ((rng.normal(size=(P, P)), groups), {}),
        "plot_alignment": ((rng.uniform(-1, 1, size=P), N), {}),
        "plot_one_step_error": (({"linear": rng.exponential(size=P)},), {}),
        "plot_logits": ((rng.normal(size=P), {"linear": rng.normal(size=P)}), {}),
        "plot_decay": (
            (np.arange(6), rng.uniform(size=(P, 6)), rng.uniform(size=(P, 6))),
            {"theta": theta},
        ),
        "plot_speed_scan": (
            (10.0 ** -np.arange(4, 4 + P), np.arange(P)),
            {"pc1": rng.uniform(size=P), "q": 10.0 ** -rng.uniform(4, 9, size=P)},
        ),
        "plot_comparison": ((rng.uniform(1, 2, size=(2, P)), np.ones((2, P))), {}),
        "plot_root_graph": (
            (rng.normal(size=(P, 2)), np.arange(P), np.zeros((P, 2))),
            {},
        ),
        "plot_input_plane": ((rng.normal(size=(P, N)), rng.normal(size=N)), {"groups": groups}),
    }


def draw(figure: Figure) -> None:
    FigureCanvasAgg(figure).draw()


def texts(figure: Figure) -> list[str]:
    legend = figure.axes[0].get_legend()
    return [text.get_text() for text in legend.get_texts()]


NAMES = sorted(plots.__all__)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("P", [0, 1])
def test_every_picture_is_drawn_for_any_number_of_points(name: str, P: int) -> None:
    args, options = inputs(P)[name]
    figure = getattr(plots, name)(*args, **options)
    assert isinstance(figure, Figure)
    draw(figure)
    ax = figure.axes[0]
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert figure.get_label().endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_given_axes_are_used_and_keep_their_caption_and_settings(name: str) -> None:
    args, options = inputs(3)[name]
    before = dict(mpl.rcParams)
    figure = Figure()
    figure.set_label("mine")
    ax = figure.subplots()
    assert getattr(plots, name)(*args, ax=ax, **options) is figure
    assert figure.get_label() == "mine"
    assert ax.get_xlabel()
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", NAMES)
def test_tensors_and_arrays_give_the_same_picture(name: str) -> None:
    def tensors(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return torch.from_numpy(value).requires_grad_(value.dtype.kind in "fc")
        return {k: tensors(v) for k, v in value.items()} if isinstance(value, dict) else value

    pictures = []
    for convert in (lambda value: value, tensors):
        args, options = inputs(3)[name]
        figure = getattr(plots, name)(*map(convert, args), **convert(options))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="raw", dpi=50)
        pictures.append(buffer.getvalue())
    assert pictures[0] == pictures[1]


def _arrays(name: str) -> list[tuple[int | str, str | None]]:
    args, options = inputs(3)[name]
    found: list[tuple[int | str, str | None]] = []
    for key, value in (*enumerate(args), *options.items()):
        if isinstance(value, np.ndarray) and value.dtype.kind in "fc":
            found.append((key, None))
        elif isinstance(value, dict):
            found += [(key, inner) for inner in value]
    return found


CASES = [(name, *where) for name in NAMES for where in _arrays(name)]


def _spoil(name: str, key: int | str, inner: str | None, bad: Callable[[Any], Any]) -> Any:
    args, options = inputs(3)[name]
    args = list(args)
    place: Any = args if isinstance(key, int) else options
    if inner is None:
        place[key] = bad(place[key])
    else:
        place[key] = {**place[key], inner: bad(place[key][inner])}
    return getattr(plots, name)(*args, **options)


@pytest.mark.parametrize(("name", "key", "inner"), CASES)
def test_nan_is_refused(name: str, key: int | str, inner: str | None) -> None:
    def bad(value: np.ndarray) -> np.ndarray:
        value = value.copy()
        value.flat[-1] = np.nan
        return value

    with pytest.raises(ValueError, match="NaN"):
        _spoil(name, key, inner, bad)


@pytest.mark.parametrize(("name", "key", "inner"), CASES)
def test_wrong_shapes_are_refused(name: str, key: int | str, inner: str | None) -> None:
    with pytest.raises(ValueError, match="must have shape"):
        _spoil(name, key, inner, lambda value: value[..., None, None])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.plot_state_space(np.zeros((0, 3))), "at least one state"),
        (lambda: plots.plot_state_space(np.eye(3), np.eye(4)), r"points must have shape \(P, 3\)"),
        (lambda: plots.plot_state_space(np.eye(3), labels=[0, 1, 2]), r"labels must be in 0\.\.1"),
        (lambda: plots.plot_state_space(np.eye(3), bias=1.0), "bias needs readout"),
        (
            lambda: plots.plot_state_space(np.eye(3), roots=np.eye(3), stability=["stable"] * 2),
            "stability must have shape",
        ),
        (
            lambda: plots.plot_state_space(np.eye(3), roots=np.eye(3), stability=["saddle"] * 3),
            r"'saddle\(k\)', got 'saddle'",
        ),
        (lambda: plots.plot_time_constants([0.0], [[-1.0]]), "tau must be >= 0, got -1"),
        (lambda: plots.plot_time_constants([0.0], [[1.0]], length=0), "length must be > 0"),
        (lambda: plots.plot_spectrum_along([0.0], [[1.0]], n=0), "n must be >= 1"),
        (lambda: plots.plot_input_effects([0.0], [0.0], words=[]), "words must have shape"),
        (lambda: plots.plot_valence([0.0], ["a"], kind="violin"), "kind must be one of"),
        (lambda: plots.plot_alignment([1.1], 4), r"cosines must be in \[-1, 1\]"),
        (lambda: plots.plot_alignment([0.1], 1), "n_state must be >= 2"),
        (lambda: plots.plot_one_step_error({"a": [-0.1]}), r"errors\['a'\] must be >= 0"),
        (lambda: plots.plot_speed_scan([0.0], [1]), "tol must be > 0"),
        (lambda: plots.plot_speed_scan([1e-4], [1], q=[-1.0]), "q must be >= 0"),
        (lambda: plots.plot_speed_scan([1e-4], [1], q_convention="sum"), "q_convention must be"),
        (lambda: plots.plot_speed_scan([1e-4], [5], pc1=[np.nan]), "pc1 must be a number where"),
        (lambda: plots.plot_input_plane(np.eye(3), np.zeros(3)), "left must not be zero"),
        (lambda: plots.plot_input_plane(np.eye(3), [1, 1j, 0]), "left must be real"),
        (lambda: plots.plot_logits([0.0], {"a": [0.0, 1.0]}), "must have shape"),
    ],
)
def test_refusals_name_the_argument(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.plot_logits([0.0], [0.0]), "predicted must map names to arrays"),
        (lambda: plots.plot_one_step_error([0.1]), "errors must map names to arrays"),
        (lambda: plots.plot_valence([0.0], "a"), "groups must be a sequence"),
        (lambda: plots.plot_eigenvalues(["a"]), "eigvals must hold numbers"),
        (lambda: plots.plot_alignment(None, 4), "cosines must be an array, got None"),
    ],
)
def test_wrong_types_are_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


def test_import_is_light_and_pyplot_stays_out() -> None:
    code = """
import sys
from tractable.dynamics import plots
assert "matplotlib" not in sys.modules, "import"
plots.plot_eigenvalues([0.5])
assert "matplotlib.pyplot" not in sys.modules, "pyplot"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# State space -------------------------------------------------------------------------------------


def test_components_are_those_of_another_pca() -> None:
    """INDEPENDENT: scikit-learn's components and variance shares."""
    rng = np.random.default_rng(1)
    states = rng.normal(size=(200, N)) * np.array([5, 3, 1, 0.5, 0.1]) @ rng.normal(size=(N, N))
    points = rng.normal(size=(4, N))
    figure = plots.plot_state_space(states, points, max_states=50)
    pca = PCA(2).fit(states)
    cloud, _, drawn = figure.axes[0].collections[:3]
    assert np.abs(np.asarray(drawn.get_offsets())) == pytest.approx(
        np.abs(pca.transform(points)), rel=1e-9
    )
    assert len(cloud.get_offsets()) == 50
    assert (
        figure.axes[0].get_xlabel().startswith(f"PC1 ({100 * pca.explained_variance_ratio_[0]:.1f}")
    )
    assert (
        figure.axes[0].get_ylabel().startswith(f"PC2 ({100 * pca.explained_variance_ratio_[1]:.1f}")
    )


def test_readout_line_is_where_the_readout_vanishes() -> None:
    """IDENTITY: states of the plane on the line have w h + b = 0; the arrow is normal to it."""
    rng = np.random.default_rng(2)
    states = rng.normal(size=(300, N)) * np.array([4, 2, 0.5, 0.2, 0.1]) + 0.3
    w, b = np.array([-1.0, 0.7, 0.3, 0.1, 0.0]), 0.4
    ax = plots.plot_state_space(states, readout=w, bias=b).axes[0]
    line = next(line for line in ax.lines if line.get_label() == "readout = 0")
    mean, axes, _ = canvas.principal_axes(states)
    axes[0] *= np.sign(w @ axes[0])
    on_line = np.array([line.get_xy1(), line.get_xy2()])
    assert (mean + on_line @ axes) @ w + b == pytest.approx(0, abs=1e-12)
    arrow = next(text for text in ax.texts if text.arrow_patch is not None)
    direction = np.array(arrow.xy) - np.array(arrow.xyann)
    assert direction @ (on_line[1] - on_line[0]) == pytest.approx(0, abs=1e-12)
    assert direction @ (axes @ w) > 0


def test_labels_color_states_and_both_codings_agree() -> None:
    states = np.random.default_rng(3).normal(size=(30, N))
    signs = np.where(np.arange(30) < 10, -1, 1)
    drawn = []
    for labels in (signs, signs > 0, (signs + 1) // 2):
        cloud = plots.plot_state_space(states, labels=labels).axes[0].collections[0]
        drawn.append(cloud.get_facecolors()[:, :3])
    assert np.array_equal(drawn[0], drawn[1])
    assert np.array_equal(drawn[0], drawn[2])
    negative = [to_hex(color) == canvas.ORANGE.lower() for color in drawn[0]]
    assert sum(negative) == 10


def test_degenerate_states_are_drawn() -> None:
    for states in (np.ones((1, 3)), np.ones((4, 3)), np.arange(4.0)[:, None]):
        draw(plots.plot_state_space(states, states[:1], readout=np.ones(states.shape[1]), bias=0.0))


# Modes -------------------------------------------------------------------------------------------


def test_growing_eigenvalues_are_hollow() -> None:
    ax = plots.plot_eigenvalues([0.5, 1.2, 1.0, -1.1j]).axes[0]
    points = ax.collections[0]
    values = points.get_offsets() @ np.array([1, 1j])
    assert sorted(np.abs(values)) == pytest.approx([0.5, 1.0, 1.1, 1.2])
    hollow = points.get_facecolors()[:, 3] == 0
    assert np.array_equal(hollow, np.abs(values) > 1 + 1e-9)


def test_spectrum_takes_the_largest_moduli_in_any_order() -> None:
    theta = [-1.0, 1.0]
    ax = plots.plot_spectrum_along(theta, [[0.1, -0.9, 0.5], [0.95, 0.2, 1.3]], n=2).axes[0]
    heights = [
        part.get_offsets()[:, 1].tolist() for part in ax.collections if len(part.get_offsets())
    ]
    assert heights == [[0.9, 1.3], [0.5, 0.95]]


def test_infinite_zero_and_growing_time_constants() -> None:
    tau = [[np.inf, 3.0], [20.0, 0.0], [30.0, 4.0]]
    unstable = [[False, False], [True, False], [False, False]]
    figure = plots.plot_time_constants([-1, 0, 1], tau, unstable=unstable, length=10)
    ax = figure.axes[0]
    drawn = {
        (line.get_marker(), x, y): line.get_markerfacecolor()
        for line in ax.lines
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
        if line.get_marker() in ("o", "^", "v")
    }
    assert ("^", -1.0, 0.985) in drawn
    assert ("v", 0.0, 0.015) in drawn
    assert drawn["o", 0.0, 20.0] == "none"
    assert drawn["o", 1.0, 30.0] == canvas.BLUE
    assert len(drawn) == 6
    assert ax.get_ylim()[1] > 30
    assert texts(figure)[-4:] == ["median length, 10", "growing", "infinite", "zero"]


# The slow mode -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 64, 256])
def test_null_of_the_alignment(n: int) -> None:
    """INDEPENDENT: the closed form of the density, its mean; SIMULATION: the 99 % quantile."""
    figure = plots.plot_alignment([0.5], n)
    null, quantile = (line for line in figure.axes[0].lines)
    c, density = null.get_data()
    log_norm = special.gammaln(n / 2) - special.gammaln((n - 1) / 2) - 0.5 * np.log(np.pi)
    closed = 2 * np.exp(log_norm + 0.5 * (n - 3) * np.log1p(-(c**2)))
    assert density == pytest.approx(closed, rel=1e-9)
    rest = density[-1] * (1 - c[-1])
    assert np.trapezoid(density, c) + rest == pytest.approx(1, abs=2e-4)
    mean = np.exp(special.gammaln(n / 2) - special.gammaln((n + 1) / 2)) / np.sqrt(np.pi)
    assert np.trapezoid(c * density, c) + rest == pytest.approx(mean, rel=1e-3)
    x = np.random.default_rng(0).normal(size=(20_000, n))
    cosines = np.abs(x[:, 0]) / np.linalg.norm(x, axis=1)
    above = np.mean(cosines > quantile.get_xdata()[0])
    assert above == pytest.approx(0.01, abs=4 * np.sqrt(0.01 * 0.99 / 20_000))


def test_histogram_of_the_alignment_has_unit_area() -> None:
    """IDENTITY."""
    cosines = np.random.default_rng(0).uniform(-1, 1, 500)
    stairs = plots.plot_alignment(cosines, 10).axes[0].patches[0]
    height, edges, _ = stairs.get_data()
    assert height @ np.diff(edges) == pytest.approx(1)
    assert height[-1] == pytest.approx(np.mean(np.abs(cosines) >= 0.96) / 0.04)


def test_decay_draws_theory_as_lines_and_measurement_as_markers() -> None:
    k = np.arange(40)
    rates = np.array([0.9, 0.95, 0.99])
    theory = rates[:, None] ** k
    ax = plots.plot_decay(k, theory + 0.01, theory, theta=[0.5, -0.5, 0.0]).axes[0]
    lines = [
        line for line in ax.lines if line.get_linestyle() == "-" and len(line.get_xdata()) == 40
    ]
    assert [line.get_ydata()[1] for line in lines] == [0.95, 0.99, 0.9]  # by theta
    marks = [container.lines[0] for container in ax.containers]
    for line, mark in zip(lines, marks, strict=True):
        at = mark.get_xdata().astype(int)
        assert {0, 39} <= set(at)
        assert mark.get_ydata() == pytest.approx(line.get_ydata()[at] + 0.01)
        assert line.get_color() == pytest.approx(mark.get_color())


def test_decay_picks_points_evenly_along_theta() -> None:
    theta = np.linspace(1, -1, 101)
    theory = np.repeat(theta[:, None], 3, 1)
    bar = plots.plot_decay(
        range(3), theory[:3], theory[:3], theta=[0.1, 0.2, 0.5], theta_label="time constant"
    ).axes[-1]
    assert bar.get_ylim() == pytest.approx((0.1, 0.5))  # of another quantity its own range
    ax = plots.plot_decay(range(3), theory, theory, theta=theta, n_curves=5).axes[0]
    drawn = [container.lines[0].get_ydata()[0] for container in ax.containers]
    assert drawn == pytest.approx([-1, -0.5, 0, 0.5, 1])


# Inputs ------------------------------------------------------------------------------------------


def test_words_do_not_overlap_and_are_the_strongest() -> None:
    rng = np.random.default_rng(4)
    measured = np.concatenate([rng.normal(size=200) * 0.2, np.linspace(1, 1.1, 10), [-1.0, -1.0]])
    words = [f"w{i}" for i in range(len(measured))]
    words[-1] = "$ok$"
    figure = plots.plot_input_effects(measured, measured, words=words, n_words=12)
    draw(figure)
    found = figure.axes[0].texts
    order = np.argsort(measured, kind="stable")
    assert [t.get_text() for t in found] == [words[i] for i in (*order[:12], *order[-12:])]
    boxes = [mpl.text.Text.get_window_extent(text) for text in found]
    assert all(low.y1 <= high.y0 + 0.5 for low, high in pairwise(boxes))
    frame = figure.axes[0].get_window_extent()
    assert all(box.x0 > frame.x1 for box in boxes)
    assert boxes[0].y0 > frame.y0 - 3
    assert boxes[-1].y1 < frame.y1 + 3


def test_spread_keeps_gaps_and_moves_little() -> None:
    """IDENTITY and INDEPENDENT: separated positions stay; two that coincide part evenly."""
    assert canvas.spread(np.array([0.1, 0.5, 0.9]), 0.2) == pytest.approx([0.1, 0.5, 0.9])
    assert canvas.spread(np.array([0.5, 0.5]), 0.2) == pytest.approx([0.4, 0.6])
    crowded = canvas.spread(np.full(6, 0.98), 0.1)
    assert np.diff(crowded) == pytest.approx(np.full(5, 0.1))
    assert crowded[-1] == pytest.approx(1.0)
    assert len(canvas.spread(np.zeros(0), 0.1)) == 0


def test_groups_have_their_colors_and_unit_areas() -> None:
    rng = np.random.default_rng(5)
    groups = ["positive"] * 40 + ["other"] * 30 + ["negative"] * 30
    projection = rng.normal(size=(3, 100)) + np.repeat([1.0, 0.0, -1.0], [40, 30, 30])
    figure = plots.plot_valence(projection, groups)
    assert [text.split(",")[0] for text in texts(figure)] == ["negative", "positive", "other"]
    outlines = [patch for patch in figure.axes[0].patches if not patch.get_fill()]
    colors = [to_hex(patch.get_edgecolor()).upper() for patch in outlines]
    assert colors[:2] == [canvas.VERMILLION, canvas.BLUE]
    for patch in outlines:
        height, edges, _ = patch.get_data()
        assert height @ np.diff(edges) == pytest.approx(1)
    mean = projection[:, :40].mean()
    assert texts(figure)[1] == f"positive, mean {mean:.1f}"


def test_strip_draws_every_projection() -> None:
    groups = ["a", "b", "a"]
    ax = plots.plot_valence([[1.0, 2.0, 3.0]], groups, kind="strip").axes[0]
    drawn = [part.get_offsets()[:, 0].tolist() for part in ax.collections]
    assert drawn == [[1.0, 3.0], [2.0]]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a\nmean 2.00", "b\nmean 2.00"]


def test_input_plane_is_orthonormal() -> None:
    """INDEPENDENT: variances from the covariance matrix of the part orthogonal to l_1."""
    rng = np.random.default_rng(6)
    effects = rng.normal(size=(60, N)) @ rng.normal(size=(N, N))
    left = rng.normal(size=N)
    figure = plots.plot_input_plane(effects, 3 * left + 0j)
    xy = figure.axes[0].collections[0].get_offsets().data
    unit = left / np.linalg.norm(left)
    assert xy[:, 0] == pytest.approx(effects @ unit)
    P = np.eye(N) - np.outer(unit, unit)
    top = np.linalg.eigvalsh(P @ np.cov(effects.T) @ P)[-1]
    assert xy[:, 1].var(ddof=1) == pytest.approx(top)
    share = 100 * top / np.trace(np.cov(effects.T))
    assert f"({share:.0f} %" in figure.axes[0].get_ylabel()


# Checks of the theory ----------------------------------------------------------------------------


def test_agreement_of_logits() -> None:
    """INDEPENDENT: scikit-learn's R^2, NumPy's correlation."""
    rng = np.random.default_rng(7)
    y = rng.normal(size=100)
    model = 3 * y + rng.normal(size=100)
    figure = plots.plot_logits(y, {"good": 1.1 * y, "model": model, "constant": np.ones(100)})
    r, sign = np.corrcoef(y, model)[0, 1], 100 * np.mean(y * model > 0)
    r2 = f"{r2_score(y, model):.2f}".replace("-", "−")
    assert texts(figure)[2] == f"model\nr {r:.2f}, R² {r2}, sign {sign:.0f} %"
    assert texts(figure)[3].startswith("constant\nr –, R² −")
    identity = figure.axes[0].lines[2]
    assert np.array_equal(identity.get_xdata(), identity.get_ydata())


def test_one_step_errors_are_cumulative_fractions() -> None:
    """IDENTITY: at the k-th smallest of K errors the curve is k / K; zeros lift its left end."""
    ax = plots.plot_one_step_error({"a": [0.4, 0.0, 0.1, 0.2], "none": []}).axes[0]
    line = next(line for line in ax.lines if line.get_label().startswith("a, median 0.15"))
    x, y = line.get_data()
    for error, fraction in ((0.1, 0.5), (0.2, 0.75), (0.4, 1.0)):
        assert y[x == error].max() == fraction
    assert y[x == x[0]].max() == 0.25
    many = np.random.default_rng(0).lognormal(size=50_000)
    ax = plots.plot_one_step_error({"many": many}).axes[0]
    x, y = ax.lines[1].get_data()
    assert len(x) < 3000
    assert np.interp(0.5, y, x) == pytest.approx(np.median(many), rel=0.01)


def test_speed_scan_counts_points() -> None:
    q = np.concatenate([10.0 ** -np.random.default_rng(8).uniform(4, 9, 100), [0.0, 0.0]])
    tol = [1e-4, 1e-6, 1e-8]
    figure = plots.plot_speed_scan(tol, [102, 50, 1], pc1=[0.9, 0.95, np.nan], q=q)
    draw(figure)
    first, second = figure.axes
    height, edges, _ = first.patches[0].get_data()
    assert height.sum() == 102
    half_decade = np.diff(np.log10(edges))
    assert half_decade == pytest.approx(np.full(len(half_decade), 0.5))
    assert first.containers[0].lines[0].get_ydata().tolist() == [102, 50, 1]
    assert second.containers[0].lines[0].get_ydata()[:2].tolist() == [0.9, 0.95]
    assert (
        r"\frac{1}{N}" in plots.plot_speed_scan(tol, tol, q_convention="mean").axes[0].get_xlabel()
    )


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        (-0.0021, 0.5, "0.00"),
        (-1.234, 1.0, "−1.2"),
        (1234.5, 300.0, "1234"),
        (0.0123, 0.004, "0.0123"),
    ],
)
def test_decimals_follow_the_scale(value: float, scale: float, text: str) -> None:
    assert canvas.decimals(value, scale) == text
