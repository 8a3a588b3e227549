"""Words, vocabularies and the generated review language."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from tractable import data
from tractable.dynamics.reviews import SyntheticReviews
from tractable.dynamics.text import (
    Documents,
    Vocabulary,
    bag_of_words_baseline,
    tokenize,
    trim_padding,
)
from tractable.train import minibatches

# ---- words


@pytest.mark.parametrize(
    ("whole", "cut"),
    [
        ("It doesn't work; I won't buy it!", "it does n't work ; i wo n't buy it !"),
        ("That\u2019s Pizza Hut's best.", "that 's pizza hut 's best ."),
        ("We're here, they've left", "we 're here , they 've left"),
        ("can't, couldn\u2019t", "ca n't , could n't"),
        ("an over-the-top 10/10", "an over the top 10 10"),
    ],
)
def test_cut_and_uncut_texts_give_the_same_words(whole, cut):
    # INDEPENDENT: SST comes cut by the Penn Treebank's rules, IMDB does not
    assert tokenize(whole) == tokenize(cut)
    assert tokenize(whole) == [word for word in cut.split() if word not in list(";!.,")]


def test_negation_survives():
    assert tokenize("NOT good, isn't good") == ["not", "good", "is", "n't", "good"]


def test_tags_and_punctuation_are_dropped_but_less_than_is_not():
    assert tokenize("good.<br /><br />Bad<i>!</i>") == ["good", "bad"]
    assert tokenize("1 < 2 and 3 > 2") == ["1", "2", "and", "3", "2"]
    assert tokenize("Wow... (no)!", punctuation=True) == ["wow", *"...", "(", "no", ")", "!"]
    assert tokenize(":-) \u2026") == []
    assert tokenize("caf\u00e9 na\u00efve_x") == ["caf\u00e9", "na\u00efve", "x"]


def test_vocabulary_orders_by_count_then_spelling():
    texts = ["b a c", "b a", "b d d"]
    vocabulary = Vocabulary.from_texts(texts, min_count=2)
    assert vocabulary.words == ("<pad>", "<unk>", "b", "a", "d")
    assert Vocabulary.from_texts(texts, max_size=3).words == ("<pad>", "<unk>", "b")
    assert len(Vocabulary.from_texts(texts, min_count=1)) == 6
    marks = partial(tokenize, punctuation=True)
    assert "!" in Vocabulary.from_texts(["a!"], min_count=1, tokenizer=marks).words


def test_encode_pads_cuts_and_marks_unknown():
    vocabulary = Vocabulary.from_texts(["one two three"], min_count=1)
    one, three, two = (vocabulary.index[word] for word in ("one", "three", "two"))
    tokens, lengths = vocabulary.encode(["Three, two, one!", "four one", ":)"])
    assert tokens.dtype == lengths.dtype == np.int64
    assert tokens.tolist() == [[three, two, one], [1, one, 0], [1, 0, 0]]
    assert lengths.tolist() == [3, 2, 1]
    assert vocabulary.decode(tokens[1]) == ["<unk>", "one"]
    tokens, lengths = vocabulary.encode(["one two three"], max_length=2)
    assert (tokens.tolist(), lengths.tolist()) == ([[one, two]], [2])
    tokens, lengths = vocabulary.encode([])
    assert tokens.shape == (0, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Vocabulary(("a", "b")), "must begin with '<pad>', '<unk>'"),
        (lambda: Vocabulary(("<pad>", "<unk>", "a", "a")), "got 'a' twice"),
        (lambda: Vocabulary.from_texts(["a b"]), "no word occurs 2 times"),
        (lambda: Vocabulary.from_texts(["a a"], min_count=0), "min_count must be >= 1"),
        (lambda: Vocabulary.from_texts(["a a"], max_size=2), "max_size must be >= 3"),
        (
            lambda: Documents.from_texts(
                ["a"], np.zeros(2), Vocabulary.from_texts(["a"], min_count=1)
            ),
            r"labels must have shape \(1,\)",
        ),
    ],
)
def test_bad_vocabularies_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---- the review language


def test_the_default_language_is_the_specified_one():
    # IDENTITY
    language = SyntheticReviews()
    values, counts = np.unique(language.valence[2:], return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {
        -2: 10,
        -1: 20,
        0: 140,
        1: 20,
        2: 10,
    }
    assert np.allclose(language.frequency[2:], 1 / 200)
    assert language.frequency[:2].tolist() == [0, 0]
    index = language.vocabulary.index
    named = {"great9": 2, "good17": 1, "bad0": -1, "awful3": -2, "word139": 0}
    assert {word: language.valence[index[word]] for word in named} == named
    reviews = language.sample(500, seed=1)
    assert reviews.tokens.shape == (500, 40)
    assert reviews.tokens.min() >= 2
    assert np.array_equal(reviews.scores, language.valence[reviews.tokens].sum(axis=1))
    decided = ~reviews.ties
    assert np.array_equal(reviews.labels[decided], (reviews.scores[decided] > 0).astype(int))
    assert np.array_equal(reviews.ties, reviews.scores == 0)


def exact_law(language: SyntheticReviews, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and their probabilities for independent words, by repeated convolution."""
    word = np.zeros(5)
    np.add.at(word, language.valence.astype(int) + 2, language.frequency)
    law = np.ones(1)
    for _ in range(length):
        law = np.convolve(law, word)
    return np.arange(-2 * length, 2 * length + 1), law


