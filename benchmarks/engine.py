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
generate_batch_seconds, and what else it takes to read them.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine_model import (
    NAMED_SHAPES,
    Shape,
    borrow_folder,
    load_tokenizer,
    read_config,
    write_random,
)
from engine_workloads import SIZES, Sizes, Workload, cost_of, make_workload

from evalsuite.records import (
    Batch,
    GenerateRequest,
    Request,
    Response,
    ScoreRequest,
    ScoreResponse,
    UserError,
)

# A batch size this much slower than the best before it ends the trials.
PATIENCE = 1.15
# Requests of a trial at least, by device: enough to time, few enough not to wait for.
TRIAL_REQUESTS = {"cpu": 4, "cuda": 32}
MOST_TURNS = 5
# Answers whose logprobs are compared after generating.
COMPARED_ANSWERS = 4


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


@dataclass(slots=True)
class Turns:
    """The timings of one side, in seconds, and what it answered last."""

    seconds: list[float] = field(default_factory=list)
    answers: Any = None

    @property
    def best(self) -> float:
        return min(self.seconds)


class Bench:
    """Both engines on the same weights, and the measurements on them."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        import torch
        from engine_peers import Peer

        from evalsuite.engine.llama.engine import LlamaEngine

        torch.set_num_threads(options.threads)
        self.options, self.folder = options, folder
        self.cuda = options.device.startswith("cuda")
        self.tokenizer = load_tokenizer(folder)
        self.config = read_config(folder)
        self.vocabulary = min(self.config["vocab_size"], self.tokenizer.vocab_size)
        self.engine = LlamaEngine.load(
            folder, self.tokenizer, device=options.device, dtype=options.dtype
        )
        self.peer = Peer(
            folder,
            self.tokenizer,
            device=options.device,
            dtype=options.dtype,
            softmax_dtype=options.softmax_dtype,
        )
        self.memory = Memory(self.cuda)

    def run(self, name: str) -> dict[str, Any]:
        """Measure one workload; returns its JSON line."""
        workload = self.workload(name)
        notes: list[str] = []
        requests: Sequence[Request] = workload.score or workload.generate
        say(f"({name}) {workload.title}: {len(requests)} requests, {workload.total_tokens} tokens")
        rate = matrix_rate(self.options.device, self.options.dtype)
        warm_up = self.timed(lambda: self.ours(requests if self.cuda else requests[:4]))[0]
        rates, best, peer_turns = self.try_batch_sizes(workload, requests, notes)

        ours = Turns()
        planned, peak = 0, 0
        began = time.perf_counter()
        longest_turn = 0.0
        while len(ours.seconds) < MOST_TURNS:
            turn_began = time.perf_counter()
            self.memory.start()
            seconds, (ours.answers, planned) = self.timed(lambda: self.ours(requests))
            peak = max(peak, self.memory.taken())
            ours.seconds.append(seconds)
            say(f"  engine: {seconds:.2f} s")
            seconds, peer_turns.answers = self.timed(lambda: self.theirs(requests, best))
            peer_turns.seconds.append(seconds)
            say(f"  lm-eval, batch size {best}: {seconds:.2f} s")
            longest_turn = max(longest_turn, time.perf_counter() - turn_began)
            if time.perf_counter() - began + longest_turn > self.options.seconds:
                break

        difference, equal = self.differences(workload, ours.answers, peer_turns.answers)
        line = {
            "workload": name,
            "ratio": round(peer_turns.best / ours.best, 3),
            "seconds": round(ours.best, 4),
            "peer_seconds": round(peer_turns.best, 4),
            "peer": f"lm-eval hf, batch size {best}",
            "distinct_tokens": cost_of(workload).tokens
            + (len(set(workload.generate)) if workload.generate else 0),
            "total_tokens": workload.total_tokens,
            "matrix_share": round(self.flops(workload) / ours.best / rate, 4),
            "peak_bytes": self.weight_bytes() + peak,
            "max_logprob_difference": difference,
            "greedy_equal": equal,
            "planned_tokens": planned,
            "documents": workload.documents,
            "requests": len(requests),
            "matrix_rate": round(rate / 1e9, 1),
            "all_seconds": [round(s, 4) for s in ours.seconds],
            "all_peer_seconds": [round(s, 4) for s in peer_turns.seconds],
            "peer_tokens_a_second": rates,
            "warm_up_seconds": round(warm_up, 3),
            **self.settings(),
        }
        if workload.generate:
            new = sum(r.max_new_tokens for r in workload.generate)
            line["new_tokens_a_second"] = round(new / ours.best, 1)
            line |= self.generate_batch(workload, ours.best, peer_turns.best, notes)
        line["notes"] = notes
        return line

    def workload(self, name: str) -> Workload:
        """The workload by its usual sizes, or by the flags that were given."""
        usual, options = SIZES["cuda" if self.cuda else "cpu"][name], self.options
        sizes = Sizes(
            options.documents or usual.documents,
            (options.samples or usual.samples) if name == "e" else 1,
            (options.new_tokens or usual.new_tokens) if name in "de" else 0,
        )
        workload = make_workload(name, sizes, self.vocabulary, options.seed)
        if workload.longest > self.engine.max_length:
            raise ValueError(
                f"workload {name} has sequences of {workload.longest} tokens, more than this "
                f"model's context of {self.engine.max_length}: leave it out of --workloads"
            )
        return workload

    def ours(self, requests: Sequence[Request]) -> tuple[list[Response], int]:
        """The engine's answers in order, and how many tokens its plan computes."""
        score = isinstance(requests[0], ScoreRequest)
        plan: Callable[[Any], list[Batch]]
        answer: Callable[[Any], Sequence[Response]]
        if score:
            plan, answer = self.engine.plan_scoring, self.engine.score
        else:
            plan, answer = self.engine.plan_generation, self.engine.generate
        answers: dict[int, Response] = {}
        batches = plan(requests)
        for batch in batches:
            found = answer([requests[i] for i in batch.requests])
            answers.update(zip(batch.requests, found, strict=True))
        ordered = [answers[i] for i in range(len(requests))]
        return ordered, sum(batch.distinct_tokens for batch in batches)

    def theirs(self, requests: Sequence[Any], batch_size: int | str) -> list[Any]:
        """lm-eval's answers in order."""
        if isinstance(requests[0], ScoreRequest):
            return list(self.peer.score(requests, batch_size))
        return list(self.peer.generate(requests, batch_size))

    def timed(self, work: Callable[[], Any]) -> tuple[float, Any]:
        """Seconds, and what came back; a device's queue is empty before and after."""
        import torch

        gc.collect()
        if self.cuda:
            torch.cuda.synchronize()
        began = time.perf_counter()
        result = work()
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - began, result

    def try_batch_sizes(
        self, workload: Workload, requests: Sequence[Any], notes: list[str]
    ) -> tuple[dict[str, float], int | str, Turns]:
        """lm-eval's tokens a second by batch size, the best size, and trials that were complete."""
        import torch

        self.theirs(requests[: 2 * workload.alike], 1)  # warm-up
        order = sorted(requests, key=tokens_of)
        rates: dict[str, float] = {}
        complete: dict[str, float] = {}
        for size in self.options.batch_sizes:
            if size == "auto" and not self.cuda:
                notes.append("batch size auto not tried: on a CPU it is 64 after five trial passes")
                continue
            batch_size = size if size == "auto" else int(size)
            rows = 64 if size == "auto" else int(size)
            if rates and rows > len(requests) // workload.alike and size != "auto":
                notes.append(f"batch size {size} not tried: there are fewer requests")
                continue
            if not self.peer.fits(batch_size, workload.longest, scoring=bool(workload.score)):
                notes.append(f"batch size {size} does not fit into memory")
                continue
            least = TRIAL_REQUESTS["cuda" if self.cuda else "cpu"]
            window = middle(order, workload.alike * max(rows, least))
            try:
                seconds, _ = self.timed(lambda w=window, b=batch_size: self.theirs(w, b))
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                notes.append(f"batch size {size} does not fit into memory")
                continue
            tokens = sum(tokens_of(request) for request in window)
            rates[size] = round(tokens / seconds, 1)
            say(f"  lm-eval, batch size {size}: {rates[size]:.0f} tokens a second")
            if len(window) == len(requests):
                complete[size] = seconds
            if rates[size] * PATIENCE < max(rates.values()):
                notes.append(f"trials ended at batch size {size}, the slower one")
                break
        if not rates:
            raise ValueError("none of --batch-sizes fits or is possible here")
        best = max(rates, key=lambda size: rates[size])
        turns = Turns([complete[best]] if best in complete else [])
        return rates, best if best == "auto" else int(best), turns

    def differences(
        self, workload: Workload, ours: Sequence[Any], theirs: Sequence[Any]
    ) -> tuple[float | None, float | None]:
        """The largest difference of logprobs, and the share of equal greedy answers."""
        if workload.score:
            pairs = zip(ours, theirs, strict=True)
            return max(abs(a.logprob - b[0]) for a, b in pairs), None
        first = list(zip(workload.generate, ours, strict=True))[:COMPARED_ANSWERS]
        scored = [ScoreRequest(request.prompt, answer.tokens) for request, answer in first]
        mine: list[ScoreResponse] = self.ours(scored)[0]  # type: ignore[assignment]
        other = self.peer.score(scored, 1)
        difference = max(abs(a.logprob - b[0]) for a, b in zip(mine, other, strict=True))
        greedy = [
            answer.text == text
            for request, answer, text in zip(workload.generate, ours, theirs, strict=True)
            if not request.temperature
        ]
        return difference, sum(greedy) / len(greedy) if greedy else None

    def generate_batch(
        self, workload: Workload, seconds: float, peer_seconds: float, notes: list[str]
    ) -> dict[str, Any]:
        """transformers' continuous batching on all requests, unless its trial is too slow.

        It counts with what it does on each call: it makes its cache and its manager anew.
        """
        missing = {"generate_batch_seconds": None, "generate_batch_ratio": None}
        if self.options.no_generate_batch:
            return missing
        import torch

        requests: Sequence[GenerateRequest] = workload.generate
        try:
            took, _ = self.timed(lambda: self.peer.generate_batch(requests))
        except (RuntimeError, ValueError, TypeError, ImportError, MemoryError) as error:
            if self.cuda:
                torch.cuda.empty_cache()
            notes.append(f"generate_batch did not run: {str(error).splitlines()[0]}")
            return missing
        say(f"  generate_batch: {took:.2f} s")
        return {
            "generate_batch_seconds": round(took, 4),
            "generate_batch_ratio": round(took / seconds, 3),
        }

    def flops(self, workload: Workload) -> float:
        """Floating point operations of computing each distinct token of a workload once."""
        c = self.config
        head = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
        heads = c["num_attention_heads"]
        kv_heads = c.get("num_key_value_heads") or heads
        attention = 2 * c["hidden_size"] * head * (heads + kv_heads)
        mlp = 3 * c["hidden_size"] * c["intermediate_size"]
        return cost_of(workload).flops(
            layer_parameters=c["num_hidden_layers"] * (attention + mlp),
            vocabulary=c["vocab_size"],
            hidden=heads * head,
            layers=c["num_hidden_layers"],
        )

    def weight_bytes(self) -> int:
        """Bytes of the weights; the engine's are the peer's, in the same data type."""
        return self.peer.weight_bytes

    def settings(self) -> dict[str, Any]:
        """What the figures depend on beside the workload."""
        import lm_eval
        import torch
        import transformers

        c, options = self.config, self.options
        return {
            "device": torch.cuda.get_device_name() if self.cuda else "cpu",
            "dtype": options.dtype,
            "threads": options.threads,
            "shape": f"{c['num_hidden_layers']}x{c['hidden_size']}",
            "peer_softmax": options.softmax_dtype or options.dtype,
            "versions": f"torch {torch.__version__}, transformers {transformers.__version__}, "
            f"lm-eval {lm_eval.__version__}",
        }


