"""lm-eval's own files of a run: results_<date>.json and samples_<task>_<date>.jsonl for a model.

Layout and fields are those of lm-eval's EvaluationTracker, so its users' scripts work; each sample
has `truncated` in addition. It knows that format; it must not know tasks or engines. Unlike
lm-eval's, a write that fails is an error, and no half-written file is left under its final name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evalsuite.files import safe_name, write_atomically
from evalsuite.harness.evaluate import BOOTSTRAP_ITERS, Evaluation
from evalsuite.leaderboard import write_samples
from evalsuite.records import UserError


def write_results(
    run_dir: Path,
    model: str,
    evaluation: Evaluation,
    *,
    created: datetime,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model's files below `run_dir`; returns the model's folder.

    `created` dates the files, so that a run that was taken up again writes the same ones. `about`
    says what the model is and goes into "config". Raises UserError when a file can't be written.
    """
    from lm_eval.utils import handle_non_serializable, hash_string

    date = created.replace(tzinfo=None).isoformat(timespec="microseconds").replace(":", "-")
    folder, chat = safe_name(model), evaluation.chat
    hashes = {
        task: hash_string(
            "".join(s["doc_hash"] + s["prompt_hash"] + s["target_hash"] for s in samples)
        )
        for task, samples in evaluation.samples.items()
    }
    content: dict[str, Any] = {
        **evaluation.raw,
        "config": {
            "model": "evalsuite",
            "model_args": dict(about or {}),
            "limit": evaluation.limit,
            "bootstrap_iters": BOOTSTRAP_ITERS,
            "fewshot_seed": evaluation.seed,
            **({"code_execution": evaluation.code_execution} if evaluation.code_execution else {}),
        },
        "date": created.timestamp(),
        "transformers_version": version("transformers"),
        "lm_eval_version": version("lm_eval"),
        **evaluation.tokenizer,
        "task_hashes": hashes,
        "model_source": "evalsuite",
        "model_name": model,
        "model_name_sanitized": folder,
        "system_instruction": None,
        "system_instruction_sha": None,
        "fewshot_as_multiturn": chat.turns if chat else None,
        "chat_template": chat.source if chat else None,
        "chat_template_sha": hash_string(chat.source) if chat else None,
        "total_evaluation_time_seconds": None,  # in the manifest: the same run gives the same file
    }
    dumped = json.dumps(content, indent=2, default=handle_non_serializable, ensure_ascii=False)
    path = run_dir / folder
    try:
        path.mkdir(parents=True, exist_ok=True)
        for task, samples in evaluation.samples.items():
            write_samples(run_dir, folder, task, date, samples)
        write_atomically(path / f"results_{date}.json", dumped)  # last: where it is, all are
    except OSError as error:
        raise UserError(f"{error.filename or path}: can't be written ({error.strerror})") from error
    return path
