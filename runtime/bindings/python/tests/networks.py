"""A small network, and steps of it."""

import torch
from himuon.torch import HiMuon


def network(seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    layers = {
        "embed": torch.nn.Embedding(11, 32),
        "up": torch.nn.Linear(32, 48),
        "act": torch.nn.GELU(),
        "head": torch.nn.Linear(48, 11, bias=False),
    }
    model = torch.nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    return model.to(dtype)


def loss_of(model, seed=0):
    random = torch.Generator().manual_seed(seed)
    tokens = torch.randint(11, (64,), generator=random)
    return torch.nn.functional.cross_entropy(model(tokens).float(), (3 * tokens + 1) % 11)


def advance(model, optimizer, seed):
    optimizer.zero_grad()
    loss_of(model, seed).backward()
    optimizer.step()


def same(model, other):
    return all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters()))


def make(model, **options):
    return HiMuon(model.named_parameters(), **({"lr": 0.02, "spec": "tile=16 steps=5"} | options))
