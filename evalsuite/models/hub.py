"""Weights from the Hugging Face hub: asked about first, downloaded after, or found in its cache.

Everything that talks to huggingface_hub, which reads HF_TOKEN and HF_ENDPOINT itself. Knows
repositories and file names; no registry and no run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Long enough for a slow line, short enough for somebody without one.
_SECONDS = 10.0

# Never the repository's code; .bin only serves a repository without safetensors.
SMALL_FILES = ("*.json", "*.model", "*.jinja", "tokenizer*", "merges.txt")
SAFETENSORS = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
PICKLES = ("pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json")
_WITH_SAFETENSORS = (*SMALL_FILES, *SAFETENSORS)
_WITH_PICKLES = (*SMALL_FILES, *PICKLES)
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")


class HubError(Exception):
    """A repository can't be had; the text says why and what would help, as the end of a line."""


@dataclass(frozen=True, slots=True)
class Available:
    """A repository that can be had: from the hub, or `cached` from an earlier download."""

    repo: str
    revision: str | None
    patterns: tuple[str, ...]
    cached: Path | None = None


class Hub:
    """One run's view of the hub. It remembers that there is no connection, which takes seconds."""

    def __init__(self) -> None:
        self._unreachable = ""

    def ask(self, repo: str, revision: str | None, *, adapter: bool = False) -> Available:
        """Whether a repository's weights can be had from here, without downloading them.

        Raises:
            HubError: they can't, and the cache has none either.
        """
        wanted = "adapter_config.json" if adapter else "config.json"
        sets = (ADAPTER_FILES,) if adapter else (_WITH_SAFETENSORS, _WITH_PICKLES)
        try:
            names = self._names(repo, revision, wanted)
        except HubError:
            cached = _cached(repo, revision, sets)
            if cached is None or not (cached / wanted).is_file():
                raise
            return Available(repo, revision, (), cached)
        if adapter:
            return Available(repo, revision, ADAPTER_FILES)
        if any(name.endswith(".safetensors") for name in names):
            return Available(repo, revision, _WITH_SAFETENSORS)
        if any(name.startswith("pytorch_model") for name in names):
            return Available(repo, revision, _WITH_PICKLES)
        raise HubError("it has no weights as safetensors or .bin; name another repository")

    def download(self, found: Available) -> Path:
        """The folder with a repository's files, downloaded where the cache lacks them.

        Raises:
            HubError: the connection or the access was lost.
        """
        if found.cached is not None:
            return found.cached
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError

        try:
            return Path(
                snapshot_download(
                    found.repo, revision=found.revision, allow_patterns=list(found.patterns)
                )
            )
        except HfHubHTTPError as error:
            raise HubError(_refusal(found.repo, error)) from error
        except Exception as error:  # network, disk and the client's own kinds, which change
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise HubError(f"the download broke off ({reason}); run the same again") from error

    def _names(self, repo: str, revision: str | None, wanted: str) -> list[str]:
        """A repository's file names, once it was seen that `wanted` may be read."""
        from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url
        from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

        if self._unreachable:
            raise HubError(self._unreachable)
        elsewhere = "its cache here doesn't have it; download it elsewhere and give its folder"
        try:
            info = HfApi().model_info(repo, revision=revision, timeout=_SECONDS)
            names = [file.rfilename for file in info.siblings or ()]
            if wanted in names:
                # A gated repository shows its list to everybody; only a file tells.
                get_hf_file_metadata(hf_hub_url(repo, wanted, revision=revision), timeout=_SECONDS)
        except HfHubHTTPError as error:
            raise HubError(_refusal(repo, error)) from error
        except OfflineModeIsEnabled as error:
            self._unreachable = f"HF_HUB_OFFLINE is set, and {elsewhere}"
            raise HubError(self._unreachable) from error
        except Exception as error:  # each version of the client has its own network errors
            reason = type(error).__name__
            self._unreachable = f"the hub can't be reached ({reason}), and {elsewhere}"
            raise HubError(self._unreachable) from error
        if wanted in names:
            return names
        if "adapter_config.json" in names:
            raise HubError("it is a LoRA adapter and no model; write MODEL+ADAPTER")
        raise HubError(f"it has no {wanted}; name another repository")


def commit_of(folder: Path) -> str | None:
    """The commit that a folder of the hub's cache holds; None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" else None


def _cached(repo: str, revision: str | None, patterns: Sequence[tuple[str, ...]]) -> Path | None:
    """A whole earlier download, of the first of these sets of files that there is."""
    from huggingface_hub import snapshot_download

    for wanted in patterns:
        try:
            place = snapshot_download(
                repo, revision=revision, allow_patterns=list(wanted), local_files_only=True
            )
        except Exception:  # not there, or not whole; the caller has the error that matters
            continue
        # The last of each set are weights.
        if any(found for name in wanted[-3:] for found in Path(place).glob(name)):
            return Path(place)
    return None


def _refusal(repo: str, error: Exception) -> str:
    """What the hub's answer means and what to do about it; `error` is an HfHubHTTPError."""
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import GatedRepoError, RevisionNotFoundError

    status = error.response.status_code  # type: ignore[attr-defined]
    if isinstance(error, RevisionNotFoundError):
        return "the hub has no such revision of it"
    if isinstance(error, GatedRepoError) or status == 403:
        page = f"{constants.ENDPOINT}/{repo}"
        if get_token():
            return f"it is gated and your token has no access; ask for it on {page}"
        return f"it is gated; ask for access on {page} and set HF_TOKEN"
    if status in (401, 404):
        if get_token():
            return "the hub has none of that name, or your token doesn't open it"
        return "the hub has none of that name, or it is private; set HF_TOKEN if you have access"
    return f"the hub answers {status}; try again later, or give a folder"
