"""The data sets that this library knows: what they hold, whom to cite, in which forms they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["ALIASES", "CHOICES", "DATA_SETS", "DataSet", "Remote"]


@dataclass(frozen=True)
class Remote:
    """One file to download: its address, its checksum (``md5:...``) and its name in the cache."""

    url: str
    checksum: str | None
    file: str


@dataclass(frozen=True)
class DataSet:
    """One named data set.

    Parameters
    ----------
    name : str
        What `load` and `resolve` take.
    description : str
        One line.
    source : str
        Whom to cite.
    license : str
        Terms of use, as far as they are stated by the source.
    forms : tuple of tuples of str
        The forms in which it may lie in its folder, best first: each lists the patterns that must
        all match.
    folder : str
        Folder below ``$TRACTABLE_DATA`` and the cache; the name if empty.
    remotes : tuple of Remote
        What a download fetches; empty where the source forbids it or needs a form to be filled in.
    reader : str
        Function of `tractable.data.corpora`; empty where the reader comes with its system, and of
        images, which `load_images` reads.
    counts : mapping of str to int
        Texts or images in each part, checked by the reader.
    contents : mapping of str to str
        MD5 of unpacked files by their bare names, checked by the reader.
    """

    name: str
    description: str
    source: str
    license: str
    forms: tuple[tuple[str, ...], ...]
    folder: str = ""
    remotes: tuple[Remote, ...] = ()
    reader: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)


_SLL = ("amazon_cells_labelled.txt", "imdb_labelled.txt", "yelp_labelled.txt")
_IMDB = tuple(f"{part}/{label}/*.txt" for part in ("train", "test") for label in ("neg", "pos"))
_POLARITY = ("train.csv", "test.csv")
_MNIST = {
    "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
}

_ALL = (
    DataSet(
        "sll",
        "3,000 sentences from reviews of products, films and restaurants, positive or negative",
        "Kotzias, Denil, de Freitas, Smyth 2015, doi:10.1145/2783258.2783380 (UCI, set 331)",
        "CC BY 4.0",
        (
            _SLL,
            tuple(f"sentiment labelled sentences/{file}" for file in _SLL),
            ("sentiment?labelled?sentences.zip",),
        ),
        remotes=(
            Remote(
                "https://archive.ics.uci.edu/static/public/331/sentiment+labelled+sentences.zip",
                None,  # checked by its content: three files of 1,000 rows, half of them positive
                "sentiment+labelled+sentences.zip",
            ),
        ),
        reader="read_sll",
        counts={"amazon_cells": 1000, "imdb": 1000, "yelp": 1000},
    ),
    DataSet(
        "imdb",
        "Large Movie Review: 25,000 + 25,000 film reviews, positive or negative",
        "Maas, Daly, Pham, Huang, Ng, Potts 2011, https://aclanthology.org/P11-1015",
        "no license stated; cite the paper",
        (
            ("train.csv.gz", "test.csv.gz"),
            ("aclImdb_v1.tar.gz",),
            _IMDB,
            tuple(f"aclImdb/{pattern}" for pattern in _IMDB),
        ),
        remotes=(
            Remote(
                "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
                "md5:7c2ac02c03563afcf9b574c7e56c153a",
                "aclImdb_v1.tar.gz",
            ),
        ),
        reader="read_imdb",
        counts={"train": 25_000, "test": 25_000},
    ),
    DataSet(
        "sst2",
        "SST-2: phrases of film reviews, positive or negative",
        "Socher et al. 2013, https://aclanthology.org/D13-1170; GLUE: arXiv 1804.07461",
        "no license stated; cite the paper",
        (("train.tsv.gz", "dev.tsv.gz", "test.tsv.gz"), ("SST-2.zip",)),
        remotes=(
            Remote(
                "https://dl.fbaipublicfiles.com/glue/data/SST-2.zip",
                "md5:9f81648d4199384278b86e315dac217c",
                "SST-2.zip",
            ),
        ),
        reader="read_sst2",
        counts={"test": 872},
    ),
    DataSet(
        "sst_sentences",
        "Stanford Sentiment Treebank: 9,613 whole sentences, positive or negative",
        "Socher et al. 2013, https://aclanthology.org/D13-1170",
        "no license stated; cite the paper",
        (tuple(f"stsa.binary.{part}.gz" for part in ("train", "dev", "test")),),
        reader="read_sst",
        counts={"train": 6920, "dev": 872, "test": 1821},
    ),
    DataSet(
        "sst_fine",
        "Stanford Sentiment Treebank: 11,855 whole sentences in five grades",
        "Socher et al. 2013, https://aclanthology.org/D13-1170",
        "no license stated; cite the paper",
        (tuple(f"stsa.fine.{part}.gz" for part in ("train", "dev", "test")),),
        folder="sst_sentences",
        reader="read_sst",
        counts={"train": 8544, "dev": 1101, "test": 2210},
    ),
    DataSet(
        "yelp",
        "Yelp reviews, positive or negative: 560,000 + 38,000 of 2015, or 500,000 of the open set",
        "Zhang, Zhao, LeCun 2015, arXiv 1509.01626; Yelp, https://business.yelp.com/data",
        "Yelp's terms; to be fetched by yourself",
        (
            ("yelp_review_polarity_csv.tgz",),
            ("yelp_review_polarity_csv.tar.gz",),
            _POLARITY,
            tuple(f"yelp_review_polarity_csv/{file}" for file in _POLARITY),
            ("yelp_academic_dataset_review.json",),
        ),
        reader="read_yelp",
        counts={"train": 560_000, "test": 38_000},
    ),
    DataSet(
        "mnist",
        "60,000 + 10,000 images of handwritten digits, 28 x 28",
        "LeCun, Bottou, Bengio, Haffner 1998, doi:10.1109/5.726791",
        "no license stated; cite the paper",
        (tuple(_MNIST), tuple(file.removesuffix(".gz") for file in _MNIST)),
        remotes=tuple(
            Remote(f"https://ossci-datasets.s3.amazonaws.com/mnist/{file}", checksum, file)
            for file, checksum in _MNIST.items()
        ),
        counts={"train": 60_000, "test": 10_000},
        contents={
            "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
            "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
            "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
            "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        },
    ),
    DataSet(
        "cifar10",
        "50,000 + 10,000 color images of ten kinds of things, 32 x 32",
        "Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf",
        "no license stated; cite the report",
        (("cifar-10-binary.tar.gz",), ("train-jpg.zip", "test-jpg.zip")),
        remotes=(
            Remote(
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                "md5:c32a1d4ab5d03f1284b67883e8d87530",
                "cifar-10-binary.tar.gz",
            ),
        ),
        counts={"train": 50_000, "test": 10_000},
    ),
    DataSet(
        "leuven",
        "Leuven norms: animals and artifacts by features, typicality, similarities",
        "De Deyne et al. 2008, doi:10.3758/BRM.40.4.1030",
        "no license stated; cite the paper",
        (
            (
                "animal_exemplar_features_sum.csv",
                "artifact_exemplar_features_sum.csv",
                "*_typicality_ratings.csv",
            ),
            ("animal_exemplar_features_sum.csv", "artifact_exemplar_features_sum.csv"),
        ),
    ),
    DataSet(
        "awa",
        "Animals with Attributes: 50 animals by 85 attributes, binary",
        "Osherson, Stern, Wilkie, Stob, Smith 1991, doi:10.1207/s15516709cog1502_3",
        "no license stated; cite the paper",
        (("predicate-matrix-binary.txt", "classes.txt", "predicates.txt"),),
    ),
    DataSet(
        "neural",
        "Rat motor cortex: spike counts of 30 neurons in 100 bins of 20 ms and 1,266 trials",
        "rat motor cortex spike times, motor_ctx_data.npz",
        "no license stated; cite the paper",
        (("rat_motor_tensor_20ms_u8.npz",),),
    ),
    DataSet(
        "it92",
        "92 objects: dissimilarities of responses in monkey and human inferior temporal cortex",
        "Kriegeskorte et al. 2008, doi:10.1016/j.neuron.2008.10.043",
        "no license stated; cite the paper",
        (("92_brainRDMs.mat", "Kriegeskorte_Neuron2008_supplementalData.mat"),),
    ),
)

DATA_SETS: dict[str, DataSet] = {data_set.name: data_set for data_set in _ALL}
"""All named data sets, by name."""

# What a study's field `data` may say, and the data set meant.
CHOICES = {
    "uci": "sll",
    "imdb": "imdb",
    "yelp": "yelp",
    "sst2": "sst2",
    "sst": "sst_sentences",
    "sst_fine": "sst_fine",
}

# The choice that a data set's own name stands for.
ALIASES = {name: choice for choice, name in CHOICES.items()}
