"""The studies of `tractable.linear`."""
