"""Hooks of ``state_dict`` and ``load_state_dict``, which see the whole dict: torch's own methods know only a part of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

SAVED = "_optimizer_state_dict_post_hooks"
BEFORE_LOADING = "_optimizer_load_state_dict_pre_hooks"
LOADED = "_optimizer_load_state_dict_post_hooks"


@contextmanager
def held_back(optimizer: torch.optim.Optimizer, *kinds: str) -> Iterator[None]:
    """Keeps hooks from being called by torch meanwhile."""
    held = {kind: getattr(optimizer, kind) for kind in kinds}
    for kind in kinds:
        setattr(optimizer, kind, OrderedDict())
    try:
        yield
    finally:
        for kind, hooks in held.items():
            setattr(optimizer, kind, hooks)


def passed_through(optimizer: torch.optim.Optimizer, kind: str, state_dict: dict[str, Any]) -> dict[str, Any]:
    """The dict after all hooks of a kind: as each changed it, or what it returned instead."""
    for hook in getattr(optimizer, kind).values():
        replaced = hook(optimizer, state_dict)
        state_dict = state_dict if replaced is None else replaced
    return state_dict
