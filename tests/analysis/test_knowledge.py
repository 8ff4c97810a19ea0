"""tools/analyse.py knowledge: watched searches step by step, correlations against scipy's, recovery by programs."""

import json
from itertools import combinations

import numpy as np
import pytest
import scipy.stats
from matplotlib.image import imread
from scipy.optimize import linprog
from sklearn.linear_model import Lasso
from test_tabulated import made_up

from isnas.analysis.commands import main
from isnas.analysis.tabulated import knowledge, watching
from isnas.analysis.tabulated.benchmarks import BENCHMARKS
from isnas.analysis.tabulated.dense_scores import LARGE_LAMBDA, choices, draw_scores
from isnas.base.errors import UserError
from isnas.data.data_options import DataOptions
from isnas.data.small.datasets import load_dataset
from isnas.methods.registry import SEARCHES
from isnas.space.connections import bits_of

DIGITS = BENCHMARKS["mini_digits"]
SIZES = DIGITS.space.sizes


def few_images(benchmark):
    return load_dataset(DataOptions(dataset=benchmark.dataset, image_size=8, max_train_images=256))


@pytest.mark.parametrize("search", knowledge.SEARCHES, ids=lambda search: search.name)
def test_a_watched_search_is_the_sum_of_its_steps(search, monkeypatch):
    steps = []

    class Recorded(SEARCHES[search.method]):
        def update_b(self, x, labels):
            support = self.measured if search.method == "sampled_recovery" else self.connections().support
            before = [b.detach().numpy().copy() for b in self.architecture.b]
            result = super().update_b(x, labels)
            after = [b.detach().numpy().copy() for b in self.architecture.b]
            steps.append((support, before, after, self.architecture.matrices))
            return result

    row = watching.SEARCHES.rows[search.method]._replace(method=lambda: Recorded)
    monkeypatch.setitem(watching.SEARCHES.rows, search.method, row)
    row = watching.watched_row(search, DIGITS, few_images(DIGITS), 1, 5)
    found = watching.Watched.of_row(json.loads(json.dumps(row)), SIZES)
    # the budget is 32 steps' passes; a step costs one in the warm-up, of 10, 12 or 14 steps, and 2 or 4/3 after it
    of_b = {"two-stage, z every step": 16, "sampled gradients": 10, "sampled recovery": 13}.get(search.name, 11)
    assert found.steps == len(steps) == of_b
    assert found.supports == len({tuple(support) for support, *_ in steps}) > 1
    for j, size in enumerate(SIZES):
        for k in range(size):
            moves = [(k in S[j], A[j][:, k] @ (after[j] - before[j])) for S, before, after, A in steps]
            assert found.ran[j][k] == sum(ran for ran, _ in moves)
            assert found.own[j][k] == pytest.approx(sum(move for ran, move in moves if ran), rel=1e-4, abs=1e-7)
            assert found.others[j][k] == pytest.approx(sum(move for ran, move in moves if not ran), rel=1e-4, abs=1e-7)
        *_, after, A = steps[-1]
        correlation = A[j].T @ (after[j] - A[j] @ found.z[j])
        assert np.abs(correlation).max() <= 1.1e-5 + 1e-5 * np.abs(after[j]).max()  # lambda, and the digits of a row
        if found.scores is not None:
            moved = found.own[j] + found.others[j]
            assert moved == pytest.approx(A[j].T @ A[j] @ found.scores[j].sum(0), rel=1e-3, abs=1e-5)
    assert (found.scores is None) == (search.method == "two_stage")


