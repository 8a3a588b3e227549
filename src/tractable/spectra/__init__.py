"""Jacobian spectra of deep networks: theory, simulation, measurement, isometric initialization."""

from __future__ import annotations

__all__: list[str] = []
