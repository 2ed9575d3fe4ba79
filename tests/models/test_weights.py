"""Weights from folders and from a hub that really answers, in all the ways it answers."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_server import TOKEN, LoopbackHub, Repo, loopback_hub
from tiny_llamas import fast, llama_tokenizer, write_checkpoint

from evalsuite.engine.llama.checkpoint import check_checkpoint
from evalsuite.models import (
    WeightsUnavailable,
    fingerprint,
    locate,
    locate_all,
    resolve_models,
)
from evalsuite.models import hub as patience
from evalsuite.models.names import ModelSpec
from evalsuite.records import UserError

# huggingface_hub reads its settings once, when it is imported: so each client is a process.
CLIENT = """
import json, os, sys, time
from evalsuite.models import hub, locate_all
from evalsuite.models.names import ModelSpec, resolve_models
names, revision, mirrors = json.loads(sys.argv[1])
hub._SECONDS = float(os.environ.get("TEST_PATIENCE", hub._SECONDS))
waits = [0.0]  # between the tries of the hub's client: counted, not waited for
time.sleep = waits.append
specs = resolve_models(names, revision)
if mirrors:
    specs = [ModelSpec("m", "hub", mirrors[0], mirrors=tuple(mirrors[1:]))]
found, missing = locate_all(specs)
print(json.dumps({
    "found": {k: [str(w.folder), w.source, w.commit, w.adapter and str(w.adapter)]
              for k, w in found.items()},
    "missing": {e.label: str(e) for e in missing},
    "waits": sum(waits),
}))
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tiny"), fast(llama_tokenizer()))


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with loopback_hub() as running:
        yield running


class Client:
    """Asks for models in a process of its own, with a hub cache of its own."""

    def __init__(self, home: Path, hub: LoopbackHub) -> None:
        self.home, self.hub = home, hub
        self.output = ""
        self.seconds = 0.0

    def __call__(
        self,
        *names: str,
        revision: str | None = None,
        mirrors: tuple[str, ...] = (),
        **environment: str,
    ) -> dict[str, Any]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, json.dumps([names, revision, mirrors])],
            capture_output=True,
            text=True,
            env={
                **kept,
                "HF_HOME": str(self.home),
                "HF_ENDPOINT": self.hub.endpoint,
                "HF_DEBUG": "1",  # the most that the hub's client ever logs
                **environment,
            },
            check=False,
        )
        self.seconds = time.monotonic() - began
        self.output = done.stdout + done.stderr
        assert done.returncode == 0, self.output
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer


@pytest.fixture
def client(tmp_path: Path, hub: LoopbackHub) -> Client:
    return Client(tmp_path / "home", hub)


