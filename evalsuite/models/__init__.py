"""Which weights a name means, where they lie on disk, and how a conversation becomes a prompt."""

from evalsuite.models.adapter import Adapter, load_adapter, merge_adapter
from evalsuite.models.chat import ChatTemplate, choose_template, named_template, repo_template
from evalsuite.models.describe import describe_model, describe_models
from evalsuite.models.encoding import ChatEncoder, ChatPrompt, encode_chat
from evalsuite.models.names import DEMO_MODELS, ModelSpec, resolve_models
from evalsuite.models.registry import ModelEntry, find
from evalsuite.models.tokenizer import check_tokenizer, load_tokenizer, tokenizer_warnings
from evalsuite.models.weights import (
    Fingerprint,
    Weights,
    WeightsUnavailable,
    fingerprint,
    locate,
    locate_all,
)

__all__ = [
    "DEMO_MODELS",
    "Adapter",
    "ChatEncoder",
    "ChatPrompt",
    "ChatTemplate",
    "Fingerprint",
    "ModelEntry",
    "ModelSpec",
    "Weights",
    "WeightsUnavailable",
    "check_tokenizer",
    "choose_template",
    "describe_model",
    "describe_models",
    "encode_chat",
    "find",
    "fingerprint",
    "load_adapter",
    "load_tokenizer",
    "locate",
    "locate_all",
    "merge_adapter",
    "named_template",
    "repo_template",
    "resolve_models",
    "tokenizer_warnings",
]
