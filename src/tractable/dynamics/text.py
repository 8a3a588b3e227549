"""Texts as sequences of words: tokens, vocabulary, documents, the bag-of-words baseline."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tractable.core.checks import check_count, check_finite, check_range
from tractable.core.seeds import derive

__all__ = [
    "BagOfWords",
    "Documents",
    "Vocabulary",
    "bag_of_words_baseline",
    "tokenize",
    "trim_padding",
]

PAD, UNKNOWN = 0, 1  # tokens that every vocabulary begins with

_TAG = re.compile(r"<[a-z/][^<>]*>")
_TOKEN = re.compile(r"[^\W_]+?(?=n't\b)|n't\b|'(?:s|re|ve|ll|d|m)\b|[^\W_]+")
_MARK = re.compile(_TOKEN.pattern + r"|[!?.,;:()]")


def tokenize(text: str, *, punctuation: bool = False) -> list[str]:
    """Cut a text into lower-case words, the way the Penn Treebank does.

    ``n't`` and the endings ``'s 're 've 'll 'd 'm`` become words of their own, so that texts that
    were cut before (SST) and texts that were not (IMDB, UCI) give the same words. Tags such as
    ``<br />`` are dropped; digits are kept; hyphens separate.

    Parameters
    ----------
    text : str
        Any text.
    punctuation : bool
        True keeps each of ``! ? . , ; : ( )`` as a word; False drops them.

    Examples
    --------
    >>> tokenize("It isn't well-made:<br />it's AWFUL!")
    ['it', 'is', "n't", 'well', 'made', 'it', "'s", 'awful']
    >>> tokenize("Awful!", punctuation=True)
    ['awful', '!']
    """
    plain = _TAG.sub(" ", text.lower().replace("\u2019", "'"))
    return (_MARK if punctuation else _TOKEN).findall(plain)


@dataclass(frozen=True)
class Vocabulary:
    """The words that a network knows, in the order of their tokens.

    Parameters
    ----------
    words : tuple of str
        Token t is ``words[t]``; the first two are ``<pad>`` (0) and ``<unk>`` (1).
    tokenizer : callable
        Text to list of words.

    Examples
    --------
    >>> vocabulary = Vocabulary.from_texts(["good food", "good, very good"], min_count=1)
    >>> vocabulary.words
    ('<pad>', '<unk>', 'good', 'food', 'very')
    >>> tokens, lengths = vocabulary.encode(["very good", "bad"])
    >>> tokens.tolist(), lengths.tolist()
    ([[4, 2], [1, 0]], [2, 1])
    """

    words: tuple[str, ...]
    tokenizer: Callable[[str], list[str]] = tokenize

    def __post_init__(self) -> None:
        if self.words[:2] != ("<pad>", "<unk>"):
            raise ValueError(f"words must begin with '<pad>', '<unk>', got {self.words[:2]}")
        if len(set(self.words)) < len(self.words):
            twice = [word for word, n in Counter(self.words).items() if n > 1]
            raise ValueError(f"words must differ, got {twice[0]!r} twice")

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        *,
        min_count: int = 2,
        max_size: int | None = None,
        tokenizer: Callable[[str], list[str]] = tokenize,
    ) -> Vocabulary:
        """Count the words of the training texts; the most frequent come first, then by spelling.

        Parameters
        ----------
        texts : iterable of str
            Training texts only: words of the test texts must stay unknown.
        min_count : int
            Rarer words become ``<unk>``.
        max_size : int, optional
            Largest number of tokens, ``<pad>`` and ``<unk>`` included.
        tokenizer : callable
            Text to list of words.

        Raises
        ------
        ValueError
            No word is left.
        """
        check_count("min_count", min_count)
        check_range("max_size", max_size if max_size is not None else 3, 3)
        counts = Counter(word for text in texts for word in tokenizer(text))
        kept = sorted((-n, word) for word, n in counts.items() if n >= min_count)
        words = [word for _, word in kept if word not in ("<pad>", "<unk>")]
        if not words:
            raise ValueError(
                f"no word occurs {min_count} times in these texts; lower min_count or give more"
            )
        return cls(("<pad>", "<unk>", *words)[:max_size], tokenizer)

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def index(self) -> dict[str, int]:
        """Token of each word."""
        return {word: token for token, word in enumerate(self.words)}

    def encode(
        self, texts: Sequence[str], *, max_length: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Turn texts into tokens, padded on the right with 0.

        Parameters
        ----------
        texts : sequence of str
            n texts; one without any word becomes a single ``<unk>``.
        max_length : int, optional
            Longer texts are cut; their first ``max_length`` words are kept.

        Returns
        -------
        tokens : ndarray of int64, shape (n, T)
            T is the longest length.
        lengths : ndarray of int64, shape (n,)
            At least 1.
        """
        if max_length is not None:
            check_count("max_length", max_length)
        index = self.index
        rows = [
            [index.get(word, UNKNOWN) for word in self.tokenizer(text)[:max_length]] or [UNKNOWN]
            for text in texts
        ]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        tokens = np.full((len(rows), lengths.max(initial=0)), PAD, dtype=np.int64)
        tokens[np.arange(tokens.shape[1]) < lengths[:, None]] = [t for row in rows for t in row]
        return tokens, lengths

    def decode(self, tokens: Sequence[int] | np.ndarray) -> list[str]:
        """Return the words of one row of tokens, without padding."""
        return [self.words[token] for token in tokens if token != PAD]


