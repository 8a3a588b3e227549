"""What every system needs: input checks, progress, seeds."""
