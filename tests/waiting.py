"""Blocks of code that must not wait for a GPU."""

import contextlib

import torch


@contextlib.contextmanager
def no_waiting(device):
    """A block in which whatever waits for the GPU is an error."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
