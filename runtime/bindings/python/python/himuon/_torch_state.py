"""States of the native optimizer as the tensors of a ``state_dict``, and back.

A ``state_dict`` has a tensor for whatever is kept of each parameter, zeros where no step has been yet (unless it is frozen),
and the steps taken in each group. That alone makes a state again, which is what ``torch.distributed.checkpoint`` leaves of
it. What the native optimizer says of itself beside them, under ``himuon``, is for whoever loads it whole.
"""

import ctypes
import functools
import json
import math
from typing import Any

import torch

from ._himuon import read_state, write_state
from ._torch_groups import Kept
from ._torch_tensors import as_part, local, of_part, part_key

TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "I16": torch.int16}
TYPE_NAMES = {type: name for name, type in TYPES.items()}
# What torch.compile, FSDP1 and checkpoints of activations put into the names of parameters, wherever they wrap a module.
_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")

Named = list[tuple[str, torch.Tensor]]


@functools.cache
def bare(name: str) -> str:
    """The name of a parameter without what wrappers of modules put into it; DataParallel and DDP wrap whole models."""
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    while len(parts) > 1 and parts[0] == "module":
        del parts[0]
    return ".".join(parts)


def keep_names(old: dict[str, Any], new: dict[str, Any], in_order: bool) -> None:
    """Keeps the names that parameters have here; names of another order or model are refused where the order is all that
    tells parameters from each other."""
    here, there = old.get("param_names"), new.pop("param_names", None)
    if here is None:
        return
    new["param_names"] = here
    for mine, saved in zip(here, there if in_order and there is not None and there is not here else []):
        if bare(mine) != bare(saved):
            raise ValueError(f"the state_dict has {saved} where this optimizer has {mine}: pass parameters in the same order")


def keep_tuples(group: dict[str, Any]) -> None:
    """Full states of ``torch.distributed`` come back with lists for tuples."""
    for option in ("betas", "row_normalisation"):
        if isinstance(group.get(option), list):
            group[option] = tuple(group[option])
    if isinstance(group.get("schedule"), list):
        group["schedule"] = [tuple(change) for change in group["schedule"]]


def check_order(ids: list[Any], named: Named) -> None:
    """Refuses names of parameters in another order: it is the order that is gone by."""
    here = [bare(name) for name, _ in named]
    if ids != here and set(ids) == set(here):
        saved, mine = next(pair for pair in zip(ids, here) if pair[0] != pair[1])
        raise ValueError(
            f"the state_dict has {saved} where this optimizer has {mine}: set_optimizer_state_dict of "
            "torch.distributed.checkpoint brings parameters into order"
        )


def is_keyed_by_name(state_dict: dict[str, Any]) -> bool:
    return any(isinstance(id, str) for group in state_dict["param_groups"] for id in group["params"])


def keys_of(parameter: torch.Tensor, kept: list[Kept]) -> list[str]:
    """What a ``state_dict`` has of a parameter."""
    keys = [part_key(parameter, each.key, each.sides) for each in kept]
    return keys + ["step"] if _is_adamw(kept) else keys


def separated(
    state: bytes, named: Named, kept: dict[str, list[Kept]], updates: dict[str, int]
) -> tuple[dict[str, str], dict[int, Any]]:
    """The metadata of a native state, and its tensors by the index of their parameter. Updates name the parameters that had
    any, and count them where nothing of the parameter is here; what is frozen and had none has no state, on any process."""
    metadata, tensors = read_state(state)
    records = json.loads(metadata["himuon.parameters"])
    held = {name: data for name, _, _, data in tensors}
    separate: dict[int, Any] = {}
    for index, (name, parameter) in enumerate(named):
        if not parameter.requires_grad and name not in updates:
            continue
        entries = separate[index] = {}
        for each in kept[name]:
            values = _numbers(held.get(f"{name}.{each.key}"), each.element, each.shape)
            entries[part_key(parameter, each.key, each.sides)] = as_part(parameter, values, each.sides, each.largest)
        if _is_adamw(kept[name]):
            taken = records[name]["updates"] if name in records else updates.get(name, 0)
            entries["step"] = torch.tensor(taken, device="cpu")
    return metadata, separate


