"""Named data sets and the user's own tables: found, read, and refused with file and row."""

from __future__ import annotations

import gzip
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tractable import data
from tractable.data import corpora
from tractable.data.catalog import ALIASES, DATA_SETS, Remote

SLL = {"amazon_cells": "amazon", "imdb": "film", "yelp": "food"}


@pytest.fixture(autouse=True)
def empty_places(tmp_path, monkeypatch):
    """No test sees this machine's data, cache or network."""
    monkeypatch.setenv("TRACTABLE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TRACTABLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name, data_set in DATA_SETS.items():
        remotes = tuple(
            Remote(f"http://127.0.0.1:9/{r.file}", r.checksum, r.file) for r in data_set.remotes
        )
        monkeypatch.setitem(DATA_SETS, name, replace(data_set, remotes=remotes))


def sll_file(topic: str, n: int = 1000) -> bytes:
    rows = [
        f"This {topic} number {i} is {'good' if i % 2 else 'bad'}.  \t{i % 2}" for i in range(n)
    ]
    rows[7] = f"A {topic} with a next-line\u0085sign in it, caf\u00e9.\t1"
    return ("\n".join(rows) + "\n").encode()


def write_sll(folder: Path, **change: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, topic in SLL.items():
        (folder / f"{part}_labelled.txt").write_bytes(change.get(part, sll_file(topic)))


def sll_zip() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("sentiment labelled sentences/.DS_Store", b"junk")
        for part, topic in SLL.items():
            archive.writestr(f"sentiment labelled sentences/{part}_labelled.txt", sll_file(topic))
            archive.writestr(
                f"__MACOSX/sentiment labelled sentences/._{part}_labelled.txt", b"\xff"
            )
    return content.getvalue()


# ---- the UCI sentences


def test_uci_sentences_are_split_at_line_feeds_only(tmp_path):
    write_sll(tmp_path / "data" / "sll")
    texts = data.load("sll")
    assert len(texts) == 3000
    assert texts.labels.sum() == 1500
    assert texts.classes == ("negative", "positive")
    assert texts.texts[7] == "A amazon with a next-line\u0085sign in it, caf\u00e9."
    assert texts.texts[8] == "This amazon number 8 is bad."
    assert set(texts.part("yelp").texts) == set(texts.texts[2000:])
    assert data.locate("sll") == tmp_path / "data" / "sll"
    assert [path.name for path in data.files("sll")] == [f"{part}_labelled.txt" for part in SLL]


@pytest.mark.parametrize("root", ["data", "cache"])
@pytest.mark.parametrize("form", ["archive", "folder"])
def test_uci_sentences_come_in_other_forms(tmp_path, form, root):
    # INDEPENDENT: all forms give the same texts
    write_sll(tmp_path / "plain" / "sll")
    folder = tmp_path / root / "sll"
    folder.mkdir(parents=True)
    if form == "archive":
        (folder / "sentiment+labelled+sentences.zip").write_bytes(sll_zip())
    else:
        write_sll(folder / "sentiment labelled sentences")
    found = data.load("sll")
    os.environ["TRACTABLE_DATA"] = str(tmp_path / "plain")
    expected = data.load("sll")
    assert found.texts == expected.texts
    assert np.array_equal(found.labels, expected.labels)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (sll_file("food", 999), "'yelp' must hold 1,000 texts with 500 positive, got 999"),
        (sll_file("food").replace(b"bad.  \t0", b"bad.  \t1", 1), "501 positive"),
    ],
)
def test_cut_files_are_refused(tmp_path, content, message):
    write_sll(tmp_path / "data" / "sll", yelp=content)
    with pytest.raises(ValueError, match=message):
        data.load("sll")


def test_a_damaged_archive_is_refused(tmp_path):
    folder = tmp_path / "data" / "sll"
    folder.mkdir(parents=True)
    (folder / "sentiment+labelled+sentences.zip").write_bytes(sll_zip()[:5000])
    with pytest.raises(ValueError, match="not a whole zip archive"):
        data.load("sll")


def test_an_incomplete_folder_is_not_found(tmp_path):
    write_sll(tmp_path / "data" / "sll")
    (tmp_path / "data" / "sll" / "imdb_labelled.txt").unlink()
    assert data.locate("sll") is None
    with pytest.raises(data.DataNotFound, match="put amazon_cells_labelled"):
        data.files("sll")


