"""Fixed points, local minima of the speed, and points of slow manifolds."""

from tractable.dynamics.points.find import find_points
from tractable.dynamics.points.point_set import PointSet, Rejected, Scan

__all__ = ["PointSet", "Rejected", "Scan", "find_points"]
