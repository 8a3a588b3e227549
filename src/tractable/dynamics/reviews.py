"""A generated language of reviews, in which every word has a known valence.

It is the controlled counterpart of a corpus of reviews: what a trained network makes of a word
can be compared with the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tractable.core.checks import check_count, check_range
from tractable.core.seeds import derive
from tractable.dynamics.text import PAD, Documents, Vocabulary

__all__ = ["SyntheticReviews"]

NEGATED, DOUBLED = 4, 1  # tokens that `not` and `very` reach
_NAMES = {2.0: "great", 1.0: "good", 0.0: "so", -1.0: "bad", -2.0: "awful"}


@dataclass(frozen=True)
class SyntheticReviews:
    """A generated language of reviews, in which every word has a known valence.

    Words are drawn independently; a document's score is the sum of its words' valences, and its
    label the sign of the score (two classes), the class of highest score (K classes), or the
    level among K about equally likely ones (``ordered``). Where a score decides nothing, a tie, the
    label is drawn at random among the candidates.

    Parameters
    ----------
    n_words : int
        Words of the language, modifiers not counted.
    n_valenced : tuple of 4 int
        How many words have valence +2, +1, -1, -2; all others are neutral.
        Not used by unordered languages of K > 2 classes: these have one word per class and
        valence 2, 1, 0, -1, -2, so 5 K of the ``n_words``.
    length : int or tuple of 2 int
        Tokens of a document, or the smallest and largest of a uniform draw.
    zipf : bool
        Frequency 1/rank instead of uniform. Opposite words share a rank, so that the mean valence
        stays zero; which word has which rank belongs to the language and never changes.
    modifiers : bool
        Adds ``very``, which doubles the next word, and ``not``, which flips the sign of the next
        4 tokens (a second ``not`` within these starts the 4 anew).
    modifier_rate : float
        Probability of each of the two at a position.
    n_classes : int
        K.
    ordered : bool
        K star levels of one score instead of K scores.

    Notes
    -----
    The edges of the star levels are the quantiles k/K of a normal variable with the mean and the
    variance that the score of a document of mean length has, modifiers left out. Scores are whole
    numbers, so the levels are not quite equal: 0.30, 0.40, 0.30 for K = 3 at length 40.

    References
    ----------
    MWGGS, Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv 1906.10720.
    Aitken, Ramasesh, Garg, Cao, Sussillo, Maheswaranathan 2020, arXiv 2010.15114 (K classes).

    Examples
    --------
    >>> language = SyntheticReviews(length=6)
    >>> reviews = language.sample(3, seed=0)
    >>> reviews.tokens.shape, len(reviews.vocabulary)
    ((3, 6), 202)
    >>> reviews.texts()[0]
    'word67 awful3 great8 great3 word102 word122'
    >>> float(reviews.scores[0]), int(reviews.labels[0])
    (2.0, 1)
    """

    n_words: int = 200
    n_valenced: tuple[int, int, int, int] = (10, 20, 20, 10)
    length: int | tuple[int, int] = 40
    zipf: bool = False
    modifiers: bool = False
    modifier_rate: float = 0.05
    n_classes: int = 2
    ordered: bool = False

    def __post_init__(self) -> None:
        low, high = self._length_range
        check_range("length", low, 1)
        check_range("the largest length", high, low)
        check_count("n_classes", self.n_classes, 2)
        check_range("modifier_rate", self.modifier_rate, 0, 0.5, open_high=True)
        if len(self.n_valenced) != 4 or min(self.n_valenced) < 0:
            raise ValueError(f"n_valenced must be four counts >= 0, got {self.n_valenced}")
        if sum(self.n_valenced) == 0 and not self._categorical:
            raise ValueError("n_valenced must name one word or more, got four zeros")
        used = 5 * self.n_classes if self._categorical else sum(self.n_valenced)
        check_range("n_words", self.n_words, used)

    @property
    def _length_range(self) -> tuple[int, int]:
        return (self.length, self.length) if isinstance(self.length, int) else self.length

    @property
    def _categorical(self) -> bool:
        return self.n_classes > 2 and not self.ordered

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Words such as ``good17``; of K classes ``good2`` speaks for class 2."""
        return Vocabulary(("<pad>", "<unk>", *self._modifiers, *(word for word, _ in self._words)))

    @cached_property
    def valence(self) -> np.ndarray:
        """True valence of each token, shape (V,), or (V, K) for K unordered classes."""
        rows = [value for _, value in self._words]
        none = [0 * rows[0]] * (2 + len(self._modifiers))
        return np.array([*none, *rows], dtype=np.float64)

    @cached_property
    def frequency(self) -> np.ndarray:
        """Probability of each token at a position, shape (V,); 0 for ``<pad>`` and ``<unk>``."""
        valence = self.valence[2 + len(self._modifiers) :].reshape(self.n_words, -1)
        weight = np.ones(self.n_words)
        if self.zipf:
            order = np.random.default_rng(derive(0, "zipf", self.n_words)).permutation
            weight /= 1.0 + order(self.n_words)
            for group in _opposites(valence):
                weight[group] = weight[group].mean()
        rates = [self.modifier_rate] * len(self._modifiers)
        return np.array([0, 0, *rates, *(1 - sum(rates)) * weight / weight.sum()])

    @property
    def _modifiers(self) -> tuple[str, ...]:
        return ("very", "not") if self.modifiers else ()

    @cached_property
    def _words(self) -> list[tuple[str, np.ndarray]]:
        """Each word with its valence."""
        if self._categorical:
            eye = np.eye(self.n_classes)
            words = [
                (f"{name}{k}", value * eye[k])
                for k in range(self.n_classes)
                for value, name in _NAMES.items()
            ]
        else:
            words = []
            for value, count in zip((2.0, 1.0, -1.0, -2.0), self.n_valenced, strict=True):
                numbers = range(count) if count > 1 else [""] * count
                words += [(f"{_NAMES[value]}{i}", np.asarray(value)) for i in numbers]
        zero = 0.0 * words[0][1]
        return words + [(f"word{i}", zero) for i in range(self.n_words - len(words))]

    def sample(self, n: int, *, seed: int) -> Documents:
        """Draw documents.

        Parameters
        ----------
        n : int
            Number of documents, >= 1.
        seed : int
            Decides everything.

        Returns
        -------
        Documents
            With ``contributions`` and ``ties``.
        """
        check_count("n", n)
        random = np.random.default_rng(seed)
        low, high = self._length_range
        lengths = random.integers(low, high + 1, size=n)
        tokens = random.choice(len(self.frequency), p=self.frequency, size=(n, lengths.max()))
        tokens[np.arange(tokens.shape[1]) >= lengths[:, None]] = PAD
        contributions = self.valence[tokens]
        if self.modifiers:
            factor = self._modifier_factors(tokens)
            contributions *= factor[..., None] if self._categorical else factor
        labels, ties = self._judge(contributions.sum(axis=1), random)
        return Documents(tokens, lengths, labels, self.vocabulary, contributions, ties)

    def _modifier_factors(self, tokens: np.ndarray) -> np.ndarray:
        """Return what the modifiers before each token multiply its valence with, shape (n, T)."""
        very, negation = (tokens == self.vocabulary.index[word] for word in self._modifiers)
        factor = np.ones(tokens.shape)
        flipped = np.zeros(tokens.shape, dtype=bool)
        for lag in range(1, NEGATED + 1):
            flipped[:, lag:] |= negation[:, :-lag]
        factor[flipped] *= -1.0
        factor[:, DOUBLED:][very[:, :-DOUBLED]] *= 2.0
        return factor

    def _judge(
        self, scores: np.ndarray, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return labels and ties of the scores, shape (n,) or (n, K)."""
        if self._categorical:
            best = scores == scores.max(axis=1, keepdims=True)
            ties = best.sum(axis=1) > 1
            labels = (best * random.random(best.shape)).argmax(axis=1)
            return labels.astype(np.int64), ties
        edges = self._edges() if self.ordered else np.zeros(1)
        ties = (scores[:, None] == edges).any(axis=1)
        labels = (scores[:, None] > edges).sum(axis=1)
        labels[ties] += random.integers(0, 2, size=int(ties.sum()))
        return labels.astype(np.int64), ties

    def _edges(self) -> np.ndarray:
        """Scores between the K star levels."""
        from scipy.stats import norm

        low, high = self._length_range
        mean = self.frequency @ self.valence
        second = self.frequency @ self.valence**2
        length = (low + high) / 2
        length_variance = ((high - low + 1) ** 2 - 1) / 12
        spread = np.sqrt(length * (second - mean**2) + length_variance * mean**2)
        levels = np.arange(1, self.n_classes) / self.n_classes
        edges: np.ndarray = np.round(norm.ppf(levels) * spread + length * mean, 9)
        return edges


def _opposites(valence: np.ndarray) -> list[np.ndarray]:
    """Pair each word with one of opposite valence, as far as there are any."""
    groups = []
    for row in np.unique(valence, axis=0):
        plus = np.flatnonzero((valence == row).all(axis=1))
        minus = np.flatnonzero((valence == -row).all(axis=1))
        if tuple(row) > tuple(-row):
            groups += [np.array(pair) for pair in zip(plus, minus, strict=False)]
    return groups