@pytest.mark.parametrize("n", [6, 14])
def test_recovered_dense_scores_by_programs_and_by_counting(n):
    m, draws = 7, 12
    A, u = draw_scores(m, n, draws, 3)
    assert np.linalg.norm(A, axis=1) == pytest.approx(1)
    percentiles, shares = np.zeros((4, draws)), np.zeros((4, draws))
    for draw in range(draws):
        third = sorted(u[draw])[-3]

        def least(b, A=A[draw]):  # min |z|_1 with A z = b
            z = linprog(np.ones(2 * n), A_eq=np.hstack([A, -A]), b_eq=b, bounds=(0, None)).x
            return z[:n] - z[n:]

        z = least(A[draw] @ u[draw])
        lasso = Lasso(alpha=LARGE_LAMBDA / m, fit_intercept=False, tol=1e-10, max_iter=10**6)
        large = lasso.fit(A[draw], A[draw] @ u[draw]).coef_
        shifted = least(A[draw] @ np.maximum(u[draw] - third, 0))
        for rule, values in enumerate((abs(z), z, large, shifted)):
            chosen = set(sorted(range(n), key=lambda k: -values[k].round(9))[:2])
            pairs = [set(pair) for pair in combinations(range(n), 2)]
            total = {frozenset(pair): sum(u[draw][k] for k in pair) for pair in pairs}
            others = [value for pair, value in total.items() if pair != chosen]
            percentiles[rule, draw] = 100 * np.mean([value < total[frozenset(chosen)] for value in others])
            shares[rule, draw] = 50 * sum(u[draw][k] > third for k in chosen)
    found = choices(m, n, 2, draws, 3)
    assert [each.percentile for each in found] == pytest.approx(percentiles.mean(1))
    assert [each.found for each in found] == pytest.approx(shares.mean(1))


def rows_of(seeds, rng):
    """Rows of made-up searches in which some connections never ran, some of them said nothing of, and ties."""
    rows = []
    for search in knowledge.NAMES:
        for seed in seeds:
            ran = [rng.integers(0, 3, size) * rng.integers(0, 2, size) for size in SIZES]
            own, others = ([rng.normal(size=size).round() / 2 for size in SIZES] for _ in range(2))
            z = [(rng.normal(size=size) * (rng.random(size) < 0.4)).round(1) for size in SIZES]
            scores = (
                [(rng.normal(size=(2, size)).round() / 2).tolist() for size in SIZES] if "sampled" in search else None
            )
            lists = {"ran": ran, "own": own, "others": others, "z": z}
            row = {key: [part.tolist() for part in value] for key, value in lists.items()}
            row["scores"] = scores if "sampled" in search else None
            rows.append({"search": search, "budget": 4, "seed": seed, "steps": 10, "supports": 3} | row)
    return rows


def write_rows(path, rows, name="mini_digits"):
    lines = [{"benchmark": name, "train_digest": ""}, *rows]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def command(folder, *flags):
    files = ["--file", folder / "table.jsonl", "--rows", folder / "rows.jsonl", "--draws", 10, "--resamples", 100]
    main(["knowledge", "--table", "mini_digits", *map(str, files), *map(str, flags)])


