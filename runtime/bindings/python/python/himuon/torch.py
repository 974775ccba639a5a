"""HiMuon as a ``torch.optim.Optimizer``, for parameters on the CPU (offloaded ones too).

>>> import torch
>>> from himuon.torch import HiMuon
>>> model = torch.nn.Linear(32, 48)
>>> optimizer = HiMuon(model.named_parameters(), lr=0.01, spec="tile=16 steps=5")
>>> model(torch.ones(4, 32)).square().mean().backward()
>>> optimizer.step()
>>> optimizer.last_report
step 0: 2 launches, 6 tiles

Pass ``model.named_parameters()``: by their names embeddings and heads go to AdamW, as vectors do, at ``adamw_lr_factor``
times the group's learning rate. A group with ``use_muon=False`` goes to AdamW whole, at its own learning rate. Which
parameter got what, and why: ``print(optimizer.explain())``.
"""

import ctypes
import functools
import json

import torch
from torch.optim.optimizer import ParamsT

from . import AdamW, Muon, Optimizer, StepReport
from ._himuon import read_state, write_state

__all__ = ["HiMuon"]

_TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "I16": torch.int16}
_TYPE_NAMES = {type: name for name, type in _TYPES.items()}
# What a specification calls the type of its weights.
_WEIGHTS = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}


class HiMuon(torch.optim.Optimizer):
    """Hierarchical Muon on matrices, AdamW on the rest.

    Args:
        params: parameters, named parameters, or groups of either, as for any optimizer of torch. All options below but
            the last two may differ from group to group.
        lr: learning rate; schedulers set it in each group.
        spec: tile, steps and the rest as text, or one text per tile that ``schedule`` may use.
        momentum, nesterov, weight_decay: as in ``torch.optim.Muon``, with a heavy ball unless ``moving_average``.
        moving_average: whether ``buf = mu buf + (1 - mu) g``, as in ``torch.optim.Muon``.
        scale: ``exact``, ``paper``, ``original``, ``match_rms_adamw`` or ``none``.
        schedule: ``{"tile": 64, "every": "full", "period": 5, "factor": 0.5}``, or ``[(step, tile), ...]``.
        every_matrix: whether embeddings and heads are mapped too.
        use_muon: whether matrices of the group are mapped at all.
        adamw_lr_factor, betas, eps: of what goes to AdamW.
        memory_budget: bytes of scratch memory that no launch may pass.
        threads: threads of a step; all that the system offers by default.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | torch.Tensor = 0.02,
        spec: str | list[str] = "tile=64",
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.1,
        *,
        moving_average: bool = False,
        scale: str = "exact",
        schedule=None,
        every_matrix: bool = False,
        use_muon: bool = True,
        adamw_lr_factor: float = 0.05,
        betas: tuple[float, float] = (0.95, 0.95),
        eps: float = 1e-8,
        memory_budget: int | None = None,
        threads: int | None = None,
    ):
        self._built = False
        self._optimizer = functools.partial(Optimizer, memory_budget=memory_budget, threads=threads)
        self.last_report: StepReport | None = None
        defaults = {
            "lr": lr,
            "spec": spec,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "moving_average": moving_average,
            "scale": scale,
            "schedule": schedule,
            "every_matrix": every_matrix,
            "use_muon": use_muon,
            "adamw_lr_factor": adamw_lr_factor,
            "betas": betas,
            "eps": eps,
        }
        super().__init__(params, defaults)
        self._take(self._made())

    def explain(self) -> str:
        """A line for each parameter: shape, group, tiles, bytes, and why."""
        return self._native.explain()

    @torch.no_grad()
    def step(self, closure=None):
        """Takes one step over all groups; parameters without a gradient stay as they are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._send_options()
        parameters = [parameter for _, parameter in self._named()]
        weights = [parameter.detach() for parameter in parameters]
        gradients = [_gradient(name, parameter) for name, parameter in self._named()]
        self.last_report = self._native.step(weights, gradients)
        return loss

    def add_param_group(self, param_group):
        """Adds a group; what the others have gathered so far stays."""
        super().add_param_group(param_group)
        if not self._built:
            return
        before = self._native
        try:
            native = self._made()
            native.load_state_bytes(_with_more_parameters(before.state_bytes(), native.state_bytes()))
        except BaseException:
            self.param_groups.pop()
            raise
        self._take(native)

    def state_dict(self):
        """Momenta and moments by the index of their parameter, the groups, and under ``himuon`` what else a resumed run
        needs: a run resumed from it has the same bits."""
        self._send_options()
        packed = super().state_dict()
        metadata, tensors = read_state(self._native.state_bytes())
        places = {name: index for index, (name, _) in enumerate(self._named())}
        state = {}
        for name, element, shape, data in tensors:
            parameter, key = name.rsplit(".", 1)
            values = torch.frombuffer(bytearray(data), dtype=_TYPES[element]).reshape(shape)
            state.setdefault(places[parameter], {})[key] = values
        packed["state"] = state
        packed["himuon"] = metadata
        return packed

    @torch.no_grad()
    def load_state_dict(self, state_dict):
        """Takes over what ``state_dict`` gave, for the same parameters; one that does not fit is refused, and nothing
        changes."""
        if "himuon" not in state_dict:
            raise ValueError(
                f"the state_dict has the keys {sorted(state_dict)} and no 'himuon', expected one that HiMuon.state_dict gave"
            )
        before = self.param_groups
        try:
            super().load_state_dict({"state": {}, "param_groups": state_dict["param_groups"]})
            native = self._made()
            names = [name for name, _ in self._named()]
            tensors = [
                (f"{names[index]}.{key}", _TYPE_NAMES[values.dtype], list(values.shape), _bytes_of(values))
                for index, entries in state_dict["state"].items()
                for key, values in entries.items()
            ]
            native.load_state_bytes(write_state(state_dict["himuon"], tensors))
        except BaseException:
            self.param_groups = before
            raise
        self._take(native)

    def __getstate__(self):
        raise TypeError("a HiMuon is neither copied nor pickled: keep its state_dict() and load it into a new one")

    def _named(self):
        """Every parameter under its name, or its place among groups where it has none."""
        for place, group in enumerate(self.param_groups):
            names = group.get("param_names")
            for index, parameter in enumerate(group["params"]):
                yield (names[index] if names else f"group{place}.{index}"), parameter

    def _made(self) -> Optimizer:
        """Makes the native optimizer of the groups as they are. What a group's tiles leave out gets a group of AdamW at the group's own rate."""
        parameters = {name: _checked(name, parameter) for name, parameter in self._named()}
        if len(parameters) != sum(len(group["params"]) for group in self.param_groups):
            raise ValueError("two parameters have the same name, expected one name each: use one named_parameters()")
        names = iter(list(parameters))
        groups: list = []
        for place, group in enumerate(self.param_groups):
            own = [next(names) for _ in group["params"]]
            options = _muon(group, [parameters[name] for name in own]) if group["use_muon"] else _adamw(group, 1.0)
            groups.append(((f"group{place}", own), options))
        native = self._optimizer(parameters, groups)
        left = {name for name, group in native.groups if group == "(rest)"}
        companions = []
        for place, group in enumerate(self.param_groups):
            own = [name for name in groups[place][0][1] if name in left]
            if own:
                options = _adamw(group, group["adamw_lr_factor"])
                companions.append(((f"group{place}.adamw", own), options))
        return self._optimizer(parameters, groups + companions) if companions else native

    def _take(self, native: Optimizer):
        self._native = native
        self._native_groups = {group for _, group in native.groups}
        self._sent: list = []
        self._built = True

    def _send_options(self):
        """Sends rates, decay and momentum where they changed: schedulers write them into the groups."""
        options = [
            (float(group["lr"]), float(group["weight_decay"]), float(group["momentum"]), group["use_muon"])
            for group in self.param_groups
        ]
        if options == self._sent:
            return
        for place, (lr, decay, momentum, use_muon) in enumerate(options):
            name = f"group{place}"
            self._native.set_group_lr(name, lr=lr)
            self._native.set_weight_decay(name, decay)
            if use_muon:
                self._native.set_momentum(name, momentum)
            if f"{name}.adamw" in self._native_groups:
                self._native.set_group_lr(f"{name}.adamw", lr=lr * self.param_groups[place]["adamw_lr_factor"])
                self._native.set_weight_decay(f"{name}.adamw", decay)
        self._sent = options


