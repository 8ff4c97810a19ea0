"""Folders for the Hugging Face Hub, and its own client against a server that keeps what it is sent."""

import base64
import http.server
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from networks import DIGITS, make_network, save_network
from safetensors.torch import load_file
from small_texts import SMALL

from isnas.base import extras
from isnas.base.errors import UserError
from isnas.base.options import build
from isnas.base.random import initialising
from isnas.data.data_options import DataOptions
from isnas.data.dataset_info import DatasetInfo
from isnas.data.text.vocabulary import EOS, Vocabulary
from isnas.engine.language.options import LanguageOptions
from isnas.engine.language.trained import TrainedModel, load_any, load_model, save_model
from isnas.engine.trained import Trained, load_trained
from isnas.space.recurrent.network import target_network
from isnas.space.recurrent.published import PUBLISHED

PHOTOS = DatasetInfo("imagefolder", ("cat", "dog"), (0.5,) * 3, (0.25,) * 3, 16, True)


def saved_photos(folder):
    options = DataOptions(dataset="imagefolder", data="/home/someone/photos")
    save_network(folder / "weights.pt", make_network(PHOTOS), PHOTOS, options)
    return load_trained(folder)


def test_a_network_comes_back_from_a_folder(tmp_path):
    trained = saved_photos(tmp_path / "run")
    trained.save_pretrained(tmp_path / "hub")
    assert {path.name for path in (tmp_path / "hub").iterdir()} == {"config.json", "model.safetensors", "README.md"}
    again = Trained.from_pretrained(tmp_path / "hub")
    for name in ("genotype", "sizes", "info", "computation", "geometry"):
        assert getattr(again, name) == getattr(trained, name)
    assert again.data.data == "photos"
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.network(x).logits, trained.network(x).logits)

    numbers, config = (
        load_file(tmp_path / "hub/model.safetensors"),
        json.loads((tmp_path / "hub/config.json").read_text()),
    )
    assert all(torch.equal(tensor, numbers[name]) for name, tensor in trained.network.state_dict().items())
    assert config["info"]["classes"] == ["cat", "dog"] and "weights" not in config
    card = (tmp_path / "hub/README.md").read_text()
    assert "pipeline_tag: image-classification" in card and str(trained.genotype) in card and "someone" not in card
    for path in ("hub", "hub/model.safetensors"):
        assert load_any(tmp_path / path).info == PHOTOS


def test_a_language_model_comes_back_from_a_folder(tmp_path):
    genotype, words = PUBLISHED["DARTS_V2"].genotype, Vocabulary((EOS, "caf\xe9", "the"))
    options = build(LanguageOptions, SMALL | {"data": "/home/someone/text"})
    with initialising(0, "weights"):
        network = target_network(genotype, **options.sizes(len(words)))
    save_model(tmp_path / "weights.pt", network, genotype, words, options)
    load_model(tmp_path / "weights.pt").save_pretrained(tmp_path / "hub")
    again = TrainedModel.from_pretrained(tmp_path / "hub")
    assert (again.genotype, again.vocabulary, again.data) == (genotype, words, "text")
    assert all(torch.equal(t, again.network.state_dict()[name]) for name, t in network.state_dict().items())
    with pytest.raises(UserError, match="holds a language model, and this is for networks of images"):
        Trained.from_pretrained(tmp_path / "hub")


def with_config(change):
    def changed(folder):
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))

    return changed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_config(lambda c: c["info"].update(classes=["dog", "cat"])), "does not say the same of 'info' as model"),
        (with_config(lambda c: c.pop("geometry")), "does not say the same of 'geometry'"),
        (with_config(lambda c: c.update(author="me")), "does not say the same of 'author'"),
        (lambda folder: (folder / "config.json").write_text("[]"), "is not the description of a network"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot read .*config.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no model.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"PK"), "model.safetensors is damaged"),
    ],
)
def test_a_folder_that_does_not_fit_together_is_refused(tmp_path, change, words):
    save_network(tmp_path / "weights.pt")
    load_trained(tmp_path).save_pretrained(tmp_path / "hub")
    change(tmp_path / "hub")
    with pytest.raises(UserError, match=words):
        Trained.from_pretrained(tmp_path / "hub")
    (tmp_path / "hub/config.json").unlink()  # only a copy
    if "model.safetensors is" not in words and "holds no" not in words:
        assert Trained.from_pretrained(tmp_path / "hub").info == DIGITS


