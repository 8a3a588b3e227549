"""One-step maps of recurrent networks with closed-form Jacobians: what every analysis takes."""

from tractable.dynamics.cells.convert import Cell, as_cell

__all__ = ["Cell", "as_cell"]
