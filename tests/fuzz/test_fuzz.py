"""Every reader on a few seconds of damaged and odd inputs: accepted, or refused with one line, and nothing else.

``python scripts/fuzz.py --deep 1000`` tries more of them.
"""

import os
import signal
import time

import pytest
from fuzz.harness import ESCAPE, Target, outcomes
from fuzz.targets import TARGETS

from isnas.base.errors import UserError


@pytest.mark.parametrize("name", TARGETS)
def test_only_user_errors_come_out(name, tmp_path):
    target = TARGETS[name]
    escapes = [each for each in outcomes(target, 0, range(target.inputs), tmp_path) if each.kind == ESCAPE]
    assert not escapes, "\n".join(f"{name} 0 {escape.number}: {escape.reason}" for escape in escapes[:5])


def test_the_harness_sees_every_kind_of_escape(tmp_path):
    kept = []

    def check(number, folder):
        if number == 1:
            raise UserError("one line")
        if number == 2:
            raise UserError("x" * 5000)
        if number == 3:
            os.kill(os.getpid(), signal.SIGSEGV)
        if number == 4:
            time.sleep(5)
        if number == 5:
            kept.append(bytearray(300 << 20))
        assert number != 6, "another result"

    numbers = iter(range(1000))
    target = Target("harness", lambda rng: next(numbers), check, mebibytes=50, seconds=0.5)
    found = []
    for number in range(8):  # each in a process of its own, which draws the next number of this one
        found += outcomes(target, 0, range(number, number + 1), tmp_path)
    assert [outcome.kind for outcome in found] == ["refused", *["escape"] * 5, "accepted", "accepted"]
    reasons = [outcome.reason for outcome in found]
    assert reasons[0] == "one line" and "5000 characters" in reasons[1] and "SIGSEGV" in reasons[2]
    assert "0.5 seconds" in reasons[3] and "MiB" in reasons[4] and "another result" in reasons[5]
