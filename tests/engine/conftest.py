"""Fixtures: a small model with its oracle and engine, and a real little LLaMA if there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from llama_oracle import load_oracle, make_tokenizer, write_model
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from evalsuite.engine.llama.engine import LlamaEngine


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    # Tensors are tiny here: a second thread costs more than it brings, above all on a busy machine.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def small_oracle(small_folder: Path) -> PreTrainedModel:
    return load_oracle(small_folder)


@pytest.fixture(scope="session")
def small_engine(small_folder: Path, tokenizer: PreTrainedTokenizerFast) -> LlamaEngine:
    return LlamaEngine.load(small_folder, tokenizer, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def stories() -> Path:
    """The folder of stories260k, a LLaMA of 260 thousand parameters."""
    root = os.environ.get("EVALSUITE_TEST_DATA")
    folder = Path(root or "") / "models" / "stories260k"
    if not root or not (folder / "config.json").is_file():
        pytest.skip("EVALSUITE_TEST_DATA does not point to the test data (models/stories260k)")
    return folder
