"""The native optimizer of torch's groups: who is mapped, who goes to AdamW, and what is kept of each."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from . import AdamW, Muon, Optimizer, StepReport, TileCounts
from ._himuon import read_state, route, write_state
from ._torch_tensors import WEIGHTS, checked, largest_part, one_device


class Kept(NamedTuple):
    """A tensor that is kept of a parameter: its key and type, and its shapes here and of the largest part."""

    key: str
    element: str
    shape: list[int]
    largest: list[int]

    @property
    def sides(self) -> int:
        """How many of its sides are the first of its parameter's."""
        return 0 if self.key == "coarse_basis" else len(self.largest)


class Nothing:
    """Stands for the native optimizer where a process holds no number of any parameter: it counts steps."""

    def __init__(self) -> None:
        self.device = "cpu"
        self.groups: list[tuple[str, str]] = []
        self.steps_taken = 0

    def explain(self) -> str:
        return "nothing to do here: no parameter has a number on this process"

    def tile_counts(self) -> TileCounts:
        return TileCounts._of_nothing()

    def state_bytes(self) -> bytes:
        empty = {"backend": "nothing", "groups": "[]", "kernels": "{}", "learning_rate": "0", "parameters": "{}"}
        metadata = empty | {"schedule": "{}", "step": str(self.steps_taken)}
        return write_state({f"himuon.{key}": text for key, text in metadata.items()}, [])

    def load_state_bytes(self, state: bytes) -> list[str]:
        metadata, _ = read_state(state)
        self.steps_taken = int(metadata["himuon.step"])
        return []

    def _step_at(self, weights: Sequence[Any], gradients: Sequence[Any]) -> StepReport:
        self.steps_taken += 1
        return StepReport._of_nothing(self.steps_taken - 1)


def made(
    param_groups: list[dict[str, Any]],
    named: list[tuple[str, torch.Tensor]],
    optimizer: Callable[..., Optimizer],
    threads: int | None,
) -> tuple[Optimizer | Nothing, dict[str, list[Kept]]]:
    """Makes the native optimizer of the groups as they are, and says what is kept of each parameter. What the tiles of
    ``group0`` leave out gets a group ``group0.adamw`` beside it, at ``adamw_lr_factor`` times its rate."""
    parameters = {name: checked(name, parameter) for name, parameter in named}
    if len(parameters) != len(named):
        raise ValueError("two parameters have the same name, expected one name each: use one named_parameters()")
    shapes = {name: shape for name, parameter in named if 0 not in (shape := list(parameter.shape))}
    largest = {name: largest_part(parameter) for name, parameter in named}
    names = iter([name for name, _ in named])
    own = [[name for _, name in zip(group["params"], names) if name in shapes] for group in param_groups]
    left = _left_out(param_groups, own, shapes)
    groups: list[tuple[tuple[str, list[str]], Muon | AdamW]] = []
    kept: dict[str, list[Kept]] = {name: [] for name in parameters}
    for place, group in enumerate(param_groups):
        mapped, rest = _split(own[place], left)
        adamw_name, factor = f"group{place}.adamw", group["adamw_lr_factor"]
        if not group["use_muon"]:
            mapped, rest, adamw_name, factor = [], own[place], f"group{place}", 1.0
        # Of a shard there may be nothing here.
        here = [name for name in own[place] if parameters[name].numel()]
        mapped_here, _ = _split(here, left)
        if mapped:
            weight = _weight_type(place, {parameters[name].dtype for name in mapped})
            options = _muon(group, weight)
            kept |= {name: _kept(options, name, parameters, largest) for name in mapped}
            # A matrix of which one row is here looks like a vector, and is mapped as elsewhere.
            narrow = [name for name in mapped_here if _is_vector(parameters[name].shape) and not _is_vector(shapes[name])]
            if narrow:
                options = _muon(group | {"every_matrix": True}, weight)
            if mapped_here:
                groups.append(((f"group{place}", mapped_here if narrow else here), options))
        for name, members, adamw in _adamw_groups(adamw_name, group, factor, {name: parameters[name] for name in rest}):
            kept |= {member: _kept(adamw, member, parameters, largest) for member in members}
            members_here = [member for member in members if parameters[member].numel()]
            if members_here:
                groups.append(((name, members_here), adamw))
    present = {name: parameter for name, parameter in parameters.items() if name in shapes and parameter.numel()}
    if not present and shapes:
        return Nothing(), kept
    device = one_device(present)
    if device.type == "cpu":
        return optimizer(present, groups, threads=threads), kept
    return optimizer(present, groups, device=str(device)), kept