@pytest.mark.parametrize("zipf", [False, True])
def test_scores_follow_the_exact_law(zipf):
    # SIMULATION against the convolution of the words' law; 4 standard errors
    language = SyntheticReviews(zipf=zipf, length=10)
    values, law = exact_law(language, 10)
    n = 40_000
    reviews = language.sample(n, seed=2)
    for event, p in [
        (reviews.ties, law[values == 0].sum()),
        (reviews.scores > 2, law[values > 2].sum()),
        (reviews.labels == 1, 0.5),
    ]:
        assert abs(event.mean() - p) < 4 * np.sqrt(p * (1 - p) / n)
    assert abs(reviews.labels[reviews.ties].mean() - 0.5) < 2 / np.sqrt(reviews.ties.sum())


def test_zipf_is_one_over_rank_without_bias():
    # IDENTITY: pairs of opposite words share the mean of their two ranks' frequencies
    language = SyntheticReviews(zipf=True)
    frequency = language.frequency[2:]
    assert frequency.sum() == pytest.approx(1, abs=1e-12)
    assert abs(frequency @ language.valence[2:]) < 1e-15
    neutral = language.valence[2:] == 0
    harmonic = (1 / np.arange(1, 201)).sum()
    ranks = 1 / (frequency[neutral] * harmonic)
    assert np.abs(ranks - ranks.round()).max() < 1e-9
    assert len(set(ranks.round())) == 140
    assert language.frequency.tolist() == SyntheticReviews(zipf=True).frequency.tolist()


def by_hand(words: list[str], valence: dict[str, float]) -> float:
    """Score of a text with modifiers, word by word."""
    total, flipped, doubled = 0.0, 0, False
    for word in words:
        value = valence[word] * (-1 if flipped else 1) * (2 if doubled else 1)
        flipped, doubled = max(flipped - 1, 0), False
        if word == "not":
            flipped = 4
        if word == "very":
            doubled = True
        total += value
    return total


def test_modifiers_equal_a_reading_word_by_word():
    # INDEPENDENT: a reader with two registers instead of shifted arrays
    language = SyntheticReviews(
        modifiers=True, modifier_rate=0.2, n_valenced=(1, 1, 1, 1), n_words=8
    )
    valence = dict(zip(language.vocabulary.words, language.valence, strict=True))
    assert {"great", "good", "bad", "awful", "very", "not", "word0"} < set(valence)
    reviews = language.sample(300, seed=0)
    for text, score in zip(reviews.texts(), reviews.scores, strict=True):
        assert by_hand(text.split(), valence) == score
    rates = [(reviews.tokens == language.vocabulary.index[w]).mean() for w in ("not", "very")]
    assert np.abs(np.array(rates) - 0.2).max() < 4 * np.sqrt(0.16 / reviews.tokens.size)
    assert by_hand(["not", "word0", "word0", "word0", "good", "good"], valence) == 0
    assert by_hand(["not", "very", "good"], valence) == -2
    assert by_hand(["very", "very", "good", "bad"], valence) == 1