def _checked(name, parameter):
    if parameter.device.type != "cpu":
        raise ValueError(f"parameter {name} is on {parameter.device}, expected the CPU, whose kernels this package has")
    if parameter.dtype not in _WEIGHTS:
        raise TypeError(f"parameter {name} is of {parameter.dtype}, expected one of {list(_WEIGHTS)}")
    if not parameter.is_contiguous():
        raise ValueError(f"parameter {name} has strides {parameter.stride()}, expected contiguous rows")
    return parameter


def _gradient(name, parameter):
    gradient = parameter.grad
    if gradient is None:
        return None
    if gradient.layout != torch.strided:
        raise ValueError(f"the gradient of {name} is {gradient.layout}, expected a dense one: use sparse=False")
    # A gradient may be expanded, transposed or negated lazily.
    return gradient.detach().resolve_neg().contiguous()


def _muon(group, parameters):
    types = {parameter.dtype for parameter in parameters if parameter.ndim >= 2}
    if len(types) > 1:
        raise ValueError(f"a group has matrices of {sorted(map(str, types))}, expected one type: make a group of each")
    specs = [group["spec"]] if isinstance(group["spec"], str) else list(group["spec"])
    stated = [field.split("=")[0] for field in specs[0].split()]
    if types and "weight" not in stated:
        specs = [f"{spec} weight={_WEIGHTS[next(iter(types))]}" for spec in specs]
    return Muon(
        specs,
        lr=float(group["lr"]),
        weight_decay=group["weight_decay"],
        momentum=group["momentum"],
        nesterov=group["nesterov"],
        moving_average=group["moving_average"],
        scale=group["scale"],
        schedule=group["schedule"],
        every_matrix=group["every_matrix"],
    )


def _adamw(group, factor):
    return AdamW(
        lr=float(group["lr"]) * factor,
        betas=tuple(group["betas"]),
        eps=group["eps"],
        weight_decay=group["weight_decay"],
        decay_vectors=not group["use_muon"],
    )


def _bytes_of(values):
    values = values.detach().cpu().contiguous()
    return ctypes.string_at(values.data_ptr(), values.numel() * values.element_size())


def _with_more_parameters(state, fresh):
    """The state, with the parameters that only the fresh one knows as it knows them."""
    metadata, tensors = read_state(state)
    more, _ = read_state(fresh)
    parameters = json.loads(more["himuon.parameters"]) | json.loads(metadata["himuon.parameters"])
    metadata["himuon.parameters"] = json.dumps(parameters)
    metadata["himuon.groups"] = more["himuon.groups"]
    return write_state(metadata, tensors)
