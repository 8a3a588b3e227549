"""Ours against peers, in one run: ``python -m benchmarks [NAME ...]`` or ``make bench``.

One script per system; each yields rows ``what | ours | peer | ratio | bar``.
"""
