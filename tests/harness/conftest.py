"""A real small LLaMA behind the engine and behind lm-eval's own hf backend, which is the oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from asked import Asked


@pytest.fixture(scope="session")
def benchmarks(test_data: Path) -> Path:
    return test_data / "benchmarks"


@pytest.fixture(scope="session")
def model_folder(test_data: Path) -> Path:
    return test_data / "models" / "stories260k"


@pytest.fixture(scope="session")
def tokenizer(model_folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_folder)


@pytest.fixture(scope="session")
def engine(model_folder: Path, tokenizer: Any) -> Any:
    from evalsuite.engine.llama.engine import LlamaEngine

    return LlamaEngine.load(model_folder, tokenizer, dtype="float32", device="cpu")


@pytest.fixture
def asked(engine: Any) -> Asked:
    return Asked(engine)


@pytest.fixture(scope="session")
def hf(model_folder: Path, tokenizer: Any) -> Any:
    """lm-eval's own backend on the same weights."""
    import torch
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=8, device="cpu")


@pytest.fixture(scope="session")
def oracle(hf: Any, benchmarks: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """lm-eval's simple_evaluate on a YAML file, its data read by `datasets` itself."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    cache = str(tmp_path_factory.mktemp("datasets"))

    def evaluate(path: Path, **options: Any) -> Any:
        with _hub_at(benchmarks, cache):
            return lm_eval.simple_evaluate(
                model=hf,
                tasks=[str(path)],
                task_manager=TaskManager(include_defaults=False),
                **options,
            )

    return evaluate


@contextmanager
def _hub_at(folder: Path, cache: str) -> Iterator[None]:
    import datasets

    original = datasets.load_dataset

    def load(path: str, name: str | None = None, **options: Any) -> Any:
        where = path if path == "json" else str(folder / path.replace("/", "__"))
        return original(where, name, **{"cache_dir": cache, **options})

    datasets.load_dataset = load
    try:
        yield
    finally:
        datasets.load_dataset = original
