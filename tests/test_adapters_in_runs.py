"""A LoRA adapter inside a whole run gives what the model that peft merged gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from evalsuite import evaluate
from evalsuite.leaderboard import Run
from evalsuite.models.names import DEMO_FOLDER

BASE = DEMO_FOLDER / "demo-small"
TASK = "starter_commonsense"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """An adapter of random weights for demo-small, and demo-small with it merged by peft."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, LlamaForCausalLM

    torch.manual_seed(3)
    model: Any = LlamaForCausalLM.from_pretrained(BASE)
    config = LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"])
    adapted: Any = get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
    adapted.save_pretrained(tmp_path / "adapter")
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    AutoTokenizer.from_pretrained(BASE).save_pretrained(tmp_path / "merged")
    return tmp_path / "adapter", tmp_path / "merged"


def logprobs(run: Run, model: str) -> list[float]:
    return [
        float(response[0][0]) for sample in run.samples(model, TASK) for response in sample["resps"]
    ]


def test_an_adapter_in_a_run_equals_pefts_merge(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    adapter, merged = folders
    run = evaluate(
        ["demo-small", f"tuned=demo-small+{adapter}", f"merged={merged}"],
        tasks=[TASK],
        limit=10,
        judge="none",
        dtype="float32",
        output=tmp_path / "run",
        store=tmp_path / "store.db",
    )
    base, tuned, by_peft = (logprobs(run, model) for model in ("demo-small", "tuned", "merged"))
    assert tuned == pytest.approx(by_peft, abs=1e-4)
    assert tuned != pytest.approx(base, abs=1e-2)
    hashes = {model["name"]: model["weights_sha256"] for model in run.manifest["models"]}
    assert len(set(hashes.values())) == 3
