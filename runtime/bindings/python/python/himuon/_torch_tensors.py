"""What a step may take of torch, where it lies, and in which order."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

try:
    from torch.distributed._functional_collectives import AsyncCollectiveTensor
    from torch.distributed.tensor import DTensor, Replicate, Shard
    from torch.distributed.tensor._dtensor_spec import DTensorSpec, TensorMeta
except ImportError:  # torch may be built without
    DTensor = AsyncCollectiveTensor = ()  # type: ignore[assignment, misc]

# What a specification calls the type of its weights.
WEIGHTS = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}


def is_sharded(tensor: torch.Tensor) -> bool:
    return isinstance(tensor, DTensor) and not all(placement.is_replicate() for placement in tensor.placements)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """What of a tensor is here: its shard, where it is one of several."""
    return _shard(tensor) if isinstance(tensor, DTensor) else tensor


def largest_part(tensor: torch.Tensor) -> list[int]:
    """The shape of the largest part of a tensor that any process has."""
    shape = list(tensor.shape)
    for side, parts, _ in _cuts(tensor):
        shape[side] = -(-shape[side] // parts)
    return shape


def is_cut_alike(parameter: torch.Tensor, sides: int) -> bool:
    """Whether what has the first ``sides`` sides of a parameter alone can be cut as that is."""
    return all(side < sides for side, _, _ in _cuts(parameter))


def part_key(parameter: torch.Tensor, key: str, sides: int) -> str:
    """What a state calls a tensor that has the first ``sides`` sides of a parameter. Where each part of the parameter has one
    of its own, the name says how many parts there are: to others it is unknown."""
    if is_cut_alike(parameter, sides):
        return key
    return f"{key}_of_{'x'.join(str(parts) for _, parts, _ in _cuts(parameter))}_parts"


def as_part(parameter: torch.Tensor, values: torch.Tensor, sides: int, largest: list[int]) -> torch.Tensor:
    """A tensor of the state as a part of the whole: of one that is cut as the parameter is, or of those of all parts one above
    the other, each in the space of the largest."""
    if not isinstance(parameter, DTensor):
        return values
    shape = parameter.shape[:sides] + values.shape[sides:]
    if not is_cut_alike(parameter, sides):
        room = values.new_zeros([1, *largest])
        room[0][tuple(slice(side) for side in values.shape)] = values
        shape, values = torch.Size([math.prod(parts for _, parts, _ in _cuts(parameter)), *largest]), room
    meta = TensorMeta(shape=shape, stride=torch.empty(shape, device="meta").stride(), dtype=values.dtype)
    # As torch itself makes those of offloaded parameters: from_local would move them to the mesh's device.
    spec = DTensorSpec(parameter.device_mesh, _placements(parameter, sides), tensor_meta=meta)
    return DTensor(values, spec, requires_grad=False)


def of_part(parameter: torch.Tensor, values: torch.Tensor, sides: int, shape: list[int]) -> torch.Tensor | None:
    """What ``as_part`` was given; None for a part of something else."""
    alike = is_cut_alike(parameter, sides)
    expected = _placements(parameter, sides) if isinstance(parameter, DTensor) else None
    if values.placements != expected if isinstance(values, DTensor) else not alike:
        return None
    return local(values) if alike else local(values)[0][tuple(slice(side) for side in shape)]


def _placements(parameter: Any, sides: int) -> tuple[Any, ...]:
    if sides and is_cut_alike(parameter, sides):
        return tuple(parameter.placements)
    cut = {dimension for _, _, dimension in _cuts(parameter)}
    return tuple(Shard(0) if dimension in cut else Replicate() for dimension in range(len(parameter.placements)))


def _cuts(tensor: torch.Tensor) -> list[tuple[int, int, int]]:
    """Along which sides a tensor is cut, into how many parts, by which dimension of its mesh."""
    if not isinstance(tensor, DTensor):
        return []
    placed = enumerate(zip(tensor.placements, tensor.device_mesh.shape))
    cut = [(placement, parts, dimension) for dimension, (placement, parts) in placed if parts > 1 and hasattr(placement, "dim")]
    return [(placement.dim, parts, dimension) for placement, parts, dimension in cut]


@torch.no_grad()
def _shard(tensor: torch.Tensor) -> torch.Tensor:
    here: torch.Tensor = tensor.to_local()  # type: ignore[attr-defined]
    return here.wait() if isinstance(here, AsyncCollectiveTensor) else here


def checked(name: str, parameter: torch.Tensor) -> torch.Tensor:
    parameter = local(parameter)
    if parameter.device.type not in ("cpu", "cuda"):
        raise ValueError(f"parameter {name} is on {parameter.device}, expected the CPU or a CUDA device")
    if parameter.device.type == "cuda" and torch.version.hip is not None:
        raise ValueError(f"parameter {name} is on a device of ROCm, expected the CPU or a device of CUDA")
    if is_traceable_wrapper_subclass(parameter):
        raise TypeError(f"parameter {name} is a {type(parameter).__name__}, expected a plain tensor or a DTensor of plain ones")
    if parameter.dtype not in WEIGHTS:
        raise TypeError(f"parameter {name} is of {parameter.dtype}, expected one of {list(WEIGHTS)}")
    if not parameter.is_contiguous():
        found = f"parameter {name} has strides {parameter.stride()}, expected contiguous rows"
        if parameter.ndim == 4 and parameter.is_contiguous(memory_format=torch.channels_last):
            found += ": call model.to(memory_format=torch.contiguous_format); activations may stay channels_last"
        raise ValueError(found)
    if parameter.is_neg():
        raise ValueError(f"parameter {name} is negated lazily, expected its own numbers: pass its resolve_neg()")
    return parameter


def form(parameter: torch.Tensor) -> tuple[Any, ...]:
    """What is here of a parameter: what was checked stays true while this is the same."""
    parameter = local(parameter)
    plain = parameter.is_contiguous() and not parameter.is_neg()
    return parameter.dtype, parameter.device, tuple(parameter.shape), plain


def one_device(parameters: dict[str, torch.Tensor]) -> torch.device:
    devices = {parameter.device: name for name, parameter in parameters.items()}
    if len(devices) > 1:
        found = ", ".join(f"{name} on {device}" for device, name in devices.items())
        raise ValueError(f"parameters are on several devices ({found}), expected one: make an optimizer for each")
    return next(iter(devices), torch.device("cpu"))


def refuse_capture() -> None:
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    if started and torch.cuda.is_current_stream_capturing():
        raise RuntimeError("the current stream is being captured, expected a step outside of CUDA graphs: take it after a replay")


@contextlib.contextmanager
def in_order(device: torch.device) -> Iterator[None]:
    """Steps are submitted to a device's default stream, which waits here for the current one, and that for it."""
    if device.type != "cuda":
        yield
        return
    current, default = torch.cuda.current_stream(device), torch.cuda.default_stream(device)
    if current == default:
        yield
        return
    default.wait_stream(current)
    try:
        yield
    except BaseException:
        # Of a device that is lost the error that says so is the one to raise.
        with contextlib.suppress(RuntimeError):
            current.wait_stream(default)
        raise
    current.wait_stream(default)


def gradient_of(name: str, parameter: torch.Tensor) -> torch.Tensor | None:
    gradient = parameter.grad
    if gradient is None:
        return None
    if gradient.layout != torch.strided:
        raise ValueError(f"the gradient of {name} is {gradient.layout}, expected a dense one: use sparse=False")
    if isinstance(parameter, DTensor) and isinstance(gradient, DTensor) and gradient.placements != parameter.placements:
        raise ValueError(f"the gradient of {name} is placed as {gradient.placements}, expected {parameter.placements}")
    gradient, parameter = local(gradient), local(parameter)
    if gradient.dtype not in WEIGHTS:
        raise TypeError(f"the gradient of {name} is of {gradient.dtype}, expected one of {list(WEIGHTS)}")
    if gradient.shape != parameter.shape or gradient.device != parameter.device:
        raise ValueError(
            f"the gradient of {name} is {list(gradient.shape)} on {gradient.device}, expected {list(parameter.shape)} on "
            f"{parameter.device}"
        )
    # A gradient may be expanded, transposed or negated lazily.
    return gradient.detach().resolve_neg().contiguous()
