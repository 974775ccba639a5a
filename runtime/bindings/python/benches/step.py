"""Times one step over the matrices of a GPT-2-small block (7.1 million numbers), in turns, as medians.

    python benches/step.py [rounds] [threads]

Needs torch. Gradients are Gaussian. Muon is the published one with each product a torch.mm in float32; with --torch-muon
torch.optim.Muon stands beside it, whose bfloat16 products are slow on processors without instructions for them.
"""

import statistics
import sys
import time

import torch
from himuon.torch import HiMuon

SHAPES = [(768, 768)] * 4 + [(3072, 768), (768, 3072)]
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def parameters():
    random = torch.Generator().manual_seed(0)
    made = [torch.nn.Parameter(0.02 * torch.randn(*shape, generator=random)) for shape in SHAPES]
    for parameter in made:
        parameter.grad = 1e-3 * torch.randn(*parameter.shape, generator=random)
    return made


class Muon:
    """Muon on whole matrices, in float32."""

    def __init__(self, parameters):
        self.parameters = parameters
        self.buffers = [torch.zeros_like(parameter) for parameter in parameters]

    @torch.no_grad()
    def step(self):
        a, b, c = COEFFICIENTS
        for weight, buffer in zip(self.parameters, self.buffers):
            buffer.mul_(0.95).add_(weight.grad)
            x = weight.grad + 0.95 * buffer
            tall = x.shape[0] > x.shape[1]
            x = x.T if tall else x
            x = x / (x.norm() + 1e-7)
            for _ in range(5):
                gram = x @ x.T
                x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
            x = x.T if tall else x
            weight.mul_(1 - 0.02 * 0.1).add_(x, alpha=-0.02 * 0.2 * max(x.shape) ** 0.5)


def optimizers(threads):
    def tiles(tile):
        return lambda given: HiMuon(given, spec=f"tile={tile} coefficients=muon", every_matrix=True, threads=threads)

    made = {
        "AdamW of torch, fused": lambda given: torch.optim.AdamW(given, fused=True),
        "AdamW of torch, foreach": lambda given: torch.optim.AdamW(given, foreach=True),
        "HiMuon, tile=16": tiles(16),
        "HiMuon, tile=64": tiles(64),
        "HiMuon, tile=full": tiles("full"),
        "Muon, float32 products of torch": Muon,
    }
    if "--torch-muon" in sys.argv:
        made["torch.optim.Muon"] = torch.optim.Muon
    return {name: make(parameters()) for name, make in made.items()}


def main():
    given = [int(text) for text in sys.argv[1:] if text.isdecimal()]
    rounds, threads = (given + [7, 2][len(given) :])[:2]
    torch.set_num_threads(threads)
    stepping = optimizers(threads)
    times = {name: [] for name in stepping}
    # The first round allocates, and is not counted.
    for turn in range(rounds + 1):
        for name, optimizer in stepping.items():
            start = time.perf_counter()
            optimizer.step()
            times[name] += [time.perf_counter() - start] if turn else []
    fastest = statistics.median(times["AdamW of torch, fused"])
    for name, samples in times.items():
        median = statistics.median(samples)
        print(f"{name:32} {1e3 * median:9.1f} ms {median / fastest:7.1f}")


if __name__ == "__main__":
    main()
