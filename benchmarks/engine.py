"""Times the engine side by side with lm-eval's hf backend and transformers' generate_batch.

    python benchmarks/engine.py --device cpu --dtype float32 --workloads a b c d e
    python benchmarks/engine.py --device cuda --dtype bfloat16 --shape llama-7b --start-up

Both load the same files in one process and run with the same threads and data type. Random weights
of a shape are written once to a temporary folder (--keep DIR keeps them); --folder DIR takes a
real checkpoint. Prompts are random tokens with the lengths of real evaluations, and no end token
can appear, so that both sides generate exactly as many tokens as were asked for.

What is timed. The engine: planning and computing all batches. lm-eval: `_loglikelihood_tokens` or
`generate_until` from token ids on, with its own sorting, padding and reuse of one-token
continuations. Each of its batch sizes is tried on a window of the requests from the middle of its
own order, one full batch or more; the one with the most tokens a second is then timed on all
requests. Trying goes from small to large and ends early at a size that is 15 % slower than the
best before it. `auto` is not tried on a CPU: memory never runs out there in a way it could notice,
so it is batch size 64 after five trial passes. After a warm-up of both, the engine and lm-eval
take turns (engine, lm-eval, engine, lm-eval, ...) while another turn fits into --seconds; the
minimum of each counts, and a trial that covered all requests counts as one of lm-eval's.

One JSON line a workload, with these keys: workload, ratio (lm-eval's seconds by the engine's),
seconds, peer_seconds, peer, distinct_tokens and total_tokens (with and without sharing, new tokens
included), matrix_share (the operations that computing each distinct token once takes, a second, as
a share of the rate of a large matrix product measured just before), peak_bytes (the engine's
weights and the most memory its runs took beside what was held before), max_logprob_difference
(between the engine and lm-eval over all requests; for generation over the first answers, scored
by both), greedy_equal (the share of equal greedy answers, null where nothing is greedy),
generate_batch_seconds (one run; null, with a note, where a trial of a few requests shows less than
0.4 of lm-eval's speed on a CPU, or where it doesn't run), and what else it takes to read them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# As the evalsuite command does; both sides get large pages. Before torch is first imported.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

from engine_measure import say
from engine_model import (
    NAMED_SHAPES,
    Shape,
    borrow_folder,
    load_tokenizer,
    read_config,
    write_random,
)
from engine_workloads import SIZES, make_workload

from evalsuite.records import UserError


def main() -> int:
    options = parse()
    if options.start_up_child:
        return start_up_child(options)
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="engine-benchmark-") as scratch:
        try:
            folder = prepare(options, Path(scratch))
            if options.start_up:
                lines.append(show(start_up(options, folder)))
            if options.workloads:
                from engine_bench import Bench  # lm-eval takes seconds to import

                bench = Bench(options, folder)
                for name in options.workloads:
                    lines.append(show(bench.run(name)))
        except (UserError, ValueError) as error:
            say(f"error: {error}")
            return 2
    if options.output:
        options.output.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--device", default="cpu", help="cpu, cuda or cuda:N (default cpu)")
    add("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    add("--workloads", nargs="*", default=list("abcde"), choices=list("abcde"), metavar="NAME")
    add("--shape", default="12x768", help=f"LAYERSxWIDTH or {', '.join(NAMED_SHAPES)}")
    add("--layers", type=int, help="instead of --shape, with --hidden")
    add("--hidden", type=int)
    add("--heads", type=int)
    add("--kv-heads", type=int)
    add("--intermediate", type=int)
    add("--folder", type=Path, help="a checkpoint folder instead of random weights")
    add("--keep", type=Path, help="write the random weights here, or use those that are here")
    add("--documents", type=int, help="documents or prompts of each workload")
    add("--samples", type=int, help="samples of each prompt in (e)")
    add("--new-tokens", type=int, help="new tokens of each answer in (d) and (e)")
    add("--batch-sizes", nargs="+", default=["1", "8", "16", "64", "auto"], metavar="N")
    add("--softmax-dtype", help="lm-eval's softmax_dtype (its default: the model's data type)")
    add("--no-generate-batch", action="store_true", help="leave transformers' own out")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores")
    add("--seconds", type=float, default=120.0, help="for a workload's turns (default 120)")
    add("--matrix-size", type=int, help="side of matrix_share's matrices (default 2048, CUDA 8192)")
    add("--seed", type=int, default=0)
    add("--start-up", action="store_true", help="time a new process up to its first batch too")
    add("--output", type=Path, help="write the JSON lines to this file too")
    add("--start-up-child", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for size in options.batch_sizes:
        if size != "auto" and not (size.isdigit() and int(size)):
            parser.error(f"--batch-sizes takes numbers and auto, not {size!r}")
    if (options.layers is None) != (options.hidden is None):
        parser.error("--layers and --hidden go together")
    return options


def prepare(options: argparse.Namespace, scratch: Path) -> Path:
    """The folder that all engines load; its end token lies outside the vocabulary."""
    if options.folder:
        return borrow_folder(options.folder, scratch / options.folder.name)
    name = f"{options.layers}x{options.hidden}" if options.layers else options.shape
    shape = Shape.named(
        name, heads=options.heads, kv_heads=options.kv_heads, intermediate=options.intermediate
    )
    folder = options.keep or scratch / "model"
    if (folder / "config.json").is_file():
        say(f"using the weights in {folder}")
        return Path(folder)
    say(f"writing random weights: {shape}, {options.dtype}")
    return write_random(Path(folder), shape, options.dtype, options.seed)


def start_up(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Seconds from the start of a new process to its first scored batch, loading included.

    The weights are in the page cache: they were just written, or are read once before.
    """
    for file in folder.iterdir():
        with file.open("rb") as stream:
            while stream.read(2**26):
                pass
    command = [sys.executable, __file__, "--device", options.device, "--dtype", options.dtype]
    command += ["--keep", str(folder), "--threads", str(options.threads), "--workloads"]
    # The wall clock, because the child has another origin of perf_counter.
    command += ["--start-up-child", repr(time.time())]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise ValueError(f"the start-up process failed: {ran.stderr.strip().splitlines()[-1:]}")
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def start_up_child(options: argparse.Namespace) -> int:
    """Score one batch of (a) and say how long after the start that was."""
    began: float = options.start_up_child
    import torch

    from evalsuite.engine.llama.engine import LlamaEngine

    torch.set_num_threads(options.threads)
    imported = time.time()
    tokenizer = load_tokenizer(options.keep)
    engine = LlamaEngine.load(options.keep, tokenizer, device=options.device, dtype=options.dtype)
    loaded = time.time()
    kind = "cuda" if options.device.startswith("cuda") else "cpu"
    requests = make_workload("a", SIZES[kind]["a"], read_config(options.keep)["vocab_size"]).score
    batch = engine.plan_scoring(requests)[0]
    engine.score([requests[i] for i in batch.requests])  # logprobs are numbers: nothing is queued
    scored = time.time()
    line = {
        "workload": "start-up",
        "seconds": round(scored - began, 3),
        "imports_seconds": round(imported - began, 3),
        "load_seconds": round(loaded - imported, 3),
        "first_batch_seconds": round(scored - loaded, 3),
        "first_batch_tokens": batch.distinct_tokens,
    }
    print(json.dumps(line))
    return 0


def show(line: dict[str, Any]) -> dict[str, Any]:
    """Print one line of results."""
    print(json.dumps(line), flush=True)
    return line


if __name__ == "__main__":
    sys.exit(main())
