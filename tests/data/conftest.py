"""No test of the data layer sees the datasets or the network of the machine it runs on."""

import socket

import pytest

from isnas.data import sources


@pytest.fixture(autouse=True)
def _no_data_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "DATA_ROOT", tmp_path / "default-root")
    monkeypatch.setattr(sources, "DEBIAN_ROOT", tmp_path / "debian")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*arguments, **keywords):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
