"""The model that the engine benchmark runs: random weights of a given shape, or a given folder.

Either way a folder that both engines load the same files from, whose end token lies outside the
vocabulary, so that every answer gets exactly as many tokens as were asked for.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NEVER = "<|never|>"
"""The end token's text. Its id is one that the model has no logit for."""

NAMED_SHAPES = {"llama-7b": "32x4096", "llama-13b": "40x5120"}


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a LLaMA."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int = 32_000
    context: int = 2048

    @classmethod
    def named(
        cls,
        name: str,
        *,
        heads: int | None = None,
        kv_heads: int | None = None,
        intermediate: int | None = None,
    ) -> Shape:
        """`12x768` (layers and width) or `llama-7b`; the rest by the LLaMA papers' proportions.

        Heads are 64 wide below a width of 2,048 and 128 wide from there; the MLP is 8/3 as wide,
        rounded up to a multiple of 256. Raises ValueError for a name of another form.
        """
        text = NAMED_SHAPES.get(name, name)
        parts = text.split("x")
        if len(parts) != 2 or not all(part.isdigit() and int(part) for part in parts):
            known = ", ".join(NAMED_SHAPES)
            raise ValueError(f"unknown shape {name!r}: write LAYERSxWIDTH (12x768), or {known}")
        layers, hidden = (int(part) for part in parts)
        heads = heads or max(1, hidden // (64 if hidden < 2048 else 128))
        if hidden % heads or hidden // heads % 2:
            raise ValueError(f"a width of {hidden} does not divide into {heads} heads")
        wide = intermediate or 256 * math.ceil(hidden * 8 / 3 / 256)
        return cls(layers, hidden, heads, kv_heads or heads, wide)


def write_random(folder: Path, shape: Shape, dtype: str, seed: int = 0) -> Path:
    """Write random weights of a shape as safetensors, one file a layer, with a tokenizer.

    Matrices are drawn as transformers initialises them (deviation 0.02), norms are 1.
    """
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    number = getattr(torch, dtype)
    device = "cuda" if torch.cuda.is_available() else "cpu"  # 7 billion numbers take a CPU minutes
    generator = torch.Generator(device).manual_seed(seed)

    def matrix(rows: int, columns: int) -> Any:
        noise = torch.empty(rows, columns, dtype=number, device=device)
        return noise.normal_(0.0, 0.02, generator=generator).cpu()

    def norm() -> Any:
        return torch.ones(shape.hidden, dtype=number)

    head = shape.hidden // shape.heads
    where: dict[str, str] = {}
    size = 0

    def save(name: str, tensors: dict[str, Any]) -> None:
        nonlocal size
        save_file(tensors, folder / name, metadata={"format": "pt"})
        where.update(dict.fromkeys(tensors, name))
        size += sum(tensor.nbytes for tensor in tensors.values())

    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."
        tensors = {
            "self_attn.q_proj.weight": matrix(shape.heads * head, shape.hidden),
            "self_attn.k_proj.weight": matrix(shape.kv_heads * head, shape.hidden),
            "self_attn.v_proj.weight": matrix(shape.kv_heads * head, shape.hidden),
            "self_attn.o_proj.weight": matrix(shape.hidden, shape.heads * head),
            "mlp.gate_proj.weight": matrix(shape.intermediate, shape.hidden),
            "mlp.up_proj.weight": matrix(shape.intermediate, shape.hidden),
            "mlp.down_proj.weight": matrix(shape.hidden, shape.intermediate),
            "input_layernorm.weight": norm(),
            "post_attention_layernorm.weight": norm(),
        }
        save(
            f"model-{layer:05}.safetensors",
            {prefix + name: tensor for name, tensor in tensors.items()},
        )
    ends = {
        "model.embed_tokens.weight": matrix(shape.vocabulary, shape.hidden),
        "model.norm.weight": norm(),
        "lm_head.weight": matrix(shape.vocabulary, shape.hidden),
    }
    save("model-ends.safetensors", ends)
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "max_position_embeddings": shape.context,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": None,
        "torch_dtype": dtype,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    make_tokenizer(shape.vocabulary).save_pretrained(folder)
    return folder


def make_tokenizer(vocabulary: int) -> Any:
    """One word a token id, and NEVER as the end token with the id after the last."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<s>", "</s>", *(f"w{i}" for i in range(3, vocabulary))]
    vocab = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        pad_token="<unk>",
        eos_token=NEVER,
    )


def borrow_folder(source: Path, place: Path) -> Path:
    """A folder that links to a checkpoint's files, its config without an end token.

    generation_config.json is left out, because it names end tokens too.
    """
    place.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        if file.is_file() and file.name not in ("config.json", "generation_config.json"):
            (place / file.name).symlink_to(file.resolve())
    config = json.loads((source / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, "eos_token_id": None}, indent=2))
    return place


def load_tokenizer(folder: Path) -> Any:
    """The folder's tokenizer with NEVER as its end token. Raises ValueError if it gets a logit."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.eos_token != NEVER:
        tokenizer.add_special_tokens({"eos_token": NEVER})
    vocabulary = read_config(folder)["vocab_size"]
    if tokenizer.eos_token_id < vocabulary:
        raise ValueError(
            f"{folder} has {vocabulary} logits for a tokenizer of {len(tokenizer)} tokens; the "
            "benchmark needs an end token without a logit"
        )
    if tokenizer.pad_token is None or tokenizer.pad_token_id >= vocabulary:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.bos_token
    return tokenizer


def read_config(folder: Path) -> dict[str, Any]:
    """config.json as it stands."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config
