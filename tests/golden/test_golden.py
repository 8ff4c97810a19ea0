"""Small real runs come to the very same bits as when they were recorded, or, on other processors, close to it."""

import json
import warnings
from pathlib import Path

import pytest
from fingerprints import differences, environment, hashes, summary
from golden_runs import RUNS, perform

pytestmark = pytest.mark.slow

TABLE = json.loads(Path(__file__).with_name("golden.json").read_text())


@pytest.mark.parametrize("name", RUNS)
def test_the_run_is_the_recorded_one(name, tmp_path):
    run = perform(name, tmp_path)
    expected = TABLE["environments"].get(environment(), {}).get(name)
    recorded = [numbers[name] for numbers in TABLE["summaries"].values() if name in numbers]
    apart = min((differences(summary(run), numbers, RUNS[name].relative) for numbers in recorded), key=len)
    if expected is None:
        warnings.warn(f"no golden entry for {environment()}: {name!r} compared with a tolerance only", stacklevel=1)
        assert not apart, "\n".join(apart)
    else:
        found = hashes(run)
        changed = sorted(file for file in found | expected if found.get(file) != expected.get(file))
        far = "\n".join(apart) or "all numbers of the summary within its tolerance"
        assert not changed, f"{', '.join(changed)} changed; see tests/golden/README.md\n{far}"