# ---- IMDB, SST


REVIEWS = [("neg", i, f"bad {i}, <br />\nworse") for i in range(12)] + [
    ("pos", i, f"good {i}, \u00e9lan") for i in range(12)
]


def write_imdb(folder: Path, form: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for part in ("train", "test"):
        rows = ["label,rating,id,text"]
        for label, i, text in REVIEWS:
            text = f"{part} {text}"
            rows.append(f'{int(label == "pos")},7,{i},"{text}"')
            files[f"{part}/{label}/{i}_7.txt"] = text.encode()
        if form == "csv":
            (folder / f"{part}.csv.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    files["train/unsup/0_0.txt"] = b"no label"
    files["README"] = b"about"
    if form == "folder":
        for name, content in files.items():
            path = folder / "aclImdb" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    if form == "tar":
        with tarfile.open(folder / "aclImdb_v1.tar.gz", "w:gz") as archive:
            for name, content in sorted(files.items(), reverse=True):
                member = tarfile.TarInfo(f"aclImdb/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("form", ["csv", "folder", "tar"])
def test_imdb_reads_alike_in_every_form(tmp_path, monkeypatch, form):
    # INDEPENDENT: the three forms give the same texts in the same order
    write_imdb(tmp_path / "data" / "imdb", form)
    with pytest.raises(ValueError, match="'train' must hold 25,000 texts with 12,500 positive"):
        data.load("imdb")
    counts = {"train": 24, "test": 24}
    monkeypatch.setitem(DATA_SETS, "imdb", replace(DATA_SETS["imdb"], counts=counts))
    texts = data.load("imdb")
    assert texts.texts[:24] == tuple(f"train {text}" for _, _, text in REVIEWS)
    assert texts.texts[24:] == tuple(f"test {text}" for _, _, text in REVIEWS)
    assert texts.labels.tolist() == ([0] * 12 + [1] * 12) * 2
    assert texts.part("test").texts == texts.texts[24:]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[:400], "'train' must hold 25,000 texts"),  # tarfile takes this for the end
        (lambda raw: raw[:50] + bytes(50) + raw[100:], "is not a whole tar.gz archive"),
        (lambda raw: b"<html>", "is not a whole tar.gz archive"),
    ],
)
def test_a_damaged_tar_is_refused(tmp_path, damage, message):
    write_imdb(tmp_path / "data" / "imdb", "tar")
    path = tmp_path / "data" / "imdb" / "aclImdb_v1.tar.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        data.load("imdb")


STARS = [1.0, 5.0, 3.0, 2.0, 4.0, 1.0, 4.0]


def yelp_line(i: int, stars: float) -> str:
    """Return a review in the form of the open data set."""
    entry = {
        "review_id": f"r{i:021d}",
        "user_id": f"u{i:021d}",
        "business_id": f"b{i:021d}",
        "stars": stars,
        "useful": 0,
        "funny": 0,
        "cool": 0,
        "text": f"Visit {i}.\n\n\u00c9clairs at \u2028{stars:g} stars.",
        "date": "2018-07-07 22:09:11",
    }
    return json.dumps(entry, ensure_ascii=False)


