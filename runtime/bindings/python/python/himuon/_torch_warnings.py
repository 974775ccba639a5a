"""What a ``HiMuon`` warns of, at the line outside of it and of torch that asked for it."""

import sys
import warnings
from typing import Any

from ._torch_groups import Kept
from ._torch_tensors import is_sharded

# What these give a tile is of the size of its whole matrix.
_SCALES_OF_WHOLE_MATRICES = ("match_rms_adamw", "original")


def warn(text: str) -> None:
    """Warns at the caller's line: torch itself calls constructors, decorates methods and loads states."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in ("himuon", "torch"):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, stacklevel=level)


def warn_of_group(group: dict[str, Any]) -> None:
    """Warns of options that do something else than they seem to, for what is in the group."""
    matrices = group["use_muon"] and any(parameter.ndim > 1 for parameter in group["params"])
    several = isinstance(group["spec"], (list, tuple))
    whole = ["full" in str(spec) for spec in (group["spec"] if several else [group["spec"]])]
    if matrices and not group["every_matrix"] and "param_names" not in group:
        warn(
            "parameters without names: embeddings and heads among them are mapped like any matrix; pass "
            "model.named_parameters(), or every_matrix=True to say so"
        )
    if any(whole) and any(is_sharded(parameter) for parameter in group["params"]):
        warn("tile=full is the whole of each shard, not of the matrix, whose parts are elsewhere")
    if matrices and group["scale"] in _SCALES_OF_WHOLE_MATRICES and not all(whole):
        warn(
            f'scale="{group["scale"]}" is made for tile=full: with smaller tiles the update is larger by the root of how many of '
            'them lie along the longer edge; scale="exact" is as large for every tile, at the rate that the README tells'
        )


def is_anything_mapped(kept: dict[str, list[Kept]]) -> bool:
    return any(each.key == "momentum_buffer" for own in kept.values() for each in own)


def warn_that_nothing_is_mapped(param_groups: list[dict[str, Any]]) -> None:
    """Warns where tiles are asked for and all goes to AdamW, at a rate that is small for it."""
    parameters = [parameter for group in param_groups if group["use_muon"] for parameter in group["params"]]
    if not parameters:
        return
    found = f"no matrix among {len(parameters)} parameters of groups with use_muon"
    if all(parameter.ndim < 2 for parameter in parameters):
        found = f"all {len(parameters)} parameters of groups with use_muon have one dimension, as FSDP1 and DeepSpeed ZeRO leave them"
    warn(
        f"{found}: everything goes to AdamW, at lr times adamw_lr_factor; expected matrices, as a plain model has them and "
        "torch.distributed.fsdp.fully_shard keeps them"
    )


def warn_of_replaced_options(before: list[dict[str, Any]], after: list[dict[str, Any]], options: list[str]) -> None:
    """Warns of options that a state has brought in place of those the optimizer was made with."""
    for place, (old, new) in enumerate(zip(before, after)):
        for option in options:
            if _as_tuples(old.get(option)) != _as_tuples(new[option]):
                warn(
                    f"group {place} goes on with {option}={new[option]!r} of the state_dict, not with {old.get(option)!r}: to "
                    f'change it, set param_groups[{place}]["{option}"] after loading'
                )


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, (list, tuple)) else value
