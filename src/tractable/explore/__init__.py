"""The explorer: a local page with sliders that move the theory's curves.

``tractable explore [STUDY]`` serves `page.py` with marimo (extra ``explore``). Nothing is sent
anywhere: the page's address is of this machine, and its scripts come with marimo.

- `controls`: the fields of a study as sliders, choices and texts, and as the words of a link;
- `curves`: a theory's dataset as a picture, whatever study it comes from;
- `simulate`: the simulation, as the run that the command line would do;
- `page`: the page itself.
"""

from tractable.explore.controls import Control, controls, link_words, read_study
from tractable.explore.curves import draw, quantities, scalars
from tractable.explore.serve import serve
from tractable.explore.simulate import command, copyable, simulate

__all__ = [
    "Control",
    "command",
    "controls",
    "copyable",
    "draw",
    "link_words",
    "quantities",
    "read_study",
    "scalars",
    "serve",
    "simulate",
]
