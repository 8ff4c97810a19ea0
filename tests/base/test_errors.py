"""How a tool ends: one line that can be printed, whatever the error holds, and what stands for too little memory."""

import errno
import sys

import pytest
import torch

from isnas.base.errors import LostContactError, PreemptedError, UserError, lack_of_memory, run_tool


def ended(error, monkeypatch, capsys):
    """Exit code and what is said when a tool raises an error."""
    monkeypatch.setattr(sys, "argv", ["/somewhere/tool.py"])

    def main(argv):
        raise error

    with pytest.raises(SystemExit) as end:
        run_tool(main)
    return end.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("no\nsuch  file"), 2, "error: no such file"),
        (UserError("a\x1b[31mb\x07\x85c\u202ed"), 2, r"error: a\x1b[31mb\x07 c\u202ed"),
        (OSError(errno.ENOSPC, "No space left", "x\ud800"), 2, r"error: [Errno 28] No space left: 'x\ud800'"),
        (PreemptedError("stopped"), 85, "stopped"),
        (LostContactError("gone"), 1, "error: gone"),
        (KeyboardInterrupt(), 130, "stopped by the user"),
    ],
)
def test_one_line_that_can_be_printed(error, code, said, monkeypatch, capsys):
    assert ended(error, monkeypatch, capsys) == (code, f"tool.py: {said}\n")


def test_a_line_of_bounded_length(monkeypatch, capsys):
    code, said = ended(UserError(f"begin {'x' * 10**6} end"), monkeypatch, capsys)
    assert code == 2 and len(said) < 2100 and said.startswith("tool.py: error: begin xx") and said.endswith("xx end\n")


def test_an_error_of_the_program_stays_a_traceback(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tool.py"])
    with pytest.raises(RuntimeError, match="of the program"):
        run_tool(lambda argv: (_ for _ in ()).throw(RuntimeError("of the program")))


def allocate_too_much():
    torch.empty(2**46, dtype=torch.float64)


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        (allocate_too_much, "there is not enough memory for 524288.0 GiB more: take fewer images or words"),
        (lambda: torch.empty(2**62, dtype=torch.float64), "there is not enough memory"),
        (lambda: bytearray(2**60), "there is not enough memory: take fewer images"),
    ],
)
def test_too_little_memory(fill, words, monkeypatch, capsys):
    with pytest.raises((RuntimeError, MemoryError)) as lacking:
        fill()
    code, said = ended(lacking.value, monkeypatch, capsys)
    assert code == 2 and words in said and said.count("\n") == 1


def test_of_a_gpu_and_of_something_else():
    said = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which"
    assert "on the GPU for 2.00 GiB more" in str(lack_of_memory(torch.OutOfMemoryError(said)))
    assert lack_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    assert lack_of_memory(UserError("out of memory")) is None