def test_yelp_reviews_of_the_open_data_set(tmp_path, monkeypatch):
    folder = tmp_path / "data" / "yelp"
    folder.mkdir(parents=True)
    path = folder / "yelp_academic_dataset_review.json"
    lines = [yelp_line(i, stars) for i, stars in enumerate(STARS)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    texts = data.load("yelp")
    assert texts.labels.tolist() == [0, 1, 0, 1, 0, 1]  # 1-2 negative, 4-5 positive
    assert texts.classes == ("negative", "positive")
    assert texts.n_dropped == 1  # three stars
    assert texts.texts[2] == "Visit 3.\n\n\u00c9clairs at \u20282 stars."
    assert not texts.parts
    assert data.resolve("yelp").load().texts == texts.texts
    monkeypatch.setattr(corpora, "YELP_REVIEWS", 4)  # the rest of the file is not read
    path.write_text("\n".join([*lines[:5], "{cut"]), encoding="utf-8")
    assert data.load("yelp").texts == texts.texts[:4]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"stars": 4.0', "row 2: must be a JSON object with the keys stars and text"),
        ('{"stars": 4.0, "review": "good"}', "row 2: must be a JSON object with the keys"),
        ('["good", 4]', "row 2: must be a JSON object"),
        (yelp_line(1, 6.0), "row 2: stars must be 1 to 5, got 6"),
        (yelp_line(1, 3.0), "must hold negative and positive reviews, got 1 alike"),
    ],
)
def test_a_damaged_file_of_yelp_reviews_is_refused(tmp_path, line, message):
    folder = tmp_path / "data" / "yelp"
    folder.mkdir(parents=True)
    path = folder / "yelp_academic_dataset_review.json"
    path.write_text(f"{yelp_line(0, 1.0)}\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        data.load("yelp")


@pytest.mark.parametrize("form", ["tables", "folder", "tgz"])
def test_yelp_polarity_reads_alike_in_every_form(tmp_path, monkeypatch, form):
    folder = tmp_path / "data" / "yelp"
    inner = folder / "yelp_review_polarity_csv" if form == "folder" else folder
    inner.mkdir(parents=True)
    tables = {
        part: "".join(f'"{1 + i % 2}","{part} {i}, ""so"" said\\nthey"\n' for i in range(6))
        for part in ("train", "test")
    }
    if form == "tgz":
        with tarfile.open(folder / "yelp_review_polarity_csv.tgz", "w:gz") as archive:
            for part, table in tables.items():
                member = tarfile.TarInfo(f"yelp_review_polarity_csv/{part}.csv")
                member.size = len(table)
                archive.addfile(member, io.BytesIO(table.encode()))
    else:
        for part, table in tables.items():
            (inner / f"{part}.csv").write_text(table)
    with pytest.raises(ValueError, match="'train' must hold 560,000 texts with 280,000 positive"):
        data.load("yelp")
    counts = {"train": 6, "test": 6}
    monkeypatch.setitem(DATA_SETS, "yelp", replace(DATA_SETS["yelp"], counts=counts))
    texts = data.load("yelp")
    assert texts.part("test").texts[1] == 'test 1, "so" said\nthey'
    assert texts.labels.tolist() == [0, 1] * 6  # class 1 is negative
    assert texts.classes == ("negative", "positive")


def test_sst2_tables_and_the_glue_archive(tmp_path):
    folder = tmp_path / "data" / "sst2"
    folder.mkdir(parents=True)
    table = "sentence\tlabel\n" + "".join(f"phrase {i} \t{i % 2}\n" for i in range(872))
    for part in ("train", "dev", "test"):
        (folder / f"{part}.tsv.gz").write_bytes(gzip.compress(table.encode()))
    texts = data.load("sst2")
    assert list(texts.parts) == ["train", "dev", "test"]
    assert texts.texts[1] == "phrase 1"
    for path in folder.iterdir():
        path.unlink()
    with zipfile.ZipFile(folder / "SST-2.zip", "w") as archive:
        archive.writestr("SST-2/train.tsv", table)
        archive.writestr("SST-2/dev.tsv", table)
        archive.writestr("SST-2/test.tsv", "index\tsentence\n0\tunlabeled\n")
    texts = data.load("sst2")
    assert list(texts.parts) == ["train", "test"]
    assert len(texts) == 2 * 872


def test_sst_sentences_in_two_and_in_five_grades(tmp_path, monkeypatch):
    folder = tmp_path / "data" / "sst_sentences"
    folder.mkdir(parents=True)
    for part in ("train", "dev", "test"):
        for kind, grades in (("binary", 2), ("fine", 5)):
            rows = "".join(f"{i % grades} sentence {i} .\n" for i in range(10))
            (folder / f"stsa.{kind}.{part}.gz").write_bytes(gzip.compress(rows.encode()))
    for name in ("sst_sentences", "sst_fine"):
        monkeypatch.setitem(DATA_SETS, name, replace(DATA_SETS[name], counts={"train": 10}))
    assert data.load("sst_sentences").classes == ("negative", "positive")
    fine = data.load("sst_fine")
    assert fine.classes[0] == "very negative"
    assert fine.labels.tolist() == list(range(5)) * 6
    assert fine.texts[3] == "sentence 3 ."
    bad = gzip.compress(b"1 fine\nno digit\n")
    (folder / "stsa.fine.dev.gz").write_bytes(bad)
    with pytest.raises(ValueError, match=r"stsa.fine.dev.gz, row 2: must be a digit"):
        data.load("sst_fine")


# ---- a user's own table


def read(tmp_path, name: str, content: str | bytes):
    path = tmp_path / name
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return data.read_table(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'id,text,label\n1,"fine, really",1\n2,awful,0\n'),
        ("a.csv", 'Label,Review\r\n1,"fine, really"\r\n0,awful\r\n'),
        ("a.csv", 'sentiment;sentence\n1;"fine, really"\n0;awful\n'),
        ("a.csv", '"fine, really",1\nawful,0\n'),
        ("a.csv.gz", '1,"fine, really"\n0,awful'),
        ("a.tsv", "fine, really\t1\nawful\t0\n"),
        ("a.tsv", "0001\tfine, really\n\n0\tawful\n"),
        ("a.txt", "\ufefftext\tlabel\nfine, really\t1\nawful\t0\n"),
        ("a.TXT", "fine, really \t 1\r\nawful\t0\r\n"),
        ("a.csv", 'text,label\n"fine, really",positive\nawful,Negative\n'),
        ("a.csv", 'text,stars\n"fine, really",4\nso so,3\nawful,1\n'),
        ("a.jsonl", '{"stars": 5.0, "text": "fine, really"}\n{"stars": 2.0, "text": "awful"}\n'),
        ("a.csv", 'text,label\n"fine, really",3\nawful,-1\n'),
        ("a.jsonl", '{"Text": "fine, really", "LABEL": 1}\n{"label": 0, "text": "awful"}\n'),
    ],
)
def test_tables_are_understood(tmp_path, name, content):
    texts = read(tmp_path, name, content)
    assert texts.texts == ("fine, really", "awful")
    assert texts.labels.tolist() == [1, 0]
    assert texts.n_dropped == ("stars" in content and "so so" in content)


