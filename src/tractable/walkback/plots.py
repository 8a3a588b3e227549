"""Pictures: theory is a line, a measurement is a marker."""

__all__: list[str] = []