def test_a_registry_model_is_downloaded_whole_and_found_again_without_a_hub(
    client: Client, hub: LoopbackHub, checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(checkpoint, folder)
    (folder / "modeling_evil.py").write_text("raise SystemExit")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle that nobody needs")
    repo = hub.repos["lmsys/vicuna-13b-v1.5"] = Repo(folder)
    place, source, commit, adapter = client("vicuna-13b")["found"]["vicuna-13b"]
    assert (source, commit, adapter) == ("lmsys/vicuna-13b-v1.5", repo.commit, None)
    check_checkpoint(place)
    weights = Path(place) / "model.safetensors"
    assert weights.read_bytes() == (checkpoint / "model.safetensors").read_bytes()
    assert not (Path(place) / "modeling_evil.py").exists()
    assert not (Path(place) / "pytorch_model.bin").exists()

    hub.seen.clear()
    assert client("vicuna-13b", HF_HUB_OFFLINE="1")["found"]["vicuna-13b"][0] == place
    hub.status = 503
    assert client("vicuna-13b")["found"]["vicuna-13b"][0] == place


def test_a_repository_with_only_bin_files_brings_those(
    client: Client, hub: LoopbackHub, checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(checkpoint, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    hub.repos["owner/old"] = Repo(folder)
    place = Path(client("owner/old")["found"]["old"][0])
    assert (place / "pytorch_model.bin").is_file()
    assert client("owner/old", HF_HUB_OFFLINE="1")["found"]["old"][0] == str(place)


def test_models_that_cannot_be_had_end_with_one_line_each_before_any_download(
    client: Client, hub: LoopbackHub, checkpoint: Path, tmp_path: Path
) -> None:
    (empty := tmp_path / "empty").mkdir()
    (empty / "README.md").write_text("GGML files")
    hub.repos |= {
        "lmsys/vicuna-7b-v1.5": Repo(checkpoint),
        "meta-llama/Llama-3.1-8B-Instruct": Repo(checkpoint, open_to=TOKEN, gated=True),
        "owner/private": Repo(checkpoint, open_to=TOKEN),
        "owner/empty": Repo(empty),
    }
    answer = client(
        "llama-3.1-8b-instruct",
        "koala-13b",
        "mine=owner/private",
        "owner/empty",
        "koala-all-13b",
        "lmsys/vicuna-13b-delta-v1.1",
        "vicuna-7b",
    )
    assert list(answer["found"]) == ["vicuna-7b"]
    missing = answer["missing"]
    begin = {
        "llama-3.1-8b-instruct": "llama-3.1-8b-instruct (llama-3.1-8b-instruct, "
        "meta-llama/Llama-3.1-8B-Instruct): it is gated; ask for access on ",
        "koala-13b": "koala-13b (koala-distill-13b, TheBloke/koala-13B-HF): the hub has none of "
        "that name, or it is private; set HF_TOKEN",
        "mine": "mine (owner/private): the hub has none of that name, or it is private",
        "empty": "empty (owner/empty): it has no config.json",
        "koala-all-13b": "koala-all-13b (koala-all-13b, young-geng/koala): only a difference to "
        "other weights is published there; merge it yourself (base: the original LLaMA 13B",
        "vicuna-13b-delta-v1.1": "vicuna-13b-delta-v1.1 (vicuna-13b-v1.1, "
        "lmsys/vicuna-13b-delta-v1.1): only a difference to other weights is published there; use "
        "vicuna-13b-v1.1, which is lmsys/vicuna-13b-v1.1, or",
    }
    assert missing.keys() == begin.keys()
    for label, text in begin.items():
        assert missing[label].startswith(text)
        assert "\n" not in missing[label]
    assert missing["koala-all-13b"].endswith("give its folder: koala-all-13b=FOLDER")
    # Every model was asked about before the first one was fetched.
    order = [request.server for request in hub.seen]
    asked = [i for i, r in enumerate(hub.seen) if r.path == "/api/models/owner/empty"]
    assert asked[0] < order.index("storage")


def test_hf_token_opens_and_goes_to_the_hub_alone(
    client: Client, hub: LoopbackHub, checkpoint: Path
) -> None:
    hub.repos |= {
        "meta-llama/Llama-3.1-8B-Instruct": Repo(checkpoint, open_to=TOKEN, gated=True),
        "owner/private": Repo(checkpoint, open_to=TOKEN),
    }
    answer = client("llama-3.1-8b-instruct", "owner/private", HF_TOKEN=TOKEN)
    assert sorted(answer["found"]) == ["llama-3.1-8b-instruct", "private"]
    assert {request.authorization for request in hub.answered("hub")} == {f"Bearer {TOKEN}"}
    assert hub.answered("storage")
    assert {request.authorization for request in hub.answered("storage")} == {None}
    assert TOKEN not in client.output


def test_a_token_without_access_is_told_so(
    client: Client, hub: LoopbackHub, checkpoint: Path
) -> None:
    hub.repos["meta-llama/Llama-2-7b-chat-hf"] = Repo(checkpoint, open_to=TOKEN, gated=True)
    answer = client("llama-2-7b-chat", "owner/none", HF_TOKEN="hf_another")
    assert "it is gated and your token has no access; ask" in answer["missing"]["llama-2-7b-chat"]
    assert "or your token doesn't open it" in answer["missing"]["none"]
    assert "hf_another" not in client.output


def test_a_revision_is_honoured_and_a_wrong_one_named(
    client: Client, hub: LoopbackHub, checkpoint: Path
) -> None:
    repo = hub.repos["owner/model"] = Repo(checkpoint)
    assert client("owner/model", revision=repo.commit)["found"]["model"][2] == repo.commit
    answer = client("owner/model", revision="v9")
    assert answer["missing"]["model"] == (
        "model (owner/model, v9): the hub has no such revision of it"
    )


def test_several_repositories_are_tried_in_order(
    client: Client, hub: LoopbackHub, checkpoint: Path
) -> None:
    hub.repos |= {"b/second": Repo(checkpoint), "c/third": Repo(checkpoint)}
    answer = client(mirrors=("a/first", "b/second", "c/third"))
    assert answer["found"]["m"][1] == "b/second"
    answer = client(mirrors=("a/first", "d/fourth"))
    assert "a/first: the hub has none" in answer["missing"]["m"]
    assert "; d/fourth: the hub has none" in answer["missing"]["m"]


def test_an_adapter_comes_from_the_hub_too(
    client: Client, hub: LoopbackHub, checkpoint: Path, tmp_path: Path
) -> None:
    (lora := tmp_path / "lora").mkdir()
    (lora / "adapter_config.json").write_text("{}")
    (lora / "adapter_model.safetensors").write_bytes(b"tensors")
    hub.repos |= {"owner/base": Repo(checkpoint), "owner/lora": Repo(lora)}
    answer = client("owner/base+owner/lora", "owner/base+owner/none", "x=owner/lora")
    adapter = Path(answer["found"]["base+lora"][3])
    assert (adapter / "adapter_model.safetensors").read_bytes() == b"tensors"
    assert "its LoRA adapter owner/none: the hub has none" in answer["missing"]["base+none"]
    assert "it is a LoRA adapter and no model" in answer["missing"]["x"]


@pytest.mark.parametrize("how", ["refused", "silent", "busy", "offline"])
def test_no_hub_is_known_in_seconds_and_asked_once(
    client: Client, hub: LoopbackHub, how: str
) -> None:
    environment = {}
    if how == "refused":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            environment["HF_ENDPOINT"] = f"http://127.0.0.1:{free.getsockname()[1]}"
    elif how == "silent":
        hub.silent = True
        assert patience._SECONDS <= 10  # what people wait; here it is
        environment["TEST_PATIENCE"] = "1"
    elif how == "busy":
        hub.status = 503
    else:
        environment["HF_HUB_OFFLINE"] = "1"
    answer = client("vicuna-13b", "koala-13b", "owner/other", **environment)
    assert answer["found"] == {}
    assert client.seconds + answer["waits"] < 30
    why = {
        "refused": "the hub can't be reached (ConnectError), and its cache here doesn't have it",
        "silent": "the hub can't be reached (ReadTimeout), and its cache here doesn't have it",
        "busy": "the hub answers 503; try again later, or give a folder",
        "offline": "HF_HUB_OFFLINE is set, and its cache here doesn't have it",
    }[how]
    line = answer["missing"]["vicuna-13b"]
    assert line.startswith(f"vicuna-13b (vicuna-13b-v1.5, lmsys/vicuna-13b-v1.5): {why}")
    if how in ("refused", "silent", "offline"):
        assert line.endswith("download it elsewhere and give its folder: vicuna-13b-v1.5=FOLDER")
        assert answer["missing"]["other"].endswith("and give its folder")
    if how == "silent":
        assert len(hub.answered("hub")) == 1


def test_a_folder_needs_a_config_and_an_adapter_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        locate(resolve_models([str(tmp_path)])[0])
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"is a LoRA adapter; write MODEL\+"):
        locate(resolve_models([str(tmp_path)])[0])
    (base := tmp_path / "base").mkdir()
    (base / "config.json").write_text("{}")
    (none := tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"no adapter_config\.json"):
        locate_all(resolve_models([f"{base}+{none}"]))
    found, _ = locate_all(resolve_models([f"{base}+{tmp_path}"]))
    (weights,) = found.values()
    assert (weights.folder, weights.adapter) == (base, tmp_path)


def test_locate_raises_what_locate_all_returns() -> None:
    spec = ModelSpec("m", "delta", "young-geng/koala", entry="koala-all-7b")
    with pytest.raises(WeightsUnavailable, match=r"^m \(koala-all-7b, young-geng/koala\): only"):
        locate(spec)


def test_hashes_change_with_the_bytes_and_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "tokenizer.json").write_text("{}")
    kept: dict[Path, str] = {}
    read: list[Path] = []

    def keep(path: Path, digest: str) -> None:
        read.append(path)
        kept[path] = digest

    first = fingerprint(tmp_path, kept.get, keep)
    assert len(read) == 3
    assert fingerprint(tmp_path, kept.get, keep) == first
    assert len(read) == 3
    kept.clear()
    (tmp_path / "tokenizer.json").write_text("{ }")
    second = fingerprint(tmp_path, kept.get, keep)
    assert second.weights == first.weights
    assert second.tokenizer != first.tokenizer


def test_an_adapter_is_part_of_the_weights_hash(tmp_path: Path) -> None:
    kept: dict[Path, str] = {}
    for name in ("base", "lora"):
        (tmp_path / name).mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    (tmp_path / "base" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "lora" / "adapter_model.safetensors").write_bytes(b"change")
    plain = fingerprint(tmp_path / "base", kept.get, kept.__setitem__)
    tuned = fingerprint(tmp_path / "base", kept.get, kept.__setitem__, tmp_path / "lora")
    assert plain.weights != tuned.weights
    assert plain.tokenizer == tuned.tokenizer
