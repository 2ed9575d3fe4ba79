"""The suite's own engine for LLaMA-family models.

config, checkpoint (which files, complete or not), trie and plan need no torch; model, loading,
attention, scoring, generation, sampling and engine do. Start reading at engine.py or model.py.
Nothing is imported here, so that checking a folder or planning a run stays quick.
"""