class Memory:
    """How much memory a piece of work takes beside what was held before it.

    On CUDA the allocator's peak, above what is held once both engines are loaded. On a CPU the
    process's peak of resident memory, above what is resident when the work starts.
    """

    def __init__(self, cuda: bool) -> None:
        import torch

        self._cuda = cuda
        self._before = torch.cuda.memory_allocated() if cuda else 0

    def start(self) -> None:
        """The work starts now."""
        import torch

        gc.collect()
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
            return
        self._before = _status_bytes("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back to what is resident

    def taken(self) -> int:
        """Bytes taken since `start`."""
        import torch

        peak = torch.cuda.max_memory_allocated() if self._cuda else _status_bytes("VmHWM")
        return max(0, int(peak - self._before))


def _status_bytes(name: str) -> int:
    """A size from this process's status, in bytes (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def tokens_of(request: Any) -> int:
    """Tokens that a request takes without sharing."""
    if isinstance(request, ScoreRequest):
        return len(request.context) + len(request.continuation) - 1
    return len(request.prompt) + request.max_new_tokens


def middle(order: Sequence[Any], count: int) -> Sequence[Any]:
    """`count` requests from the middle of those sorted by length; all where there are fewer."""
    start = max(0, (len(order) - count) // 2)
    return order[start : start + count]


def matrix_rate(device: str, dtype: str) -> float:
    """Floating point operations a second of a large matrix product: the best of several."""
    import torch

    cuda = device.startswith("cuda")
    size = 8192 if cuda else 2048
    number = getattr(torch, dtype)
    a = torch.randn(size, size, device=device).to(number)
    b = torch.randn(size, size, device=device).to(number)
    seconds = []
    for _ in range(12):
        if cuda:
            torch.cuda.synchronize()
        began = time.perf_counter()
        torch.nn.functional.linear(a, b)
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return 2.0 * size**3 / min(seconds)


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


def say(text: str) -> None:
    """Progress, to stderr."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
