"""Requests in, responses out: whatever computes a model's answers.

`base` holds what every engine has in common, `llama` the suite's own engine. This floor knows token
ids and requests; it knows no task, no benchmark library and no store.
"""