def _kept(
    options: Muon | AdamW, name: str, parameters: dict[str, torch.Tensor], largest: dict[str, list[int]]
) -> list[Kept]:
    here = {key: shape for key, _, shape in options._state(list(parameters[name].shape))}
    # A part that is small, or nothing, may lack what others have.
    return [
        Kept(key, element, here.get(key, [0] * len(shape)), shape) for key, element, shape in options._state(largest[name])
    ]


def _left_out(param_groups: list[dict[str, Any]], own: list[list[str]], shapes: dict[str, list[int]]) -> set[str]:
    """Names that no tile gets, by the parameters' whole shapes: on every process the same."""
    filled = [(place, group) for place, group in enumerate(param_groups) if own[place]]
    # The type of what is mapped is known once it is known what is mapped.
    groups = [((f"group{place}", own[place]), _likely_options(group)) for place, group in filled]
    return {name for name, group in route(shapes, groups) if group == "(rest)"} if shapes else set()


def _split(names: list[str], left: set[str]) -> tuple[list[str], list[str]]:
    return [name for name in names if name not in left], [name for name in names if name in left]


def _is_vector(shape: Sequence[int]) -> bool:
    return sum(side > 1 for side in shape) < 2


def _likely_options(group: dict[str, Any]) -> Muon | AdamW:
    if not group["use_muon"]:
        return _adamw(group, 1.0, master_weights=False)
    types = {parameter.dtype for parameter in group["params"]}
    return _muon(group, next((WEIGHTS[type] for type in (torch.bfloat16, torch.float16) if type in types), "f32"))


def _weight_type(place: int, types: set[torch.dtype]) -> str:
    if len(types) > 1:
        raise ValueError(
            f"group {place} has matrices of {sorted(map(str, types))}, expected one type: make a group of each"
        )
    return WEIGHTS[next(iter(types))] if types else "f32"


def _muon(group: dict[str, Any], weight: str) -> Muon:
    return Muon(
        group["spec"],
        lr=float(group["lr"]),
        weight_decay=group["weight_decay"],
        momentum=group["momentum"],
        nesterov=group["nesterov"],
        moving_average=group["moving_average"],
        scale=group["scale"],
        scale_factor=group["scale_factor"],
        row_normalisation=group["row_normalisation"],
        coarse_factor=group["coarse_factor"],
        coarse_momentum=group["coarse_momentum"],
        view=group["view"],
        schedule=group["schedule"],
        every_matrix=group["every_matrix"],
        master_weights=group["master_weights"] and weight == "bf16",
        weight=weight,  # type: ignore[arg-type]
    )


def _adamw_groups(
    name: str, group: dict[str, Any], factor: float, parameters: dict[str, torch.Tensor]
) -> list[tuple[str, list[str], AdamW]]:
    """Name, members and options of what AdamW gets of a group: masters are of bfloat16 weights alone."""
    if not group["master_weights"]:
        return [(name, list(parameters), _adamw(group, factor, master_weights=False))]
    mastered = [member for member, parameter in parameters.items() if parameter.dtype == torch.bfloat16]
    others = [member for member, parameter in parameters.items() if parameter.dtype != torch.bfloat16]
    return [
        (name, mastered, _adamw(group, factor, master_weights=True)),
        (f"{name}.without_masters", others, _adamw(group, factor, master_weights=False)),
    ]


def _adamw(group: dict[str, Any], factor: float, *, master_weights: bool) -> AdamW:
    return AdamW(
        lr=float(group["lr"]) * factor,
        betas=tuple(group["betas"]),
        eps=group["eps"],
        weight_decay=group["weight_decay"],
        decay_vectors=not group["use_muon"],
        master_weights=master_weights,
    )