def test_what_is_no_repository_and_a_missing_package_end_in_one_line(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"there is no folder .*nowhere, and a repository of the Hub is owner/name"):
        Trained.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(UserError, match="which has no revision 'v1'"):
        Trained.from_pretrained(tmp_path, revision="v1")
    save_network(tmp_path / "weights.pt")
    trained = load_trained(tmp_path)
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    for call in (lambda: Trained.from_pretrained("owner/name"), lambda: trained.push_to_hub("owner/name")):
        with pytest.raises(UserError, match=r"needs huggingface_hub: pip install .isnas.hub."):
            call()
    trained.save_pretrained(tmp_path / "hub")  # needs none
    assert Trained.from_pretrained(tmp_path / "hub").info == DIGITS


class Server(http.server.BaseHTTPRequestHandler):
    """What a client needs of the Hub: it makes a repository, takes a commit, lists files and gives them back."""

    files, commit = {}, "1" * 40

    def answer(self):
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, address = self.path.partition("?")[0], f"http://127.0.0.1:{self.server.server_port}/owner/name"
        headers, found = {"Content-Type": "application/json"}, None
        if path.endswith("/create"):
            found = {"url": address}
        elif path.endswith("/validate-yaml"):
            found = {"errors": [], "warnings": []}
        elif "/preupload/" in path:
            names = [file["path"] for file in json.loads(sent)["files"]]
            found = {"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]}
        elif "/commit/" in path:
            for row in map(json.loads, sent.splitlines()):
                if row["key"] == "file":
                    self.files[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
            found = {"commitOid": self.commit, "commitUrl": f"{address}/commit/{self.commit}"}
        elif "/tree/" in path:
            found = [
                {"type": "file", "path": name, "size": len(data), "oid": "2" * 40} for name, data in self.files.items()
            ]
        elif "/api/models/owner/name" in path:
            found = {"id": "owner/name", "sha": self.commit, "siblings": [{"rfilename": name} for name in self.files]}
        elif "/resolve/" in path:
            name = path.rpartition("/")[2]
            headers |= {"ETag": f'"{name}"', "X-Repo-Commit": self.commit}
        body = self.files[name] if found is None and "/resolve/" in path else json.dumps(found).encode()
        self.send_response(404 if found is None and "/resolve/" not in path else 200)
        for key, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_HEAD = answer  # noqa: N815

    def log_message(self, *arguments):
        return None


@contextmanager
def serving():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


SCRIPT = """
from pathlib import Path
from isnas.base.errors import UserError
from isnas.engine.trained import Trained, load_trained
print(load_trained(Path("run")).push_to_hub("owner/name", token="secret"))
print(Trained.from_pretrained("owner/name", token="secret").info)
try:
    Trained.from_pretrained("owner/another", token="secret")
except UserError as error:
    print(error)
"""


@pytest.mark.slow
def test_the_hubs_client_uploads_and_downloads(tmp_path):
    trained = saved_photos(tmp_path / "run")
    trained.save_pretrained(tmp_path / "here")
    root = Path(__file__).resolve().parents[2]
    with serving() as address:
        own = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
        own |= {"HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(root)}
        command = [sys.executable, "-c", SCRIPT]
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | own, capture_output=True, text=True, timeout=120, check=False
        )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].endswith(f"/owner/name/commit/{Server.commit}") and lines[1] == str(PHOTOS)
    assert lines[2].startswith("cannot download owner/another: ") and "secret" not in done.stdout and len(lines) == 3
    for name in ("config.json", "model.safetensors", "README.md"):
        assert Server.files[name] == (tmp_path / "here" / name).read_bytes()
