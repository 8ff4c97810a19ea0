"""What a run has come to, twice: hashes that any other bit changes, and numbers to compare with a tolerance."""

import hashlib
import json
import os
import re

import numpy as np
import pytest
import torch
from killing import metrics

#: What else decides which kernels run, when it is set.
VARIABLES = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR")


def environment() -> str:
    """What the last bits of a run depend on, in one line: versions, and what chooses kernels and their blocks."""
    processor = torch.cpu.get_capabilities()
    maker = next((name for name in ("AMD", "Intel") if name in processor.get("cpu_name", "")), "other")
    flags = [name for name in ("avx512_bf16", "avx512_fp16", "amx_bf16", "avx10_1", "avx10_2") if processor.get(name)]
    caches = [f"{name} {processor.get(f'{name}_cache_size', 0) // 1024}K" for name in ("l1d", "l2")]
    forced = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    kernels = [maker, torch.backends.cpu.get_cpu_capability(), *flags, *caches, *forced]
    return f"torch {torch.__version__}, numpy {np.__version__}, {' '.join(kernels)}"


def hashes(run):
    """By file name: of its rows or content, without times; of weights.pt the names, types, shapes and bytes."""
    found = {"metrics.jsonl": _hash_json(metrics(run)), "weights.pt": _hash_tensors(run)}
    found["genotype.json"] = _hash_json(json.loads((run / "genotype.json").read_text()))
    for name in ("genotypes.jsonl", "distances.jsonl"):
        if (run / name).exists():
            found[name] = _hash_json([json.loads(line) for line in (run / name).read_text().splitlines()])
    return dict(sorted(found.items()))


def summary(run):
    """Losses by epoch, last accuracies, what changed and terminated, and norms of the weights by kind."""
    rows = metrics(run)
    found = {f"{key} {n}": row[key] for n, row in enumerate(rows) for key in row if key.endswith("/loss")}
    found |= {key: value for row in rows for key, value in row.items() if key.endswith("/acc")}
    found["supports changed"] = sum(row.get("recovery/num_changes", 0) for row in rows)
    found["nodes terminated"] = rows[-1].get("terminated", 0)
    squares: dict[str, float] = {}
    for path, value in _tensors(torch.load(run / "weights.pt", weights_only=True)):
        kind = re.match(r"[^.]*\.[a-zA-Z_]*", path)[0]
        if value.is_floating_point():
            squares[kind] = squares.get(kind, 0.0) + value.double().square().sum().item()
    return found | {f"norm of {kind}": square**0.5 for kind, square in squares.items()}


def differences(found, expected, relative):
    """The lines of two summaries that are further apart than other kernels explain; accuracies may be 5 % apart."""
    lines = [f"{key}: there is no more, or it is new" for key in sorted(found.keys() ^ expected.keys())]
    for key in found.keys() & expected.keys():
        tolerance = {"abs": 5.0} if key.endswith("/acc") else {"rel": relative}
        if found[key] != pytest.approx(expected[key], **tolerance):
            lines.append(f"{key}: {found[key]:.8g}, not {expected[key]:.8g}")
    return sorted(lines)


def _hash_json(value):
    return _short(json.dumps(value, sort_keys=True).encode())


def _hash_tensors(run):
    parts = []
    for path, value in sorted(_tensors(torch.load(run / "weights.pt", weights_only=True))):
        content = value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        parts.append(f"{path} {value.dtype} {tuple(value.shape)} {_short(content)}")
    return _short("\n".join(parts).encode())


def _short(content):
    return hashlib.sha256(content).hexdigest()[:16]


def _tensors(value, path=""):
    """The tensors of nested dicts and lists, with their paths."""
    if isinstance(value, torch.Tensor):
        return [(path.removeprefix("."), value)]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [tensor for key, part in items for tensor in _tensors(part, f"{path}.{key}")]
