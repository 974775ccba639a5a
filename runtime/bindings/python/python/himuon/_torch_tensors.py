"""What a step may take of torch, where it lies, and in which order."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

# What a specification calls the type of its weights.
WEIGHTS = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}


def checked(name: str, parameter: torch.Tensor) -> torch.Tensor:
    if parameter.device.type not in ("cpu", "cuda"):
        raise ValueError(f"parameter {name} is on {parameter.device}, expected the CPU or a CUDA device")
    if parameter.dtype not in WEIGHTS:
        raise TypeError(f"parameter {name} is of {parameter.dtype}, expected one of {list(WEIGHTS)}")
    if not parameter.is_contiguous():
        raise ValueError(f"parameter {name} has strides {parameter.stride()}, expected contiguous rows")
    if parameter.is_neg():
        raise ValueError(f"parameter {name} is negated lazily, expected its own numbers: pass its resolve_neg()")
    return parameter


def form(parameter: torch.Tensor) -> tuple[Any, ...]:
    """What lies where a parameter is: what was checked stays true while this is the same."""
    plain = parameter.is_contiguous() and not parameter.is_neg()
    return parameter.dtype, parameter.device, tuple(parameter.shape), plain


def one_device(parameters: dict[str, torch.Tensor]) -> torch.device:
    devices = {parameter.device: name for name, parameter in parameters.items()}
    if len(devices) > 1:
        found = ", ".join(f"{name} on {device}" for device, name in devices.items())
        raise ValueError(f"parameters are on several devices ({found}), expected one: make an optimizer for each")
    return next(iter(devices), torch.device("cpu"))


@contextlib.contextmanager
def in_order(device: torch.device) -> Iterator[None]:
    """Steps are submitted to a device's default stream, which waits here for the current one, and that for it."""
    if device.type != "cuda":
        yield
        return
    with torch.cuda.device(device):
        if torch.cuda.is_current_stream_capturing():
            raise RuntimeError("the current stream is being captured, expected a step outside of CUDA graphs: take it after a replay")
        current, default = torch.cuda.current_stream(), torch.cuda.default_stream()
    if current == default:
        yield
        return
    default.wait_stream(current)
    try:
        yield
    finally:
        current.wait_stream(default)


def gradient_of(name: str, parameter: torch.Tensor) -> torch.Tensor | None:
    gradient = parameter.grad
    if gradient is None:
        return None
    if gradient.layout != torch.strided:
        raise ValueError(f"the gradient of {name} is {gradient.layout}, expected a dense one: use sparse=False")
    if gradient.dtype not in WEIGHTS:
        raise TypeError(f"the gradient of {name} is of {gradient.dtype}, expected one of {list(WEIGHTS)}")
    if gradient.shape != parameter.shape or gradient.device != parameter.device:
        raise ValueError(
            f"the gradient of {name} is {list(gradient.shape)} on {gradient.device}, expected {list(parameter.shape)} on "
            f"{parameter.device}"
        )
    # A gradient may be expanded, transposed or negated lazily.
    return gradient.detach().resolve_neg().contiguous()