def test_labels_that_differ_in_the_last_digit_are_different(tmp_path):
    texts = read(tmp_path, "a.csv", "text,label\na,1000002\nb,1000001\nc,1.0\nd,0.1234567\n")
    assert texts.classes == ("0.1234567", "1", "1000001", "1000002")
    assert texts.labels.tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,label\ngood,1\nbad,0,5\n", r"a.csv, row 3: 3 columns, not 2; quote texts"),
        ("a.csv", 'text,label\ngood,1\n"bad"x,0\n', r"a.csv, row 3 cannot be read"),
        ("a.csv", 'text,label\ngood,1\n"bad,0\n', r"a.csv, row 3 cannot be read"),
        ("a.tsv", "good\t1\nbad 0\n", r"a.tsv, row 2: 1 columns, not 2; one TAB per row"),
        ("a.tsv", b"good\t1\nbad\t0\ncaf\xe9\t1\n", r"row 3: byte 0xe9 is not UTF-8; .* iconv"),
        ("a.tsv", "good\t1\n  \t0\n", r"a.tsv, row 2: the text is empty; delete the row"),
        ("a.tsv", "good\t1\nbad\t\n", r"a.tsv, row 2: the label is missing"),
        ("a.tsv", "good\t1\nfair\t1\nbad\tx\n", r"row 3: the label must be a number, got 'x'"),
        ("a.tsv", "good\t1\nbad\tnan\nfair\t1\n", r"a.tsv, row 2: the label is missing"),
        ("a.csv", "text,label\ngood,1\nbad,NaN\nfair,0\n", r"a.csv, row 3: the label is missing"),
        ("a.csv", "text,label\ngood,yes\nbad,\nfair,no\n", r"a.csv, row 3: the label is missing"),
        ("a.tsv", "good\t1\nbad\t1\n", r"two classes or more are needed, but all 2 labels are '1'"),
        ("a.csv", "text,label\n", "two classes or more are needed, but it holds no text"),
        ("a.csv", "text,stars\nso so,3\n", "but it holds no text"),
        ("a.csv", "text,stars\nso so,3\ngood,6\n", "row 3: stars must be 1 to 5, got 6"),
        ("a.csv", "text,stars\nso so,good\n", "row 2: the label must be a number, got 'good'"),
        ("a.csv", "text,grade\ngood,1\n", r"row 1: columns 'text', 'grade'; name the columns"),
        ("a.csv", "words,grade\ngood,1\nbad,0\n", r"row 1: columns 'words', 'grade'; name"),
        ("a.csv", "good,1,7\nbad,0,7\n", r"row 1: columns 'good', '1', '7'; name the columns"),
        ("a.tsv", "1\t2\n0\t3\n", r"row 1: columns '1', '2'; name the columns"),
        ("a.txt", "", "is empty"),
        ("a.jsonl", '{"text": "good", "label": 1}\n{bad}\n', "row 2 cannot be read as JSON"),
        ("a.jsonl", '{"text": "good", "label": 1}\n[1]\n', "row 2: one JSON object per line"),
        ("a.jsonl", '{"text": "good", "label": 1}\n{"text": "x"}\n', "row 2: the label is missing"),
        ("a.jsonl", '{"text": "x", "label": null}\n', "a.jsonl, row 1: the label is missing"),
        ("a.jsonl", '{"text": "x", "label": NaN}\n', "a.jsonl, row 1: the label is missing"),
        ("a.jsonl", '{"text": null, "label": 1}\n', "a.jsonl, row 1: the text is empty"),
        (
            "a.jsonl",
            '{"Words": "x", "label": 1}\n',
            "row 1: each object needs .*: 'Words', 'label'$",
        ),
        ("a.jsonl", "\n{}\n", "row 2: each object needs .*the keys are: none$"),
        ("a.xlsx", "", r"the file type of a.xlsx must be one of '.csv', '.tsv'"),
        ("a.tsv", "".join(f"t\t{i}\n" for i in range(21)), "21 different labels, .*at most 20"),
    ],
)
def test_bad_tables_are_refused_with_file_and_row(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, name, content)