def test_what_is_said_against_scipy(tmp_path, capsys):
    table = made_up(tmp_path / "table.jsonl", "mini_digits")
    rows = rows_of(range(2000, 2003), np.random.default_rng(0))
    write_rows(tmp_path / "rows.jsonl", [*rows, rows[0] | {"budget": 1}])
    command(tmp_path, "--no_search", "--num_seeds", 9, "--output", tmp_path / "out")
    text, values = (tmp_path / "out/table.md").read_text(), json.loads((tmp_path / "out/knowledge.json").read_text())
    assert text in capsys.readouterr().out and len(values["searches"]) == len(rows)

    active = np.array([bits_of(DIGITS.supports[cell], SIZES) for cell in table], dtype=bool)
    losses = np.array([np.mean(row["loss"]) for row in table.values()])
    with_it = np.array([losses[has].mean() for has in active.T]) - losses.mean()
    truth = np.split(with_it * -np.repeat([(n - 1) / (n - 2) for n in SIZES], SIZES), [SIZES[0]])
    for ours, theirs in zip(values["effects"], truth):
        assert ours == pytest.approx(theirs)
    truth = values["effects"]  # ties are as they were

    def said(row, j):
        own, others, z = (np.array(row[key][j]) for key in ("own", "others", "z"))
        yield from (own + others, own, others, z, abs(z))
        if row["scores"]:
            yield np.sum(row["scores"][j], axis=0)

    def correlation(x, y):
        return 0 if np.ptp(y) == 0 else scipy.stats.spearmanr(x, y).statistic

    wanted = []
    for name in knowledge.NAMES:
        own = [row for row in rows if row["search"] == name]
        for what in range(6 if "sampled" in name else 5):
            every, never = [], []
            for row in own:
                nodes = [(np.array(truth[j]), list(said(row, j))[what], np.array(row["ran"][j]) == 0) for j in (0, 1)]
                every.append(np.mean([correlation(x, y) for x, y, _ in nodes]))
                some = [correlation(x[of], y[of]) for x, y, of in nodes if of.sum() > 2]
                never += [np.mean(some)] if some else []
            wanted.append((name, every, never))
    assert len(wanted) == len(values["correlations"]) == 22
    for each, (name, every, never) in zip(values["correlations"], wanted):
        assert each["search"] == name and each["every"] == pytest.approx(every) and len(never) > 1
        assert each["never"] == pytest.approx(never)
        assert f"{np.mean(every):.2f} ± {np.std(every, ddof=1):.2f}" in text

    for name in knowledge.NAMES:
        own = [row for row in rows if row["search"] == name]
        never = [100 * np.mean([count == 0 for node in row["ran"] for count in node]) for row in own]
        moved = [[sum(abs(x) for node in row[key] for x in node) for key in ("own", "others")] for row in own]
        others = [100 * theirs / (ours + theirs) for ours, theirs in moved]
        spread = " | ".join(f"{np.mean(each):.0f} ± {np.std(each, ddof=1):.0f}" for each in (never, others))
        assert f"| {name} | 3 | 10 | 3.0 ± 0.0 | {spread} |" in text
        if "sampled" in name:
            halves = [np.mean([np.corrcoef(node)[0, 1] for node in row["scores"]]) for row in own]
            assert f"| {np.mean(halves):.2f} ± {np.std(halves, ddof=1):.2f} |" in text
    for picture in ("knowledge", "knowledge_z"):
        assert imread(tmp_path / f"out/{picture}.png").std() > 0.05


def test_it_resumes(tmp_path, monkeypatch):
    monkeypatch.setattr(knowledge, "images_of", few_images)
    made_up(tmp_path / "table.jsonl", "mini_digits")
    path, flags = tmp_path / "rows.jsonl", ("--trainings", 1, "--num_seeds", 1)
    command(tmp_path, *flags)
    whole = path.read_text().splitlines()
    assert [json.loads(line)["search"] for line in whole[1:]] == list(knowledge.NAMES)
    path.write_text("\n".join(whole)[:-30])
    command(tmp_path, *flags)
    again = path.read_text().splitlines()
    first, second = (json.loads(lines[-1]) | {"seconds": 0} for lines in (whole, again))
    assert again[:-1] == whole[:-1] and first == second


def test_mistakes(tmp_path):
    made_up(tmp_path / "table.jsonl", "mini_digits", count=44)
    with pytest.raises(UserError, match=r"44 architectures, too few to tell what 15 connections do; train 45 or more"):
        command(tmp_path, "--no_search")
    made_up(tmp_path / "table.jsonl", "mini_digits", count=45)
    with pytest.raises(UserError, match=r"there is no file .*rows.jsonl; give --rows, or leave --no_search out"):
        command(tmp_path, "--no_search")
    rows = rows_of([2000], np.random.default_rng(0))
    write_rows(tmp_path / "rows.jsonl", rows, "mini")
    with pytest.raises(UserError, match=r"rows.jsonl has benchmark 'mini', not 'mini_digits'"):
        command(tmp_path, "--no_search")
    write_rows(tmp_path / "rows.jsonl", rows)
    with pytest.raises(UserError, match=r"rows.jsonl has no row of these searches"):
        command(tmp_path, "--no_search", "--first_seed", 0)
    del rows[2]["z"]
    for row in (rows[2], rows[0] | {"own": [[1.0], [2.0]]}, rows[0] | {"z": [[float("nan")] * n for n in SIZES]}):
        write_rows(tmp_path / "rows.jsonl", [row])
        with pytest.raises(UserError, match=r"rows.jsonl has a row that is none of a search: .*; remove it") as error:
            command(tmp_path, "--no_search")
        assert "\n" not in str(error.value)
