"""Studies in which two systems meet."""