@pytest.mark.parametrize("n", [8, 30])
def test_swapped_columns_are_asked_about(tmp_path, n):
    rows = "".join(f"This is sentence {i} of a long review,{i % 2}\n" for i in range(n))
    with pytest.raises(ValueError, match=rf"a.csv: {n} different labels.*swapped\?") as caught:
        read(tmp_path, "a.csv", "label,text\n" + rows)
    message = str(caught.value)
    assert message.count("This is sentence") == 3
    assert "'This is sentence 0 of a lon...'" in message
    assert ("at most 20 classes" in message) == (n > 20)


def test_long_names_of_few_classes_are_no_sentences(tmp_path):
    names = ["not at all good", "neither good nor bad", "quite good I think"]
    texts = read(tmp_path, "a.tsv", "text\tlabel\n" + "".join(f"t\t{name}\n" for name in names))
    assert set(texts.classes) == {name.lower() for name in names}


def test_a_cut_gzip_and_a_missing_file_are_refused(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"text,label\n" + os.urandom(4000).hex().encode())[:-50])
    with pytest.raises(ValueError, match="not a whole gzip file"):
        data.read_table(path)
    with pytest.raises(ValueError, match="there is no such file"):
        data.read_table(tmp_path / "b.csv")
    with pytest.raises(ValueError, match="is a folder"):
        data.read_table(tmp_path)


def test_random_split_is_a_partition_decided_by_the_seed(tmp_path):
    texts = read(tmp_path, "a.tsv", "".join(f"text {i}\t{i % 2}\n" for i in range(50)))
    train, test = texts.random_split(10, seed=3)
    assert len(test) == 10
    assert sorted(train.texts + test.texts) == sorted(texts.texts)
    assert all(int(t.split()[1]) % 2 == y for t, y in zip(test.texts, test.labels, strict=True))
    assert test.texts == texts.random_split(10, seed=3)[1].texts
    assert test.texts != texts.random_split(10, seed=4)[1].texts
    for n_test in (0, 50):
        with pytest.raises(ValueError, match="n_test must be"):
            texts.random_split(n_test, seed=0)


# ---- resolve, download, list


