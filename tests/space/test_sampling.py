import math
from collections import Counter

import pytest

from isnas.base.errors import UserError
from isnas.space.cells.genotype import DARTS_OPERATIONS
from isnas.space.cells.published import published
from isnas.space.cells.resolve import resolve_genotype
from isnas.space.cells.sampling import random_genotype


def test_random_cells_are_uniform_and_reproducible():
    genotypes = [random_genotype(seed) for seed in range(1000)]
    assert random_genotype(3) == genotypes[3] == resolve_genotype("random:3") and len({*genotypes}) == 1000
    nodes = [genotype.reduce[3] for genotype in genotypes]
    assert all(len({predecessor for _, predecessor in node}) == 2 for node in nodes)
    for counts, choices in (
        (Counter(operation for node in nodes for operation, _ in node), len(DARTS_OPERATIONS)),
        (Counter(predecessor for node in nodes for _, predecessor in node), 5),
    ):
        error = math.sqrt(2000 / choices)  # of a count, at most
        assert len(counts) == choices and all(abs(n - 2000 / choices) < 4 * error for n in counts.values())


def test_a_folder_does_not_hide_a_published_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ISTA_twostage").mkdir()
    assert resolve_genotype("ISTA_twostage") == published("ISTA_twostage").genotype


def test_a_seed_is_a_number():
    for text in ("random:", "random:-1", "random:x"):
        with pytest.raises(UserError, match="random:SEED"):
            resolve_genotype(text)
