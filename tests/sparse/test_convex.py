import ast
from fractions import Fraction
from pathlib import Path

import cvxpy as cp
import numpy as np
import pytest
import torch

import isnas
from isnas.base.errors import UserError
from isnas.sparse.convex import Convex, require_mosek
from isnas.sparse.measurement import draw_measurement
from isnas.sparse.settings import MEASUREMENTS
from isnas.sparse.solvers import make_solver

LAM = 1e-5
SCALES = [1e-3, 1e-2, 0.1, 1.0, 10.0]


def recovery_problems(scale: float, kind: str, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    generator = torch.Generator().manual_seed(seed)
    matrices = [draw_measurement(kind, 7, n, generator) for n in (14, 21, 28, 35) * 2]
    return matrices, [scale * torch.randn(7, generator=generator, dtype=torch.float64).numpy() for _ in matrices]


def exact_gap_and_tolerance(A, b, lam, z) -> tuple[Fraction, Fraction]:
    """Of the very numbers in ``z``, without rounding."""
    exact = np.vectorize(Fraction, otypes=[object])
    A, b, z, lam = exact(A), exact(b), exact(z), Fraction(lam)
    residual = b - A @ z
    theta = min(Fraction(1), lam / max(abs(residual @ A).max(), lam)) * residual
    primal = residual @ residual / 2 + lam * abs(z).sum()
    return primal - theta @ b + theta @ theta / 2, primal / 10**9 + b @ b / (2 * 10**13)


def fresh_optimum(A, b, lam) -> np.ndarray:
    """The problem as it stands in the paper, at unit b so that absolute tolerances mean something."""
    unit = float(np.linalg.norm(b))
    z = cp.Variable(A.shape[1])
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(A @ z - b / unit) + lam / unit * cp.norm(z, 1)))
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    return unit * z.value


def objective(A, b, lam, z) -> float:
    return 0.5 * float(np.sum((A @ z - b) ** 2)) + lam * float(np.sum(np.abs(z)))


@pytest.mark.parametrize("kind", MEASUREMENTS)
@pytest.mark.parametrize("scale", SCALES)
def test_clarabel_is_certified_over_the_scales_of_b(scale, kind):
    matrices, b = recovery_problems(scale, kind)
    for A, target, solution in zip(matrices, b, make_solver("clarabel", matrices, LAM).solve(b)):
        assert solution.converged and solution.iterations > 0
        gap, tolerance = exact_gap_and_tolerance(A, target, LAM, solution.z)
        assert gap <= tolerance


@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0])
def test_a_freshly_built_literal_problem_agrees(scale):
    matrices, b = recovery_problems(scale, "uniform", seed=1)
    for A, target, solution in zip(matrices, b, Convex(matrices, LAM, "clarabel").solve(b)):
        expected = fresh_optimum(A, target, LAM)
        best = objective(A, target, LAM, expected)
        assert objective(A, target, LAM, solution.z) == pytest.approx(best, rel=1e-7)
        assert np.abs(solution.z - expected).max() <= 1e-4 * np.abs(expected).max()


def test_one_built_problem_serves_many_matrices_and_keeps_nothing_of_the_last():
    matrices, b = recovery_problems(1.0, "gaussian")
    solver = Convex(matrices, LAM, "clarabel")
    assert set(solver.problems) == {(7, 14), (7, 21), (7, 28), (7, 35)}
    first = solver.solve(b)
    solver.solve([-3.0 * target for target in b])
    for before, after in zip(first, solver.solve(b, warm=[solution.z for solution in first])):
        assert np.array_equal(before.z, after.z) and not np.shares_memory(before.z, after.z)


def test_zero_is_returned_where_it_is_the_solution():
    A, b = np.eye(3), np.array([0.9, -2.0, 0.5])
    for lam, target in ((2.0, b), (5.0, b), (1e-5, np.zeros(3))):
        solution = Convex([A], lam, "clarabel").solve([target])[0]
        assert solution.converged and not solution.z.any()
    solution = Convex([A], 1.0, "clarabel").solve([b])[0]
    assert solution.converged and np.allclose(solution.z, [0.0, -1.0, 0.0], atol=1e-8)


def test_a_zero_solution_is_not_what_the_shared_problem_solved_before():
    A, b = np.eye(3), np.array([1.0, -2.0, 0.5])
    solved, zero = Convex([A, A], 0.1, "clarabel").solve([b, 0.01 * b])
    assert solved.z.any() and not zero.z.any()


def set_licence(monkeypatch, tmp_path, variable: str | None) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MOSEKLM_LICENSE_FILE", raising=False)
    if variable is not None:
        monkeypatch.setenv("MOSEKLM_LICENSE_FILE", variable)


@pytest.fixture
def no_licence():
    try:
        require_mosek()
    except UserError:
        return
    pytest.skip("MOSEK has a licence here")


def test_without_a_licence_mosek_is_refused_with_the_way_out(no_licence, monkeypatch, tmp_path):
    set_licence(monkeypatch, tmp_path, None)
    with pytest.raises(UserError) as refused:
        require_mosek()
    message = str(refused.value)
    for part in (str(tmp_path / "mosek" / "mosek.lic"), "MOSEKLM_LICENSE_FILE", "homotopy", "clarabel"):
        assert part in message
    assert "\n" not in message and refused.value.__suppress_context__


def test_the_message_names_the_file_that_the_variable_names(no_licence, monkeypatch, tmp_path):
    elsewhere = str(tmp_path / "elsewhere.lic")
    set_licence(monkeypatch, tmp_path, elsewhere)
    with pytest.raises(UserError, match="MOSEKLM_LICENSE_FILE") as refused:
        require_mosek()
    assert f"no valid licence at {elsewhere};" in str(refused.value)


def test_a_licence_that_is_lost_never_ends_in_another_solver(no_licence):
    matrices, b = recovery_problems(1.0, "uniform")
    with pytest.raises(Exception, match=r"[Ll]icen[cs]e"):
        Convex(matrices[:1], LAM, "mosek").solve(b[:1])


def test_no_problem_leaves_the_choice_of_the_solver_to_cvxpy():
    """CVXPY would take MOSEK by itself where a licence is; every call therefore names a solver."""
    package = Path(isnas.__file__).parent
    named = []
    for path in sorted(package.rglob("*.py")):
        source = path.read_text()
        if "import cvxpy" not in source:
            assert "cvxpy." not in source, path
            continue
        for node in ast.walk(ast.parse(source)):
            is_solve = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "solve"
            if is_solve and ast.unparse(node.func.value).split(".")[-1] == "problem":
                keywords = {keyword.arg or ast.unparse(keyword.value) for keyword in node.keywords}
                assert keywords & {"solver", "settings"}, f"{path}:{node.lineno}"
                named.append((path.name, node.lineno))
        assert named, path
    assert Convex([np.eye(2)], LAM, "clarabel").settings["solver"] == cp.CLARABEL
    assert Convex([np.eye(2)], LAM, "mosek").settings["solver"] == cp.MOSEK


def test_clarabel_is_what_really_ran():
    matrices, b = recovery_problems(1.0, "uniform")
    solver = Convex(matrices, LAM, "clarabel")
    solver.solve(b)
    names = {problem.problem.solver_stats.solver_name for problem in solver.problems.values()}
    assert names == {"CLARABEL"}
