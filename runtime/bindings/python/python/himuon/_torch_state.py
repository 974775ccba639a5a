"""States of the native optimizer as the tensors of a ``state_dict``, and back."""

import ctypes
import json
from typing import Any

import torch

from ._himuon import read_state, write_state

TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "I16": torch.int16}
TYPE_NAMES = {type: name for name, type in TYPES.items()}
# What wrappers of modules put before the names of parameters.
_PREFIXES = ("module.", "_orig_mod.")


def _bare(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.split(".", 1)[1]
    return name


def keep_names(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Keeps the names that parameters have here; names of another order or model are refused."""
    here, there = old.get("param_names"), new.pop("param_names", None)
    if here is None:
        return
    new["param_names"] = here
    for mine, saved in zip(here, there if there is not None and there is not here else []):
        if _bare(mine) != _bare(saved):
            raise ValueError(f"the state_dict has {saved} where this optimizer has {mine}: pass parameters in the same order")


def joined(state_dict: dict[str, Any], names: list[str]) -> bytes:
    """The native state of a state_dict, under the names that parameters have here."""
    saved, metadata = state_dict["himuon"]["names"], dict(state_dict["himuon"]["metadata"])
    if len(saved) != len(names):
        raise ValueError(f"the state_dict has {len(saved)} parameters, expected the {len(names)} of this optimizer")
    here = dict(zip(saved, names))
    records = json.loads(metadata["himuon.parameters"])
    metadata["himuon.parameters"] = json.dumps({here[name]: record for name, record in records.items()})
    tensors = []
    for index, entries in state_dict["state"].items():
        for key, values in entries.items():
            if values.dtype not in TYPE_NAMES:
                raise ValueError(f"the state_dict has {key} of {values.dtype}, expected one of {list(TYPE_NAMES)}")
            tensors.append((f"{names[index]}.{key}", TYPE_NAMES[values.dtype], list(values.shape), _bytes_of(values)))
    return write_state(metadata, tensors)


def _bytes_of(values: torch.Tensor) -> bytes:
    values = values.detach().cpu().contiguous()
    return ctypes.string_at(values.data_ptr(), values.numel() * values.element_size())


def with_more_parameters(state: bytes, fresh: bytes) -> bytes:
    """The state, with the parameters that only the fresh one knows as it knows them."""
    metadata, tensors = read_state(state)
    more, _ = read_state(fresh)
    parameters = json.loads(more["himuon.parameters"]) | json.loads(metadata["himuon.parameters"])
    metadata["himuon.parameters"] = json.dumps(parameters)
    metadata["himuon.groups"] = more["himuon.groups"]
    return write_state(metadata, tensors)
