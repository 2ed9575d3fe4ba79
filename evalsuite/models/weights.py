"""From a model's spec to a folder on this machine, and to hashes of what lies in it.

Knows the hub and the files of a checkpoint by name; reads no tensor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from evalsuite.models.registry import ModelSpec
from evalsuite.records import UserError

# Never the repository's code; .bin only serves a repository without safetensors.
_SMALL_FILES = ("*.json", "*.model", "*.jinja", "tokenizer*")
_WEIGHT_NAMES = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
_PICKLE_NAMES = ("pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json")
_TOKENIZER_NAMES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_HUB_ANSWERS = {
    401: "it is gated, private or doesn't exist; set HF_TOKEN if you have access",
    403: "it is gated; ask for access on its page and set HF_TOKEN",
    404: "the hub has no such repository or revision",
}
# Long enough for a slow line, short enough for somebody without one.
_HUB_SECONDS = 10.0
_CONFIG_NAMES = ("config.json", "generation_config.json")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """SHA-256 over a checkpoint's weight and config files, and over its tokenizer's files."""

    weights: str
    tokenizer: str


def locate(spec: ModelSpec) -> Path:
    """The local folder of a model; one from the hub is downloaded, or found in the hub's cache.

    Raises:
        UserError: the folder has no config.json, or the repository can't be had from here.
    """
    folder = _download(spec) if spec.kind == "hub" else Path(spec.source)
    if not (folder / "config.json").is_file():
        raise UserError(f"{spec.label}: no config.json in {folder}, so it is no model folder")
    return folder


def _download(spec: ModelSpec) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    unreachable = ""
    patterns = [*_SMALL_FILES, *_WEIGHT_NAMES]
    try:
        info = HfApi().model_info(spec.source, revision=spec.revision, timeout=_HUB_SECONDS)
        names = [file.rfilename for file in info.siblings or ()]
        if not any(name.endswith(".safetensors") for name in names):
            patterns = [*_SMALL_FILES, *_PICKLE_NAMES]
    except HfHubHTTPError as error:
        why = _HUB_ANSWERS.get(error.response.status_code, f"the hub says {error}")
        raise UserError(f"{spec.label}: can't get {spec.source}: {why}") from error
    except Exception as error:  # each version of the hub's client has its own network errors
        unreachable = type(error).__name__
    # Without a connection a snapshot from an earlier download may still be whole.
    if unreachable:
        patterns += _PICKLE_NAMES
    try:
        return Path(
            snapshot_download(
                spec.source,
                revision=spec.revision,
                allow_patterns=patterns,
                local_files_only=bool(unreachable),
            )
        )
    except Exception as error:
        reason = unreachable or " ".join(str(error).split())[:200]
        raise UserError(
            f"{spec.label}: can't get {spec.source}: the hub can't be reached ({reason}) and its "
            "cache here doesn't have it; download it elsewhere and give its folder"
        ) from error


def fingerprint(
    folder: Path,
    known: Callable[[Path], str | None],
    keep: Callable[[Path, str], None],
) -> Fingerprint:
    """Hashes of a checkpoint's files.

    `known` gives the hash that is kept for an unchanged file (None: read it), `keep` keeps one, so
    that 100 GB of weights are read for this once.
    """

    def combined(names: Iterable[str]) -> str:
        files = sorted({path for name in names for path in folder.glob(name)})
        hasher = hashlib.sha256()
        for path in files:
            digest = known(path)
            if digest is None:
                digest = _sha256(path)
                keep(path, digest)
            hasher.update(f"{path.name} {digest}\n".encode())
        return hasher.hexdigest()

    has_safetensors = any(folder.glob("model*.safetensors"))
    weights = _WEIGHT_NAMES if has_safetensors else _PICKLE_NAMES
    return Fingerprint(combined([*weights, *_CONFIG_NAMES]), combined(_TOKENIZER_NAMES))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
