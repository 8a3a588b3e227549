"""What linear-stopping, -denoise, -transfer-own and semantic-own make of a user's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tractable.linear import aligned_tasks, read_items
from tractable.studies.linear._own_arrays import check_rows, read_matrix
from tractable.studies.linear._stopping_cases import generated
from tractable.studies.linear._stopping_runs import endpoints
from tractable.studies.linear.linear_denoise import LinearDenoise
from tractable.studies.linear.linear_stopping import LinearStopping
from tractable.studies.linear.linear_transfer_own import LinearTransferOwn
from tractable.studies.linear.semantic_own import SemanticOwn

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(80, 6))
Y = X @ RANDOM.normal(size=(6, 4)) + RANDOM.normal(size=(80, 4))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("m.csv", "1,2,3\n4,5,6\n"),
        ("m.csv", "a,b,c\n1,2,3\n4,5,6\n"),
        ("m.csv", "\ufeffa;b;c\n1;2;3\n4;5;6\n"),
        ("m.tsv", "a b\tb\tc\n1\t2\t3\n4\t5\t6\n"),
        ("m.txt", "1 2 3\n4 5 6\n"),
    ],
)
def test_text_files(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text, encoding="utf-8")
    np.testing.assert_array_equal(read_matrix("x", str(tmp_path / file)), [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"x: .*m.csv is empty"),
        ("a,b\n", r"x: .*m.csv is empty"),
        ("1,2,3\n4,,6\n", r"m.csv, row 2, column 2: the cell is empty"),
        ("a,b\n1,2\n3,x\n", r"m.csv, row 3, column 2: 'x' is no number"),
        ("1,2,3\n4,5\n", r"m.csv, row 2: 2 columns, the rows above have 3"),
        (",f0,f1\nanna,1,2\n", r"m.csv, row 2, column 1: 'anna' is no number"),
        ("1,nan\n3,4\n", r"x must be finite"),
        ("1,1e80\n3,4\n", r"x must not exceed"),
    ],
)
def test_faults_of_text_files_are_located(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_matrix("x", str(path))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 2, 2)), r"must hold a matrix, got shape \(3, 2, 2\)"),
        (np.zeros((0, 5)), "is empty"),
        (np.ones((3, 2)) * 1j, "must hold real numbers"),
        (np.array([["a"]]), "must hold real numbers"),
    ],
)
def test_arrays_that_are_no_matrix(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "m.npy", array)
    with pytest.raises(ValueError, match=message):
        read_matrix("y", str(tmp_path / "m.npy"))


def test_files_that_are_none(tmp_path: Path) -> None:
    for name in ("m.npy", "m.csv"):
        (tmp_path / name).write_bytes(b"\x93NUMPY\xff\xfe")
        with pytest.raises(ValueError, match=r"not an array of numbers|hold text"):
            read_matrix("x", str(tmp_path / name))
    with pytest.raises(ValueError, match="there is none at"):
        read_matrix("x", str(tmp_path))
    (tmp_path / "m.xlsx").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"must be a .npy, .csv, .tsv or .txt file"):
        read_matrix("x", str(tmp_path / "m.xlsx"))


def test_transposed_files_are_recognized() -> None:
    for x, y, hint in ((X.T, Y, "x"), (X, Y.T, "y"), (X.T, Y.T, None)):
        with pytest.raises(ValueError, match="the same number of rows") as caught:
            check_rows(x, y)
        expected = f"transpose {hint or 'x and y'}?"
        assert str(caught.value).endswith(expected)
    with pytest.raises(ValueError, match=r"got 80 and 79$"):
        check_rows(X, Y[:79])
    check_rows(X, Y)


def test_own_tables(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", Y)
    table = read_items(tmp_path / "t.npy")
    np.testing.assert_array_equal(table.Y, Y)
    assert table.items[:2] == ("item 0", "item 1")
    path = tmp_path / "t.csv"
    path.write_text("item;barks;purrs\ndog;1;0\ncat;0;1\n")
    assert read_items(path).features == ("barks", "purrs")
    path.write_text("1,0,1\n0,1,1\n1,1,0\n")
    with pytest.raises(ValueError, match=r"must have names of features .* got the numbers 0, 1"):
        read_items(path)
    path.write_bytes(b"\x93NUMPY\xff")
    with pytest.raises(ValueError, match="must hold text"):
        read_items(path)
    np.save(tmp_path / "t.npy", Y[:, 0])
    with pytest.raises(ValueError, match=r"must hold a matrix \(items, features\)"):
        read_items(tmp_path / "t.npy")


def _files(folder: Path, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    return {"x": str(folder / "x.npy"), "y": str(folder / "y.npy")}


def test_answers_say_what_is_not_reliable_and_when_to_stop(tmp_path: Path) -> None:
    study = LinearStopping(**_files(tmp_path, X, Y), n_splits=2, learning_rate=0.1)
    result = study.run(seed=0, out=tmp_path / "runs")
    said = [answer for answer in result.answers if isinstance(answer, str)]
    assert "Not reliable for your data (2 of 2 splits)" in said[1]
    assert "fewer than 50" in said[1]
    assert said[2].startswith("With all 80 examples, none kept for a test:")
    assert f"stop at step {result.theory.attrs['all_step']}." in said[2]
    assert result.theory.attrs["all_step"] > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.ones((80, 4))}, "y must not be constant"),
        ({"x": np.ones((80, 4))}, "x must not be constant"),
        ({"x": X[:3], "y": Y[:3]}, r"to leave 3 for training, got 3 with test_fraction = 0.25"),
        ({"x": X.T}, r"transpose x\?"),
    ],
)
def test_files_to_learn_from(tmp_path: Path, change: dict, message: str) -> None:
    study = LinearStopping(**_files(tmp_path, change.get("x", X), change.get("y", Y)))
    with pytest.raises(ValueError, match=message):
        study.cases(0)


@pytest.mark.parametrize(
    ("matrix", "center", "said"),
    [
        (np.zeros((6, 5)), False, ["Your matrix, 6 x 5, is zero."]),
        (np.ones((6, 5)), True, ["Your matrix, 6 x 5, is zero but for means."]),
        (np.outer(np.ones(6), np.arange(5.0)), False, ["has rank 1 and shows no noise", "rough"]),
        (X, False, ["holds 0 signals above noise of standard deviation", "rough", "zero"]),
    ],
)
def test_what_a_matrix_holds(
    tmp_path: Path, matrix: np.ndarray, center: bool, said: list[str]
) -> None:
    np.save(tmp_path / "m.npy", matrix)
    study = LinearDenoise(y=str(tmp_path / "m.npy"), center=center)
    answers = study.run(seed=0, out=tmp_path / "runs").answers
    for sentence, answer in zip(said, answers, strict=False):
        assert sentence in str(answer)


def test_items_that_are_alike_have_no_paths(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("item,grow,move\noak,1,0.5\nrose,1,0.5\npine,1,0.5\n")
    study = SemanticOwn(data=str(path), n_hidden=8, n_seeds=1, step=0.05)
    result = study.run(seed=0, out=tmp_path / "runs")
    assert set(result.figures) == {"strengths"}
    assert any("the same features" in str(answer) for answer in result.answers)


def test_items_of_equal_modes_have_no_order(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.eye(4))
    study = SemanticOwn(data=str(tmp_path / "t.npy"), n_hidden=8, n_seeds=1, step=0.05)
    result = study.run(seed=0, out=tmp_path / "runs")
    assert not result.checks
    assert any("No mode stands apart" in str(answer) for answer in result.answers)


def test_shrinkage_of_the_generated_task_is_that_of_the_report() -> None:
    case = generated(0)
    report = LinearStopping().predict(case)
    Z, Z_test = ((x - report.X_mean) @ report.whitening for x in (case.X, case.X_test))
    T, T_test = case.Y - report.Y_mean, case.Y_test - report.Y_mean
    final, shrunk = endpoints(Z, T, Z_test, T_test, report)
    # new inputs differ a little from those that were whitened
    assert shrunk == pytest.approx(report.shrinkage_loss, rel=0.05)
    assert final == pytest.approx(report.final_loss, rel=0.1)
    assert shrunk < 0.9 * final


def own_pair(folder: Path, q: float) -> dict[str, str]:
    pair = aligned_tasks(3.0, 10.0, q, n_in=120, n_out_a=100, seed=3)
    found = {}
    for name, values in (("x", pair.a.X), ("y_a", pair.a.Y), ("y_b", pair.b.Y)):
        np.save(folder / f"{name}.npy", values)
        found[name] = str(folder / f"{name}.npy")
    return found


def test_a_task_of_the_same_inputs_helps_and_another_does_not(tmp_path: Path) -> None:
    found = []
    for q in (1.0, 0.0):
        study = LinearTransferOwn(**own_pair(tmp_path, q))
        result = study.run(out=tmp_path / "runs", progress=False)
        measured = result.measured
        assert measured.overlap.shape == (1, 1)
        assert abs(abs(float(measured.overlap[0, 0])) - q) < 0.15
        # With as many examples as inputs the shuffled B keeps its strength, and loses its overlap.
        assert float(measured.shuffled_benefit) == pytest.approx(
            float(result.theory.benefit[0]), abs=0.03
        )
        assert set(result.figures) == {"transfer"}
        found.append(float(measured.benefit))
        word = "would help" if found[-1] > 0 else "would harm"
        assert word in str(result.answers[0])
    assert found[0] > 0.05
    assert found[1] < 0.01


def test_noise_has_nothing_to_transfer(tmp_path: Path) -> None:
    names = own_pair(tmp_path, 1.0)
    for name in ("y_a", "y_b"):
        np.save(names[name], np.random.default_rng(len(name)).normal(size=(120, 70)))
    result = LinearTransferOwn(**names).run(out=tmp_path / "runs", progress=False)
    assert float(result.measured.rank_a) == 0
    assert "changes nothing" in str(result.answers[0])
    assert result.figures == {}
    assert any("no signal of task A" in note for note in result.notes)


def test_the_three_files_of_a_transfer_go_together(tmp_path: Path) -> None:
    names = own_pair(tmp_path, 1.0)
    with pytest.raises(ValueError, match="x, y_a and y_b go together"):
        LinearTransferOwn(x=names["x"], y_a=names["y_a"])
    np.save(names["y_b"], np.load(names["y_b"]).T)
    with pytest.raises(ValueError, match=r"x and y_b must .* transpose y_b"):
        LinearTransferOwn(**names).run(out=tmp_path / "runs", progress=False)


def test_a_task_beside_itself_has_no_curve_but_an_answer(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    X = random.standard_normal((60, 8))
    files = {"x": X, "y_a": X @ random.standard_normal((8, 5)) + random.standard_normal((60, 5))}
    files["y_b"] = files["y_a"]
    for name, values in files.items():
        np.save(tmp_path / f"{name}.npy", values)
    study = LinearTransferOwn(**{name: str(tmp_path / f"{name}.npy") for name in files})
    result = study.run(seed=0, out=tmp_path / "runs")
    assert not result.figures
    assert "5 of task A, 5 of task B" in " ".join(str(answer) for answer in result.answers)
