"""What the semantic studies share: tables by name, networks from small weights, their starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tractable.linear import ItemTable, ModeDynamics, Simulation

NORMS = ("leuven", "leuven-artifacts", "awa")
TABLES = ("eight", "toy", *NORMS)


def check_table(data: str) -> None:
    """Refuse what is neither a named table nor an existing file."""
    if data not in TABLES and not Path(data).is_file():
        from tractable.core.checks import nearest_names

        near = nearest_names(data, TABLES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"data must be one of {', '.join(map(repr, TABLES))}, or the path of a CSV file with "
            f"items in rows and features in columns, got {data!r}{hint}"
        )


def table_files(data: str) -> list[Path]:
    """Return the files that a table is read from."""
    if data in NORMS:
        from tractable.data import files

        return list(files(data.partition("-")[0]))
    return [] if data in TABLES else [Path(data)]


def table_of(data: str) -> tuple[ItemTable, dict[str, dict[str, float]], str]:
    """Return the table, the human ratings of typicality by category, and one sentence."""
    from tractable.linear import ItemTable, eight_things, read_items, toy_items

    if data in ("eight", "toy"):
        table = eight_things() if data == "eight" else toy_items()
        name = "eight plants and animals" if data == "eight" else "four items"
        return table, {}, f"Table: {name}, {len(table.features)} features."
    if data in NORMS:
        from tractable.data import load_norms

        norms = load_norms(data)
        table = ItemTable.of(norms.values, norms.items, norms.features)
        ratings = {name: dict(members) for name, members in norms.typicality.items()}
        return table, ratings, f"Table: {norms.source}."
    table = read_items(data)
    size = f"{len(table.items)} items, {len(table.features)} features"
    return table, {}, f"Table: {Path(data).name}, {size}."


def reduced(dynamics: ModeDynamics, **settings: Any) -> ModeDynamics:
    """Return the same task with its outputs in the coordinates of its modes.

    The network's outputs outside of them start small and stay so; training is as many times
    quicker as there are more features than items.
    """
    from tractable.linear import ModeDynamics

    return ModeDynamics.from_correlations(
        dynamics.U.T @ dynamics.cov_yx,
        dynamics.cov_x,
        depth=settings.pop("depth", dynamics.depth),
        init_strength=settings.pop("init_strength", dynamics.init_strength),
        tau=dynamics.tau,
        **settings,
    )


def train_small(
    task: ModeDynamics,
    *,
    n_hidden: int,
    init_std: float,
    t_max: float,
    step: float,
    n_seeds: int,
    seed: int,
    n_records: int = 150,
) -> Simulation:
    """Train networks from small Gaussian weights; ``step`` is the learning rate times s_max."""
    rate = step / float(task.s[0])
    n_steps = max(1, round(t_max / rate))
    records = np.unique(np.round(np.linspace(0, n_steps, n_records)).astype(int))
    return task.simulate(
        rate,
        n_steps,
        seeds=n_seeds,
        init="gaussian",
        n_hidden=n_hidden,
        init_std=init_std,
        seed=seed,
        record_at=records,
    )


def starts_of(networks: Simulation) -> np.ndarray:
    """Return the effective initial strength of each mode of each network, shape (S, K)."""
    from tractable.linear.weights import effective_strengths

    task = networks.dynamics
    first, last = (W[:, 0] for W in networks.weights)
    return np.stack(
        [effective_strengths(task.U, task.V, a, b) for a, b in zip(first, last, strict=True)]
    )


def typical_start(n_hidden: int, init_std: float) -> float:
    """Return the expected initial strength of a mode: n_hidden std^2 / 2."""
    return n_hidden * init_std**2 / 2


def numbers(values: Any, *dims: str, units: str = "1") -> tuple[Any, Any, dict[str, str]]:
    """Return a variable of a dataset."""
    return dims, np.asarray(values), {"units": units}


def hide_legend(figure: Figure) -> None:
    """Take the legend off the first axes."""
    legend = figure.axes[0].get_legend()
    if legend is not None:
        legend.remove()


def training_cost(
    n_steps: float, n_seeds: int, n_hidden: int, n_in: int, n_out: int
) -> tuple[float, float]:
    """Return operations and bytes of full-batch training with one hidden layer."""
    operations = 6.0 * n_steps * n_seeds * n_hidden * n_in * n_out
    memory = 8.0 * n_seeds * (2 * n_in * n_out + 4 * n_hidden * (n_in + n_out))
    return operations, 200e6 + memory
