"""The harness: lm-eval's tasks, prompts and metrics over an engine of ours.

catalog -> tasks (with datasets) -> adapter -> evaluate -> results. It knows lm-eval and the
records; it must not know the store, the report, or anything of torch. lm_eval is imported only once
tasks are loaded, so that listing them stays fast.
"""
