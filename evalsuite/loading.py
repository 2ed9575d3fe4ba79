"""One model made ready to be asked: from its place on disk to tokenizer, engine and prompt format.

The one place where models, store and engine come together before inference. Knows no task, no
question and no file of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.config import RunConfig
from evalsuite.engine.llama.checkpoint import check_checkpoint, expected_tensors
from evalsuite.models import (
    ChatTemplate,
    Fingerprint,
    ModelSpec,
    Weights,
    choose_template,
    find,
    fingerprint,
    load_adapter,
    load_tokenizer,
    tokenizer_warnings,
)
from evalsuite.records import UserError
from evalsuite.store import Store

if TYPE_CHECKING:
    from evalsuite.engine.huggingface import HuggingFaceEngine
    from evalsuite.engine.llama.engine import LlamaEngine
    from evalsuite.engine.llama.workers import WorkerEngine


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory. `warnings` are worth telling a person; none of them stops a run."""

    spec: ModelSpec
    weights: Weights
    hashes: Fingerprint
    tokenizer: Any
    engine: LlamaEngine | WorkerEngine | HuggingFaceEngine
    warnings: tuple[str, ...]

    @cached_property
    def template(self) -> ChatTemplate | None:
        """The prompt format for conversations; None for a base model."""
        return choose_template(self.spec, self.weights.folder)

    def about(self) -> dict[str, Any]:
        """What the manifest and lm-eval's files say of the model."""
        spec = self.spec
        demo = spec.kind == "demo"
        return {
            "name": spec.label,
            "source": f"embedded {Path(spec.source).name}" if demo else self.weights.source,
            "revision": self.weights.commit or spec.revision,
            "registry": spec.entry,
            "template": self.template.name if self.template else None,
            "adapter": spec.adapter,
            "weights_sha256": self.hashes.weights,
            "tokenizer_sha256": self.hashes.tokenizer,
            "parameters": self.engine.parameters,
            "dtype": self.engine.identity["dtype"],
            "quantize": self.engine.identity.get("quantize"),
            "device": self.engine.identity["device"],
            "workers": self.engine.workers,
            "ranks": self.engine.ranks,
            "max_length": self.engine.max_length,
            "note": "demo" if demo else "",
        }


def load(spec: ModelSpec, weights: Weights, config: RunConfig, store: Store) -> LoadedModel:
    """Loads a model with the config's device, data type and context.

    Raises:
        UserError: its files, its adapter or the settings can't be used.
    """
    hashes = fingerprint(
        weights.folder, store.file_hash, store.keep_file_hash, adapter=weights.adapter
    )
    tokenizer = load_tokenizer(weights.folder, spec.label)
    transform = None
    if weights.adapter is not None:
        adapter = load_adapter(weights.adapter)
        adapter.check(_tensors(weights.folder, config.engine))
        transform = adapter.transform
    engine = _open(
        config,
        weights.folder,
        tokenizer,
        device=config.device,
        dtype=config.dtype,
        max_length=config.max_length,
        weights_hash=hashes.weights,
        transform=transform,
    )
    entry = find(spec.entry) if spec.entry else None
    known = tokenizer_warnings(tokenizer, entry.tokenizer) if entry else ()
    return LoadedModel(spec, weights, hashes, tokenizer, engine, (*engine.warnings, *known))


def check_folder(folder: Path, engine: str) -> None:
    """Makes sure that the engine of this name can run what lies in a folder; loads no weights.

    Raises:
        UserError: it can't, naming the file or the setting.
    """
    if engine == "torch":
        check_checkpoint(folder)
        return
    from evalsuite.engine.huggingface_shape import read_shape

    read_shape(folder)


def check_flags(config: RunConfig) -> None:
    """Refuses flags that the config's engine does not have; looks at nothing else.

    Raises:
        UserError: one of them is given.
    """
    if config.engine != "hf":
        return
    if config.quantize is not None:
        raise UserError(
            f"--quantize {config.quantize}: --engine hf can't quantise; leave one of them out."
        )
    if config.workers not in (None, 1):
        raise UserError(
            f"--workers {config.workers}: --engine hf computes in one process; leave one of them "
            "out."
        )


def check_devices(config: RunConfig) -> None:
    """Makes sure that the devices which a config asks for are here. Imports torch.

    Raises:
        UserError: they are not.
    """
    from evalsuite.engine.llama.devices import worker_devices
    from evalsuite.engine.llama.engine import resolve_device

    if config.engine == "torch":
        worker_devices(config.device, config.workers)
    else:
        resolve_device(config.device)


def _open(
    config: RunConfig, folder: Path, tokenizer: Any, **settings: Any
) -> LlamaEngine | WorkerEngine | HuggingFaceEngine:
    if config.engine == "torch":
        from evalsuite.engine.llama.workers import open_engine

        return open_engine(
            folder, tokenizer, workers=config.workers, quantize=config.quantize, **settings
        )
    from evalsuite.engine.huggingface import HuggingFaceEngine

    return HuggingFaceEngine.load(folder, tokenizer, **settings)


def _tensors(folder: Path, engine: str) -> Mapping[str, tuple[int, ...]]:
    """Names and shapes of a model's tensors."""
    if engine == "torch":
        return expected_tensors(check_checkpoint(folder))
    from evalsuite.engine.huggingface_shape import read_shape

    return read_shape(folder).tensors
