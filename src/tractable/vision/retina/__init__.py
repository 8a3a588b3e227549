"""A bottleneck makes center-surround cells; the depth behind it decides what they compute."""

__all__: list[str] = []
