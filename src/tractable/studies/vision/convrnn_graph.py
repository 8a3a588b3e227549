"""One recurrent graph, trained and scored: what a search over cells and feedback looks at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tractable.vision.convrnn import ConvRNNSpec

Cell = Literal["none", "timedecay", "vanilla", "ugrnn", "gru", "lstm", "intersection", "rgc"]
Flag = Literal[
    "input_to_cell",
    "input_to_out",
    "input_to_tau",
    "input_to_gate",
    "cell_to_out",
    "cell_residual",
    "out_residual",
    "residual_to_cell_tau",
    "residual_to_cell_gate",
    "residual_to_out_tau",
    "residual_to_out_gate",
    "separable",
    "branch_norm",
    "state_norm",
]
Edge = Literal["2>1", "3>1", "3>2"]
CELLS: tuple[Cell, ...] = get_args(Cell)
FLAGS: tuple[Flag, ...] = get_args(Flag)
EDGES: tuple[Edge, ...] = get_args(Edge)
N_LAYERS = 3
ONE = {"units": "1"}
STEPS = {"units": "steps"}


@dataclass(frozen=True)
class ConvrnnGraph(Study):
    """One recurrent graph of three layers, trained to recall the first digit, and scored."""

    version: ClassVar[int] = 1
    paper: ClassVar = Paper(
        "Nayebi, Bear, Kubilius, Kar, Ganguli, Sussillo, DiCarlo, Yamins",
        2018,
        "Task-driven convolutional recurrent models of the visual system",
        arxiv="1807.00053",
    )
    presets: ClassVar = {
        "smoke": {
            "channels": (4, 4, 4),
            "steps": 4,
            "batch_size": 16,
            "n_test": 50,
            "signatures": False,
        },
        "full": {"task": "C", "steps": 300, "batch_size": 48},
        "paper": {
            "task": "C",
            "channels": (64, 128, 256),
            "steps": 20_000,
            "batch_size": 128,
        },
    }

    cells: tuple[Cell, ...] = ("none", "none", "rgc")
    """Cell of each of the three layers, the lowest first."""
    channels: Annotated[tuple[int, ...], Range(2, 512)] = (16, 12, 12)
    """Channels of each layer."""
    kernels: Annotated[tuple[int, ...], Range(1, 9)] = (3, 3, 3)
    """Size of the recurrent filters of each layer."""
    norms: tuple[bool, ...] = (False, False, False)
    """Layer norm in each layer's cell; the reciprocal-gated one has its own flag."""
    flags: tuple[Flag, ...] = ("input_to_cell",)
    """What the reciprocal-gated cells have, of their options."""
    tau_kernel: Annotated[int, Range(1, 9)] = 3
    """Size of their filters of the memories."""
    gate_kernel: Annotated[int, Range(1, 9)] = 3
    """Size of their filters of the gates."""
    tau_nonlinearity: Literal["sigmoid", "tanh"] = "sigmoid"
    """Of the memories."""
    gate_nonlinearity: Literal["sigmoid", "tanh"] = "sigmoid"
    """Of the gates."""
    tau_offset: Annotated[float, Range(0.5, 1.0)] = 1.0
    """Offset of the memories, and minus their multiplier."""
    gate_offset: Annotated[float, Range(0.5, 1.0)] = 1.0
    """Offset of the gates, and minus their multiplier."""
    tau_bias: Annotated[float, Range(-8.0, 8.0)] = -2.0
    """Bias of the memories."""
    gate_bias: Annotated[float, Range(-8.0, 8.0)] = -1.0
    """Bias of the gates."""
    forget_bias: Annotated[float, Range(-8.0, 8.0)] = 1.0
    """Bias of the other cells' forget gates."""
    feedback: tuple[Edge, ...] = ()
    """Edges that run down, from the higher layer to the lower one."""
    feedback_entry: Literal["input", "cell", "out"] = "out"
    """Where feedback enters a reciprocal-gated cell; other cells take it at their input."""
    feedback_kernel: Annotated[int, Range(1, 9)] = 1
    """Size of the feedback's filters."""
    feedback_activation: Literal["identity", "elu"] = "identity"
    """What follows them."""
    feedback_separable: bool = False
    """Depthwise filters, then 1 x 1."""
    init_scale: Annotated[float, Range(0.1, 10.0, log=True)] = 1.0
    """Factor on all initial weights of convolutions."""
    learning_rate: Annotated[float, Range(1e-5, 1.0, log=True)] = 5e-3
    """Of Adam, at the peak of one cycle."""
    weight_decay: Annotated[float, Range(0.0, 10.0)] = 0.0
    """Decoupled from the gradient."""
    task: Literal["short", "A", "C"] = "short"
    """Movies: short ones for searching (two distractors in seven frames), or a variant."""
    steps: Annotated[int, Range(1, 1_000_000, log=True)] = 60
    """Updates."""
    batch_size: Annotated[int, Range(1, 1000, log=True)] = 32
    """Movies of an update."""
    n_test: Annotated[int, Range(10, 600)] = 500
    """Test digits; as many as 297 others are kept for validation."""
    signatures: bool = True
    """Assert that the graph knows the order of the frames."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("cells", "channels", "kernels", "norms"):
            if len(getattr(self, name)) != N_LAYERS:
                raise ValueError(
                    f"{name} must have {N_LAYERS} values, one for each layer, "
                    f"got {getattr(self, name)}"
                )
        for name in ("flags", "feedback"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must name each once, got {values}")

    # --- the space of a search ---------------------------------------------------------------

    @classmethod
    def suggest(cls, trial: Any) -> dict[str, Any]:
        """Draw a graph: cells, their options, feedback edges, training."""
        from tractable.studies.vision._convrnn_space import suggest

        return suggest(trial)

    # --- measurement -------------------------------------------------------------------------

    def spec(self) -> ConvRNNSpec:
        """Return the graph."""
        from tractable.studies.vision._convrnn_parts import graph_spec

        return graph_spec(self)

    def measure(self, run: Run) -> xr.Dataset:
        from tractable.studies.vision._convrnn_parts import train_graph

        return train_graph(self, run)

    # --- theory ------------------------------------------------------------------------------

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Bound what is blind to order; find when each layer first depends on the image."""
        import xarray as xr

        from tractable.studies.vision._convrnn_parts import tasks

        share = np.full(10, 0.1) if measured is None else measured.class_share.values
        task: Any = tasks()[self.task]  # one with an order
        spec = self.spec()
        return xr.Dataset(
            {
                "bound": ((), task.bound(share), ONE),
                "chance": ((), float(share.max()), ONE),
                "first_driven": ("layer", list(range(N_LAYERS)), STEPS),
            },
            coords={"layer": [node.name for node in spec.nodes]},
            attrs={"spec": spec.to_json()},
        )

    # --- what it says ------------------------------------------------------------------------

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        wrong = float(abs(measured.first_driven - theory.first_driven).max())
        yield Check(
            "first step that depends on the image, steps off the shortest path",
            wrong,
            0,
            source="one edge per step",
        )
        right = float((measured.predicted == measured.label).mean())
        yield Check(
            "test accuracy against that of the stored predictions",
            float(measured.test_accuracy),
            right,
            1e-9,
            source="definition",
        )
        if self.signatures:
            yield Check(
                "test accuracy over the permutation bound",
                right,
                float(theory.bound),
                kind="at_least",
                source="exact: no network that is blind to order is better",
            )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        named = ", ".join(f"{i + 1} {cell}" for i, cell in enumerate(self.cells) if cell != "none")
        edges = ", ".join(self.feedback) or "none"
        yield (
            f"Cells: {named or 'none'}; feedback edges: {edges}. "
            f"{int(measured.parameters)} parameters, "
            f"{float(measured.macs) / 1e6:.2f} million operations per movie."
        )
        yield (
            f"Validation accuracy {float(measured.validation_accuracy):.3f}, test accuracy "
            f"{float(measured.test_accuracy):.3f} after {self.steps} updates; blind to order: at "
            f"most {float(theory.bound):.3f}."
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.studies.vision._convrnn_search_figures import draw_curve, draw_graph

        return {
            "graph": draw_graph(theory.attrs["spec"]),
            "curve": draw_curve(theory, measured),
        }

    def cost(self, run: Run) -> Cost:
        from tractable.studies.vision._convrnn_parts import graph_cost

        return Cost(*graph_cost(self, run))
