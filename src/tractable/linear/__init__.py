"""Deep linear networks, solved: learning, generalization, transfer, semantic development."""

from __future__ import annotations

__all__: list[str] = []
