"""A decomposition as one self-contained HTML page: numbers, what theory says of them, pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tractable.core.checks import check_shape, quiet
from tractable.tensors.prior_text import prior_in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tractable.tensors.amp_result import AMPResult

__all__ = ["write_page"]

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;"
    "color:#1a1a1a;background:#fff}table{border-collapse:collapse;margin:1em 0}"
    "td,th{padding:.3em .8em;border-bottom:1px solid #ccc;text-align:left}"
    "figure{margin:1.5em 0}figcaption{color:#555}svg{max-width:100%;height:auto}"
)


def write_page(fit: AMPResult, path: str | Path, names: Sequence[str] | None = None) -> Path:
    """Write the page of `AMPResult.report`, and return its path."""
    import matplotlib.pyplot as plt

    from tractable.tensors.detectability import detectability

    order = len(fit.shape)
    labels = [f"mode {a}" for a in range(order)] if names is None else list(names)
    check_shape("names", (len(labels),), (order,))
    path = Path(path)
    if path.suffix not in (".html", ".htm"):
        raise ValueError(f"path must end in .html, got {str(path)!r}")
    with quiet():
        theory = detectability(fit)
    pictures = [_factors(fit, labels), _history(fit)]
    shape = " x ".join(map(str, fit.shape))
    body = [
        f"<h1>Decomposition of an array of {shape}</h1>",
        f"<p>{escape(theory.verdict)}</p>",
        _table(("fit", ""), _summary(fit)),
        "<h2>Components</h2>",
        _table(
            (
                *("component", "strength", "Delta", "phase", "log(delta_alg / Delta)"),
                *(f"cosine, {label}: fit / theory" for label in labels),
            ),
            [
                (
                    str(k + 1),
                    f"{strength:.4g}",
                    f"{component.noise:.3g}",
                    component.phase,
                    margin_in_words(component.margin),
                    *(
                        f"{fit.predicted_cosine[a, k]:.3f} / {component.cosine[a]:.3f}"
                        for a in range(order)
                    ),
                )
                for k, (strength, component) in enumerate(
                    zip(fit.strengths, theory.components, strict=True)
                )
            ],
        ),
        "<h2>Modes</h2>",
        _table(
            ("mode", "size", "prior", "predicted squared error of a row"),
            [
                (labels[a], str(fit.shape[a]), prior_in_words(fit.priors[a]), f"{mse:.4g}")
                for a, mse in enumerate(fit.predicted_mse)
            ],
        ),
        *(_picture(figure) for figure in pictures),
    ]
    for figure in pictures:
        plt.close(figure)
    path.write_text(
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f"<title>Decomposition of {shape}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(body)}</body></html>\n",
        encoding="utf-8",
    )
    return path


def margin_in_words(margin: float) -> str:
    """Return log(delta_alg / Delta), or what its infinities mean.

    Examples
    --------
    >>> margin_in_words(0.5), margin_in_words(float("inf")), margin_in_words(-float("inf"))
    ('0.50', 'no threshold', 'never easy')
    """
    if np.isinf(margin):
        return "no threshold" if margin > 0 else "never easy"
    return f"{margin:.2f}"


def _summary(fit: AMPResult) -> list[tuple[str, str]]:
    return [
        ("status", f"{fit.status}, {fit.n_iter} sweeps"),
        ("entries observed", f"{100 * fit.observed:.4g} %"),
        ("noise variance of an entry", f"{fit.noise_variance:.4g}"),
        ("noise Delta, model units", f"{fit.noise:.4g}"),
        ("signal over noise of an entry", f"{fit.snr_entry:.3g}"),
        ("beta, unit-vector convention", f"{fit.beta:.4g}"),
        ("predicted relative squared error of the signal", f"{fit.predicted_error:.4g}"),
        ("Nishimori gap (0: prior and noise agree with the fit)", f"{fit.nishimori_gap:.3g}"),
        ("log evidence, nats", f"{fit.log_evidence:.6g}"),
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of text."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _factors(fit: AMPResult, labels: Sequence[str]) -> Figure:
    from tractable.tensors.plots import plot_factors

    return plot_factors(fit.factors, fit.std, names=labels)


def _history(fit: AMPResult) -> Figure:
    """Draw the change and the predicted error over the sweeps."""
    from tractable import plot

    figure, ax = plot.new()
    sweeps = np.arange(1, fit.n_iter + 1)
    for name, label in (
        ("change", "relative change of the means"),
        ("predicted_error", "predicted error of the signal"),
    ):
        values = np.asarray(fit.history[name], float)
        ax.semilogy(sweeps, np.where(values > 0, values, np.nan), label=label)
    ax.set(xlabel="sweep", ylabel="relative to the signal")
    ax.legend()
    figure.set_label("Convergence: change of the posterior means, and predicted squared error.")
    return figure


def _picture(figure: Figure) -> str:
    from matplotlib import rc_context

    from tractable.plot import style

    with (
        style(),
        rc_context({"svg.hashsalt": "fit", "svg.fonttype": "path"}),
        io.StringIO() as text,
    ):
        figure.savefig(text, format="svg", metadata={"Date": None})
        svg = text.getvalue()
    caption = escape(str(figure.get_label()))
    return f"<figure>{svg[svg.index('<svg') :]}<figcaption>{caption}</figcaption></figure>"
