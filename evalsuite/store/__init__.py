"""What was computed, so that it is never computed again: responses, plans and hashes of files."""

from evalsuite.store.keys import identity_hash, plan_key, request_key
from evalsuite.store.lock import FileLock
from evalsuite.store.store import Store

__all__ = ["FileLock", "Store", "identity_hash", "plan_key", "request_key"]