@dataclass(frozen=True, eq=False)
class Documents:
    """Encoded texts with labels; of a generated language also what is true of each token.

    Parameters
    ----------
    tokens : ndarray of int64, shape (n, T)
        Padded on the right with 0.
    lengths : ndarray of int64, shape (n,)
        Number of tokens of each document.
    labels : ndarray of int64, shape (n,)
        Class, 0 .. K-1.
    vocabulary : Vocabulary
        Words of the tokens.
    contributions : ndarray of float64, shape (n, T) or (n, T, K), optional
        What each token adds to the score of its document, modifiers included.
    ties : ndarray of bool, shape (n,), optional
        True where the score decides no class and the label was drawn.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    vocabulary: Vocabulary
    contributions: np.ndarray | None = None
    ties: np.ndarray | None = None

    @classmethod
    def from_texts(
        cls,
        texts: Sequence[str],
        labels: np.ndarray,
        vocabulary: Vocabulary,
        *,
        max_length: int | None = None,
    ) -> Documents:
        """Encode texts; see `Vocabulary.encode`."""
        if len(labels) != len(texts):
            raise ValueError(f"labels must have shape ({len(texts)},), got {np.shape(labels)}")
        tokens, lengths = vocabulary.encode(texts, max_length=max_length)
        return cls(tokens, lengths, np.asarray(labels, dtype=np.int64), vocabulary)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def scores(self) -> np.ndarray | None:
        """Summed contributions, shape (n,) or (n, K)."""
        return None if self.contributions is None else self.contributions.sum(axis=1)

    def texts(self) -> list[str]:
        """Return the documents in words."""
        return [" ".join(self.vocabulary.decode(row)) for row in self.tokens]

    def subset(self, index: np.ndarray | slice) -> Documents:
        """Return the documents of these indices (or of a mask)."""
        rows = {
            name: value[index]
            for name in ("tokens", "lengths", "labels", "contributions", "ties")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **rows)


@dataclass(frozen=True, eq=False)
class BagOfWords:
    """Logistic regression on word counts: the network without order.

    Parameters
    ----------
    accuracy : float
        Share of test documents judged right, ties left out.
    coefficients : ndarray of float64, shape (V,), or (K, V) for K > 2 classes
        Weight of each token; 0 for ``<pad>``.
    intercept : ndarray of float64, shape () or (K,)
        Offset of the logits.
    penalty : float
        Inverse strength of the L2 penalty that was used, sklearn's ``C``.
    """

    accuracy: float
    coefficients: np.ndarray
    intercept: np.ndarray
    penalty: float


def bag_of_words_baseline(
    train: Documents, test: Documents, *, penalty: float | None = None, seed: int = 0
) -> BagOfWords:
    """Fit logistic regression to word counts and score it on test documents.

    Parameters
    ----------
    train, test : Documents
        Of the same vocabulary.
    penalty : float, optional
        Inverse strength of the L2 penalty (sklearn's ``C``), > 0. By default the best of 0.01,
        0.03 ... 10 on a fifth of the training documents, which are then all fitted again.
    seed : int
        Decides which fifth.

    Returns
    -------
    BagOfWords
        Accuracy, and a coefficient per token.

    References
    ----------
    MWGGS, arXiv 1906.10720, section 3 and table 1 (bag of words).

    Examples
    --------
    >>> from tractable.dynamics.reviews import SyntheticReviews
    >>> language = SyntheticReviews(n_words=20, n_valenced=(2, 3, 3, 2))
    >>> train, test = language.sample(2000, seed=0), language.sample(500, seed=1)
    >>> baseline = bag_of_words_baseline(train, test, penalty=1.0)
    >>> baseline.accuracy > 0.97
    True
    """
    if train.vocabulary.words != test.vocabulary.words:
        raise ValueError("train and test must share one vocabulary; encode both with train's")
    if penalty is not None:
        check_range("penalty", penalty, 0, open_low=True)
        check_finite("penalty", penalty)
    counts, test_counts = _counts(train), _counts(test)
    if penalty is None:
        order = np.random.default_rng(derive(seed, "bag of words")).permutation(len(train))
        held, fitted = order[: len(order) // 5], order[len(order) // 5 :]
        grid = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
        scores = [
            _logistic(counts[fitted], train.labels[fitted], c).score(
                counts[held], train.labels[held]
            )
            for c in grid
        ]
        penalty = grid[int(np.argmax(scores))]
    model = _logistic(counts, train.labels, penalty)
    decided = np.ones(len(test), dtype=bool) if test.ties is None else ~test.ties
    accuracy = model.score(test_counts[decided], test.labels[decided])
    coefficients = model.coef_ * (np.arange(len(train.vocabulary)) != PAD)
    intercept = model.intercept_
    if len(coefficients) == 1:
        coefficients, intercept = coefficients[0], intercept[0]
    return BagOfWords(float(accuracy), coefficients, np.asarray(intercept), float(penalty))


def _logistic(counts, labels: np.ndarray, penalty: float):  # type: ignore[no-untyped-def]  # sklearn is imported lazily
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=penalty, max_iter=2000).fit(counts, labels)


def _counts(documents: Documents):  # type: ignore[no-untyped-def]  # scipy is imported lazily
    """Return sparse word counts, shape (n, V); padding is not counted."""
    from scipy.sparse import csr_array

    words = documents.tokens != PAD
    starts = np.concatenate([[0], words.sum(axis=1).cumsum()])
    tokens = documents.tokens[words]
    shape = (len(documents), len(documents.vocabulary))
    counts = csr_array((np.ones(len(tokens)), tokens, starts), shape=shape)
    counts.sum_duplicates()
    return counts


def trim_padding(tokens, lengths, *others):  # type: ignore[no-untyped-def]  # arrays or tensors alike
    """Cut a batch to its longest document; the ``collate`` of `tractable.train.minibatches`.

    Examples
    --------
    >>> tokens, lengths = trim_padding(np.array([[5, 0, 0], [6, 7, 0]]), np.array([1, 2]))
    >>> tokens.tolist()
    [[5, 0], [6, 7]]
    """
    return (tokens[:, : int(lengths.max())], lengths, *others)
