"""Jacobian spectra of deep networks: theory, simulation, measurement, initialization to isometry."""

from __future__ import annotations

__all__: list[str] = []