def test_lengths_are_uniform_and_padding_is_silent():
    language = SyntheticReviews(length=(5, 12), modifiers=True)
    reviews = language.sample(4000, seed=3)
    assert set(reviews.lengths) == set(range(5, 13))
    counts = np.bincount(reviews.lengths)[5:]
    assert np.abs(counts - 500).max() < 4 * np.sqrt(500)
    padding = np.arange(12) >= reviews.lengths[:, None]
    assert (reviews.tokens[padding] == 0).all()
    assert (reviews.tokens[~padding] != 0).all()
    assert (reviews.contributions[padding] == 0).all()


def test_k_classes_have_a_word_per_class_and_value():
    language = SyntheticReviews(n_classes=3, n_words=20, length=15)
    assert language.valence.shape == (22, 3)
    for k in range(3):
        assert sorted(v for v in language.valence[:, k] if v) == [-2, -1, 1, 2]
    assert language.valence[language.vocabulary.index["awful2"]].tolist() == [0, 0, -2]
    reviews = language.sample(6000, seed=0)
    best = reviews.scores.max(axis=1)
    chosen = reviews.scores[np.arange(len(reviews)), reviews.labels]
    assert np.array_equal(chosen, best)  # also of ties: one of the best is drawn
    assert np.array_equal(reviews.ties, (reviews.scores == best[:, None]).sum(axis=1) > 1)
    shares = np.bincount(reviews.labels) / 6000
    assert np.abs(shares - 1 / 3).max() < 4 * np.sqrt(2 / 9 / 6000)


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_star_levels_follow_the_exact_law(n_classes):
    # SIMULATION: shares of the levels against the convolution law, and near 1/K
    language = SyntheticReviews(n_classes=n_classes, ordered=True, length=40)
    values, law = exact_law(language, 40)
    n = 20_000
    reviews = language.sample(n, seed=1)
    for k in range(n_classes):
        inside = reviews.scores[(reviews.labels == k) & ~reviews.ties]
        p = law[(values >= inside.min()) & (values <= inside.max())].sum()
        share = ((reviews.labels == k) & ~reviews.ties).mean()
        assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / n)
        assert abs((reviews.labels == k).mean() - 1 / n_classes) < 0.07  # scores are whole numbers
    order = np.argsort(reviews.scores, kind="stable")
    assert (np.diff(reviews.labels[order][~reviews.ties[order]]) >= 0).all()


def test_two_star_levels_are_the_two_classes():
    # IDENTITY
    plain = SyntheticReviews().sample(300, seed=4)
    stars = SyntheticReviews(ordered=True).sample(300, seed=4)
    assert np.array_equal(plain.labels[~plain.ties], stars.labels[~stars.ties])


def test_the_same_seed_gives_the_same_documents():
    language = SyntheticReviews()
    first, again, other = (language.sample(50, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.tokens, again.tokens)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.tokens, other.tokens)


def test_texts_encode_back_to_their_tokens():
    # IDENTITY: through words and back
    for language in (
        SyntheticReviews(length=(3, 9), modifiers=True),
        SyntheticReviews(n_classes=4, n_words=30),
    ):
        reviews = language.sample(40, seed=0)
        tokens, lengths = language.vocabulary.encode(reviews.texts())
        assert np.array_equal(lengths, reviews.lengths)
        assert np.array_equal(tokens, reviews.tokens[:, : tokens.shape[1]])