@pytest.fixture
def server(monkeypatch):
    """Serve one archive as the address of the UCI sentences."""
    served = {"content": sll_zip(), "drip": 0.0, "status": 200}
    closing = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            try:
                self.send_response(served["status"])
                self.send_header("Content-Length", str(len(served["content"])))
                self.end_headers()
                for i in range(40 if served["drip"] else 0):
                    self.wfile.write(served["content"][i : i + 1])
                    if closing.wait(served["drip"]):
                        return
                self.wfile.write(served["content"])
            except OSError:
                pass  # the client has left

        def log_message(self, *_):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{httpd.server_port}/sentences.zip"
    remote = Remote(url, None, "sentiment+labelled+sentences.zip")
    monkeypatch.setitem(DATA_SETS, "sll", replace(DATA_SETS["sll"], remotes=(remote,)))
    yield served
    closing.set()
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def test_auto_downloads_once_then_finds(tmp_path, server):
    assert data.resolve("auto", download_missing=False).choice == "synthetic"
    first = data.resolve("auto")
    assert first.choice == "uci"
    assert first.files == (tmp_path / "cache" / "sll" / "sentiment+labelled+sentences.zip",)
    assert len(first.load()) == 3000
    server["status"] = 500
    assert data.resolve("auto") == first
    assert data.locate("sll") == tmp_path / "cache" / "sll"


def test_auto_does_not_wait_for_a_slow_server(server):
    server["drip"] = 0.1  # a byte every 0.1 s for 4 s: never silent, but too slow
    started = time.monotonic()
    resolved = data.resolve("auto", timeout=0.4)
    assert time.monotonic() - started < 3.0
    assert (resolved.choice, resolved.files) == ("synthetic", ())
    assert "generated review language" in resolved.note
    assert "not complete after 0.4 s" in resolved.note
    with pytest.raises(ValueError, match="SyntheticReviews"):
        resolved.load()


def test_a_wrong_archive_is_not_kept(tmp_path, server):
    server["content"] = b"<html>moved</html>"
    resolved = data.resolve("auto")
    assert resolved.choice == "synthetic"
    assert "not a whole zip" in resolved.note
    assert data.locate("sll") is None
    with pytest.raises(data.DataNotFound, match=r"put amazon_cells.*download failed"):
        data.load("sll")


def test_a_wrong_checksum_is_refused(monkeypatch, server):
    data_set = DATA_SETS["sll"]
    remote = replace(data_set.remotes[0], checksum="md5:" + "0" * 32)
    monkeypatch.setitem(DATA_SETS, "sll", replace(data_set, remotes=(remote,)))
    with pytest.raises(data.DataNotFound, match="download failed"):
        data.download("sll")
    assert data.locate("sll") is None


def test_unreachable_data_say_which_file_goes_where(tmp_path):
    assert data.resolve("auto").choice == "synthetic"
    with pytest.raises(data.DataNotFound) as caught:
        data.resolve("uci")
    message = str(caught.value)
    assert "put amazon_cells_labelled.txt, imdb_labelled.txt, yelp_labelled.txt" in message
    assert str(tmp_path / "data" / "sll") in message
    assert "The download failed" in message
    with pytest.raises(data.DataNotFound, match=r"put stsa.binary.train.gz"):
        data.resolve("sst")
    assert issubclass(data.DataNotFound, ValueError)


def test_own_names_of_data_sets_are_choices(tmp_path, monkeypatch):
    write_sll(tmp_path / "data" / "sll")
    folder = tmp_path / "data" / "sst_sentences"
    folder.mkdir()
    for part in ("train", "dev", "test"):
        for kind, n in (("binary", 2), ("fine", 5)):
            raw = "".join(f"{i % n} sentence {i} .\n" for i in range(10))
            (folder / f"stsa.{kind}.{part}.gz").write_bytes(gzip.compress(raw.encode()))
    for name in ("sst_sentences", "sst_fine"):
        counts = dict.fromkeys(("train", "dev", "test"), 10)
        monkeypatch.setitem(DATA_SETS, name, replace(DATA_SETS[name], counts=counts))
    monkeypatch.chdir(tmp_path / "data")  # a folder of the same name is not meant
    assert data.resolve("sll") == data.resolve("uci")
    assert data.resolve("sst_sentences") == data.resolve("sst")
    assert len(data.resolve("sst_sentences").load().classes) == 2
    assert len(data.resolve("sst_fine").load().classes) == 5
    readable = {name for name, data_set in DATA_SETS.items() if data_set.reader}
    assert readable == set(ALIASES)