def joined(
    state_dict: dict[str, Any], named: Named, kept: dict[str, list[Kept]], fresh: bytes
) -> tuple[bytes, dict[str, int]]:
    """The native state of a ``state_dict``, under the names that parameters have here, and the updates of those that it has a
    state of. Without what the native optimizer said of itself the fresh one's word is taken."""
    ids = [id for group in state_dict["param_groups"] for id in group["params"]]
    check_order(ids, named)
    places, whole = dict(zip(ids, named)), "himuon" in state_dict
    metadata = _renamed(state_dict["himuon"], named) if whole else read_state(fresh)[0]
    records = json.loads(metadata["himuon.parameters"])
    tensors, updates = [], {}
    for id, entries in state_dict["state"].items():
        if id not in places:
            raise ValueError(f"the state_dict has a state of parameter {id}, expected one of {list(places)}")
        name, parameter = places[id]
        if not whole:
            _check_keys(name, entries, keys_of(parameter, kept[name]))
        taken = int(entries.get("step", 0))
        updates[name] = taken
        if not local(parameter).numel():
            continue
        if not whole:
            records[name]["updates"] = taken
        here = {part_key(parameter, each.key, each.sides): each for each in kept[name]}
        for key, values in entries.items():
            if key in here and 0 not in here[key].shape:
                part = of_part(parameter, values, here[key].sides, here[key].shape)
                if part is None:
                    raise ValueError(f"the state_dict has {key} of {name} placed otherwise, expected the part that is here")
                tensors.append(_native_tensor(name, here[key].key, part))
            elif key not in here and key != "step":
                tensors.append(_native_tensor(name, key, local(values)))
    if not whole:
        metadata["himuon.step"] = str(max((int(group["step"]) for group in state_dict["param_groups"]), default=0))
    metadata["himuon.parameters"] = json.dumps(records)
    return write_state(metadata, tensors), updates


def with_more_parameters(state: bytes, fresh: bytes) -> bytes:
    """The state, with the parameters that only the fresh one knows as it knows them."""
    metadata, tensors = read_state(state)
    more, _ = read_state(fresh)
    parameters = json.loads(more["himuon.parameters"]) | json.loads(metadata["himuon.parameters"])
    metadata["himuon.parameters"] = json.dumps(parameters)
    metadata["himuon.groups"] = more["himuon.groups"]
    return write_state(metadata, tensors)


def _numbers(data: bytes | None, element: str, shape: list[int]) -> torch.Tensor:
    """What is held, or zeros. No collective of torch's takes 16-bit integers, so their bytes stand for them."""
    type, shape = (torch.uint8, [*shape, 2]) if element == "I16" else (TYPES[element], shape)
    if data is None:
        return torch.zeros(shape, dtype=type, device="cpu")
    return torch.frombuffer(bytearray(data), dtype=type).reshape(shape)


def _is_adamw(kept: list[Kept]) -> bool:
    return any(each.key == "exp_avg" for each in kept)


def _renamed(native: dict[str, Any], named: Named) -> dict[str, str]:
    """What a native optimizer said of itself, under the names that parameters have here."""
    saved, metadata = native["names"], dict(native["metadata"])
    if len(saved) != len(named):
        raise ValueError(f"the state_dict has {len(saved)} parameters, expected the {len(named)} of this optimizer")
    here = {there: name for there, (name, _) in zip(saved, named)}
    records = json.loads(metadata["himuon.parameters"])
    metadata["himuon.parameters"] = json.dumps({here[name]: record for name, record in records.items()})
    return metadata


def _check_keys(name: str, entries: dict[str, Any], expected: list[str]) -> None:
    if set(entries) != set(expected):
        raise ValueError(
            f"the state_dict has {sorted(entries)} of parameter {name}, expected {sorted(expected)}: make the optimizer with "
            "the options that it was saved with, and on as many processes where each part of a parameter has a state of its own"
        )


def _native_tensor(name: str, key: str, values: torch.Tensor) -> tuple[str, str, list[int], bytes]:
    if key == "master_remainder" and values.dtype == torch.uint8 and values.shape[-1:] == (2,):
        return f"{name}.{key}", "I16", list(values.shape[:-1]), _bytes_of(values)
    if values.dtype not in TYPE_NAMES:
        raise ValueError(f"the state_dict has {key} of {values.dtype}, expected one of {list(TYPE_NAMES)}")
    # Rows count through all matrices of a parameter.
    shape = [math.prod(values.shape)] if key == "row_second_moment" else list(values.shape)
    return f"{name}.{key}", TYPE_NAMES[values.dtype], shape, _bytes_of(values)


def _bytes_of(values: torch.Tensor) -> bytes:
    values = values.detach().cpu().contiguous()
    return ctypes.string_at(values.data_ptr(), values.numel() * values.element_size())
