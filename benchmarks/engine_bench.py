"""The engine benchmark's measurements: one workload in, its line of results out.

Holds both engines on the same weights and lets them take turns. Knows the engine by its protocol
only; flags come parsed, and nothing is printed but progress.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lm_eval
import torch
import transformers
from engine_measure import Memory, Turns, matrix_rate, say, timed
from engine_model import load_tokenizer, read_config
from engine_peers import Peer
from engine_workloads import SIZES, Sizes, Workload, cost_of, make_workload, middle, tokens_of

from evalsuite.engine.llama.engine import LlamaEngine
from evalsuite.records import GenerateRequest, Request, Response, ScoreRequest, ScoreResponse

# A batch size this much slower than the best before it ends the trials.
PATIENCE = 1.15
# Requests of a trial at least, by device: enough to time, few enough not to wait for.
TRIAL_REQUESTS = {"cpu": 4, "cuda": 32}
MOST_TURNS = 5
# generate_batch's trial on a CPU, and the share of lm-eval's speed below which it is left at that.
BATCH_TRIAL = 8
HOPELESS = 0.4
# Answers whose logprobs are compared after generating.
COMPARED_ANSWERS = 4


class Bench:
    """Both engines on the same weights, and the measurements on them."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
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
        # Modules and models stay: the collections between turns need not look through them again.
        gc.collect()
        gc.freeze()

    def run(self, name: str) -> dict[str, Any]:
        """Measure one workload; returns its JSON line."""
        workload = self.workload(name)
        notes: list[str] = []
        requests: Sequence[Request] = workload.score or workload.generate
        say(f"({name}) {workload.title}: {len(requests)} requests, {workload.total_tokens} tokens")
        rate = matrix_rate(self.options.device, self.options.dtype, self.options.matrix_size)
        # On CUDA all of it: shapes are compiled, and graphs captured, as they first appear.
        first = requests if self.cuda else requests[:4]
        warm_up, _ = timed(lambda: self.ours(first), cuda=self.cuda)
        rates, best, peer_turns = self.try_batch_sizes(workload, requests, notes)

        ours = Turns()
        planned, peak = 0, 0
        began = time.perf_counter()
        longest_turn = 0.0
        while len(ours.seconds) < MOST_TURNS:
            turn_began = time.perf_counter()
            self.memory.start()
            seconds, (ours.answers, planned) = timed(lambda: self.ours(requests), cuda=self.cuda)
            peak = max(peak, self.memory.taken())
            ours.seconds.append(seconds)
            say(f"  engine: {seconds:.2f} s")
            seconds, peer_turns.answers = timed(lambda: self.theirs(requests, best), cuda=self.cuda)
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

    def ours(self, requests: Sequence[Any]) -> tuple[list[Response], int]:
        """The engine's answers in order, and how many tokens its plan computes."""
        scoring = isinstance(requests[0], ScoreRequest)
        plan = self.engine.plan_scoring if scoring else self.engine.plan_generation
        answer: Callable[[Any], Sequence[Response]]
        answer = self.engine.score if scoring else self.engine.generate
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

    def try_batch_sizes(
        self, workload: Workload, requests: Sequence[Any], notes: list[str]
    ) -> tuple[dict[str, float], int | str, Turns]:
        """lm-eval's tokens a second by batch size, the best size, and trials that were complete."""
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
            if not self.peer.fits(batch_size, workload.longest, scoring=bool(workload.score)):
                notes.append(f"batch size {size} does not fit into memory")
                continue
            if rates and rows > len(requests) // workload.alike and size != "auto":
                notes.append(f"batch size {size} not tried: there are fewer requests")
                continue
            least = TRIAL_REQUESTS["cuda" if self.cuda else "cpu"]
            window = middle(order, workload.alike * max(rows, least), workload.alike)
            try:
                seconds, _ = timed(partial(self.theirs, window, batch_size), cuda=self.cuda)
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
        """transformers' continuous batching on all requests, unless its trial is hopeless.

        It counts with what it does on each call: it makes its cache and its manager anew. The
        trial, on a few requests, is its warm-up too; where it shows a small part of lm-eval's
        speed, the whole is not waited for and its seconds are null.
        """
        missing = {"generate_batch_seconds": None, "generate_batch_ratio": None}
        if self.options.no_generate_batch:
            return missing
        requests: Sequence[GenerateRequest] = workload.generate
        few = middle(requests, BATCH_TRIAL)
        try:
            trial, _ = timed(lambda: self.peer.generate_batch(few), cuda=self.cuda)
            speed = sum(map(tokens_of, few)) / trial
            share = speed / (workload.total_tokens / peer_seconds)
            say(f"  generate_batch, {len(few)} requests: {trial:.2f} s")
            if share < HOPELESS and not self.cuda:
                notes.append(
                    f"generate_batch not run on all: {len(few)} requests took {trial:.1f} s, "
                    f"{share:.2f} of lm-eval's tokens a second"
                )
                return missing
            took, _ = timed(lambda: self.peer.generate_batch(requests), cuda=self.cuda)
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