def test_choices_and_paths(tmp_path):
    write_sll(tmp_path / "data" / "sll")
    uci = data.resolve("uci")
    assert uci.files == data.files("sll")
    assert data.resolve("auto").files == uci.files
    mine = tmp_path / "mine.tsv"
    mine.write_text("good\t1\nbad\t0\n" * 10)
    for resolved in (
        data.resolve(str(mine)),
        data.resolve("path", path=mine),
        data.resolve("auto", path=mine),
    ):
        assert (resolved.choice, resolved.files) == ("path", (mine,))
        assert resolved.load().texts == ("good", "bad") * 10
    few = tmp_path / "few.tsv"
    few.write_text("good\t1\nbad\t0\n" * 9 + "good\t1\n")
    with pytest.raises(
        ValueError, match=r"few.tsv holds 19 texts; at least 20 are needed to train"
    ):
        data.resolve(str(few)).load()
    assert data.resolve("synthetic").files == ()
    with pytest.raises(ValueError, match="did you mean 'uci'"):
        data.resolve("uic")
    with pytest.raises(ValueError, match="unless it is the path of a file") as caught:
        data.resolve("mnist")
    assert "'path'" not in str(caught.value)
    assert "'sll'" in str(caught.value)
    for folder in (".", str(tmp_path)):
        with pytest.raises(ValueError, match="got the folder"):
            data.resolve(folder)
    with pytest.raises(data.DataNotFound, match="no such file"):
        data.resolve("nowhere.csv")
    with pytest.raises(ValueError, match="no path is given"):
        data.resolve("path")
    with pytest.raises(ValueError, match="did you mean 'imdb'"):
        data.load("imbd")
    with pytest.raises(ValueError, match="no corpus of texts"):
        data.load("mnist")


def test_listing_says_where_or_what_to_do(tmp_path):
    write_sll(tmp_path / "data" / "sll")
    rows = {row.name: row for row in data.listing()}
    assert rows.keys() == DATA_SETS.keys() >= {"sll", "imdb", "sst2", "mnist", "cifar10", "leuven"}
    assert rows["sll"].folder == tmp_path / "data" / "sll"
    assert rows["sll"].size == sum(path.stat().st_size for path in data.files("sll"))
    assert rows["sll"].advice == ""
    assert rows["sll"].license == "CC BY 4.0"
    assert rows["mnist"].folder is None
    assert "train-images-idx3-ubyte.gz" in rows["mnist"].advice
    assert all(row.description and row.license for row in rows.values())


def test_importing_and_resolving_needs_neither_torch_nor_numpy():
    code = (
        "import sys, tractable.data as d; d.resolve('synthetic'); "
        "print([m for m in ('torch', 'numpy', 'pandas', 'pooch') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# ---- the real files

REAL = os.environ.get("TRACTABLE_DATA")  # read before the fixture hides it


def real(name: str, monkeypatch):
    monkeypatch.setenv("TRACTABLE_DATA", REAL)
    return data.load(name)


@pytest.mark.parametrize(
    ("name", "n", "positive"),
    [
        pytest.param("sll", 3000, 1500, marks=pytest.mark.data("sll")),
        pytest.param("imdb", 50_000, 25_000, marks=pytest.mark.data("imdb")),
        pytest.param("sst_sentences", 9613, 4963, marks=pytest.mark.data("sst_sentences")),
    ],
)
def test_the_real_corpora_have_their_published_sizes(monkeypatch, name, n, positive):
    # PUBLISHED: Kotzias 2015, Maas 2011; SST binary counts as in the files of Kim 2014
    texts = real(name, monkeypatch)
    assert len(texts) == n
    assert texts.labels.sum() == positive
    assert all(text.strip() for text in texts.texts)


@pytest.mark.data("sll")
def test_real_next_line_signs_do_not_cut_sentences(monkeypatch):
    texts = real("sll", monkeypatch)
    assert sum("\u0085" in text for text in texts.texts) == 2