def test_subset_keeps_everything_in_step():
    reviews = SyntheticReviews().sample(20, seed=0)
    part = reviews.subset(~reviews.ties)
    assert len(part) == (~reviews.ties).sum()
    assert not part.ties.any()
    assert np.array_equal(part.scores > 0, part.labels == 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "length must be >= 1"),
        ({"length": (5, 3)}, "the largest length must be >= 5"),
        ({"n_classes": 1}, "n_classes must be >= 2"),
        ({"n_words": 59}, "n_words must be >= 60"),
        ({"n_classes": 5, "n_words": 24}, "n_words must be >= 25"),
        ({"n_valenced": (1, 2, 3)}, "four counts"),
        ({"n_valenced": (0, 0, 0, 0)}, "four zeros"),
        ({"modifier_rate": 0.5}, "modifier_rate must be >= 0 and < 0.5"),
    ],
)
def test_bad_languages_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SyntheticReviews(**options)


# ---- the baseline


def test_bag_of_words_finds_the_valences():
    language = SyntheticReviews()
    train, test = language.sample(6000, seed=0), language.sample(2000, seed=1)
    baseline = bag_of_words_baseline(train, test)
    words = slice(2, None)
    correlation = np.corrcoef(baseline.coefficients[words], language.valence[words])[0, 1]
    assert correlation > 0.98
    assert baseline.accuracy > 0.97
    assert baseline.penalty > 0.01  # the strongest penalty is the worst where data are plenty
    assert baseline.coefficients[0] == 0


def test_bag_of_words_equals_counting_with_sklearn():
    # INDEPENDENT: the same regression on counts made by sklearn from the words
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    language = SyntheticReviews(length=(3, 30), n_classes=3, n_words=40)
    train, test = language.sample(800, seed=0), language.sample(300, seed=1)
    words = language.vocabulary.words
    counter = CountVectorizer(vocabulary=words, analyzer=str.split)
    counts = counter.fit_transform(train.texts())
    model = LogisticRegression(C=0.3, max_iter=2000).fit(counts, train.labels)
    baseline = bag_of_words_baseline(train, test, penalty=0.3)
    assert np.abs(baseline.coefficients - model.coef_).max() < 1e-3
    decided = ~test.ties
    judged = model.predict(counter.transform(test.texts()))
    assert baseline.accuracy == (judged == test.labels)[decided].mean()


def test_bag_of_words_refuses_two_vocabularies():
    train = SyntheticReviews().sample(10, seed=0)
    test = SyntheticReviews(n_words=100).sample(10, seed=0)
    with pytest.raises(ValueError, match="share one vocabulary"):
        bag_of_words_baseline(train, test)
    with pytest.raises(ValueError, match="penalty must be > 0"):
        bag_of_words_baseline(train, train, penalty=0.0)


def test_trimmed_batches_lose_padding_only():
    reviews = SyntheticReviews(length=(3, 30)).sample(60, seed=0)
    batches = minibatches(
        reviews.tokens,
        reviews.lengths,
        reviews.labels,
        batch_size=8,
        lengths=reviews.lengths,
        collate=trim_padding,
    )
    seen = list(batches(0))
    assert all(tokens.shape[1] == lengths.max() for tokens, lengths, _ in seen)
    assert sum((tokens != 0).sum() for tokens, _, _ in seen) == (reviews.tokens != 0).sum()
    assert torch.cat([labels for _, _, labels in seen]).sum() == reviews.labels.sum()


@pytest.mark.data("sll")
def test_bag_of_words_on_real_sentences():
    # PUBLISHED: bag of words with logistic regression is near 0.8 on these 3,000 sentences
    train, test = data.load("sll").random_split(500, seed=0)
    vocabulary = Vocabulary.from_texts(train.texts)
    documents = [
        Documents.from_texts(part.texts, part.labels, vocabulary) for part in (train, test)
    ]
    baseline = bag_of_words_baseline(*documents)
    assert baseline.accuracy > 0.77
    weight = dict(zip(vocabulary.words, baseline.coefficients, strict=True))
    assert min(weight["great"], weight["good"]) > 0.5 > -0.5 > max(weight["bad"], weight["n't"])
