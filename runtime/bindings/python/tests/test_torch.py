"""The optimizer of torch."""

import copy
import doctest
import unittest
import warnings

try:
    import torch
except ImportError:
    raise unittest.SkipTest("torch is not installed") from None

import himuon
import himuon.torch
from himuon.torch import HiMuon
from networks import advance, loss_of, make, network, same


class Training(unittest.TestCase):
    def test_it_learns(self):
        model = network()
        optimizer = make(model)
        scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.5, 100)
        first = loss_of(model).item()
        for step in range(100):
            advance(model, optimizer, step)
            scheduler.step()
        self.assertLess(loss_of(model).item(), 0.1 * first)
        self.assertEqual(optimizer.last_report.tiles, 6)

    def test_routing(self):
        text = make(network()).explain()
        self.assertIn("an embedding by its name", text)
        self.assertIn("an output head by its name", text)
        lines = {line.split()[0]: line for line in text.splitlines() if line}
        self.assertIn("group0.adamw", lines["head.weight"])
        self.assertIn("6 tiles", lines["up.weight"])

    def test_steps_are_those_of_the_plain_optimizer(self):
        model, twin = network(), network()
        optimizer = make(model, weight_decay=0.05)
        names = [name for name, _ in twin.named_parameters()]
        plain = himuon.Optimizer(
            dict(twin.named_parameters()),
            [("up.weight", himuon.Muon("tile=16 steps=5", weight_decay=0.05))],
            adamw=himuon.AdamW(weight_decay=0.05),
            lr=0.02,
        )
        for step in range(3):
            advance(model, optimizer, step)
            twin.zero_grad()
            loss_of(twin, step).backward()
            gradients = [parameter.grad for parameter in twin.parameters()]
            plain.step([parameter.detach() for parameter in twin.parameters()], gradients)
        self.assertEqual(names, plain.names)
        self.assertTrue(same(model, twin))

    @unittest.skipUnless(hasattr(torch.optim, "Muon"), "this torch has no Muon")
    def test_whole_matrices_step_as_torch_muon_does(self):
        """With torch's own conventions, and with the rates that the README gives for scale="exact"."""
        for rows, columns in ((32, 48), (64, 32)):
            rate = 0.02 * max(1, rows / columns) ** 0.5 / (0.2 * max(rows, columns) ** 0.5)
            for theirs, ours in (
                ({}, {"lr": 0.02, "moving_average": True, "scale": "original"}),
                ({}, {"lr": rate, "weight_decay": 0.1 * 0.02 / rate}),
                ({"adjust_lr_fn": "match_rms_adamw"}, {"lr": 0.02}),
            ):
                with self.subTest(f"{rows} x {columns}: {theirs}, {ours}"):
                    self.compare_with_torch_muon(rows, columns, theirs, ours)

    def compare_with_torch_muon(self, rows, columns, theirs, ours):
        random = torch.Generator().manual_seed(1)
        weights = [torch.nn.Parameter(torch.randn(rows, columns, generator=random.manual_seed(1))) for _ in range(2)]
        ours = HiMuon([("w", weights[0])], spec="tile=full steps=5 coefficients=muon", **ours)
        theirs = torch.optim.Muon([weights[1]], lr=0.02, **theirs)
        start = weights[0].detach().clone()
        for _ in range(3):
            gradient = torch.randn(rows, columns, generator=random)
            for weight, optimizer in zip(weights, (ours, theirs)):
                weight.grad = gradient.clone()
                optimizer.step()
        way, expected = weights[0].detach() - start, weights[1].detach() - start
        distance = (torch.linalg.norm(way - expected) / torch.linalg.norm(expected)).item()
        # Relative Frobenius distance; torch iterates in bfloat16, of which this is the size: worst of 20 measured 8.5e-3.
        self.assertLess(distance, 2.6e-2)

    def test_exact_updates_are_as_large_for_every_tile(self):
        def size(spec):
            weight = torch.nn.Parameter(torch.zeros(128, 128))
            weight.grad = torch.randn(128, 128, generator=torch.Generator().manual_seed(0))
            HiMuon([("w", weight)], lr=1.0, spec=spec).step()
            return weight.detach().square().mean().sqrt().item()

        # Root mean square at lr 1, Gaussian; orthogonal tiles have 0.2, five steps end a little below: measured 0.176 to 0.186.
        for spec in ("tile=full", "tile=64", "tile=16"):
            self.assertAlmostEqual(size(spec), 0.18, delta=0.015)

    def test_groups_have_rates_of_their_own(self):
        model = network()
        before = copy.deepcopy(model)
        groups = [
            {"params": [("up.weight", model.up.weight)], "lr": 0.0, "weight_decay": 0.0},
            {"params": list(model.embed.named_parameters("embed")), "use_muon": False, "lr": 1e-3},
        ]
        optimizer = HiMuon(groups, spec="tile=16")
        advance(model, optimizer, 0)
        self.assertTrue(torch.equal(model.up.weight, before.up.weight))
        self.assertFalse(torch.equal(model.embed.weight, before.embed.weight))
        optimizer.param_groups[0]["lr"] = torch.tensor(0.01)
        advance(model, optimizer, 1)
        self.assertFalse(torch.equal(model.up.weight, before.up.weight))
        self.assertTrue(torch.equal(model.head.weight, before.head.weight))

    def test_closures_and_missing_gradients(self):
        model = network()
        optimizer = make(model)

        def closure():
            optimizer.zero_grad()
            loss = loss_of(model)
            loss.backward()
            model.head.weight.grad = None
            return loss

        self.assertAlmostEqual(optimizer.step(closure).item(), loss_of(network()).item(), places=5)
        self.assertEqual(optimizer.last_report.missing_gradients, ["head.weight"])

    def test_bfloat16(self):
        model = network(dtype=torch.bfloat16)
        optimizer = make(model)
        first = loss_of(model).item()
        for step in range(60):
            advance(model, optimizer, step)
        self.assertLess(loss_of(model).item(), 0.5 * first)

    def test_unnamed_parameters(self):
        model = network()
        with self.assertWarnsRegex(UserWarning, "without names"):
            optimizer = HiMuon(model.up.parameters(), lr=0.02, spec="tile=16")
        advance(model, optimizer, 0)
        self.assertEqual(optimizer.last_report.tiles, 6)
        self.assertIn("group0.1", optimizer.explain())

    def test_a_graph_of_before_the_step_is_refused(self):
        weight = torch.nn.Parameter(torch.eye(4))
        optimizer = HiMuon([("w", weight)], spec="tile=4")
        x = torch.ones(4, requires_grad=True)
        loss = (weight @ x).square().sum()
        loss.backward(retain_graph=True)
        optimizer.step()
        with self.assertRaisesRegex(RuntimeError, "modified by an inplace operation"):
            loss.backward()

    def test_options_may_change_between_steps(self):
        for option, value in [
            ("spec", "tile=8"),
            ("betas", (0.5, 0.5)),
            ("nesterov", False),
            ("scale", "none"),
            ("adamw_lr_factor", 0.5),
            ("eps", 1e-3),
            ("momentum", 0.5),
            ("weight_decay", 0.0),
        ]:
            with self.subTest(option):
                model, twin, plain = network(), network(), network()
                changed, other, unchanged = make(model), make(twin), make(plain)
                for net, optimizer in ((model, changed), (twin, other), (plain, unchanged)):
                    advance(net, optimizer, 0)
                changed.param_groups[0][option] = value
                resumed = make(twin, **{option: value})
                state = other.state_dict()
                state["param_groups"][0][option] = value
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    resumed.load_state_dict(state)
                for net, optimizer in ((model, changed), (twin, resumed), (plain, unchanged)):
                    advance(net, optimizer, 1)
                self.assertTrue(same(model, twin))
                self.assertFalse(same(model, plain))
        model = network()
        optimizer = make(model)
        advance(model, optimizer, 0)
        optimizer.param_groups[0]["use_muon"] = False
        with self.assertRaisesRegex(himuon.StateError, "up.weight was updated by muon there, by adamw here"):
            optimizer.step()

    def test_one_cycle_resumes(self):
        model = network()
        optimizer = make(model)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=9)
        for step in range(6):
            if step == 3:
                resumed = copy.deepcopy(model)
                other = make(resumed)
                other.load_state_dict(optimizer.state_dict())
                later = torch.optim.lr_scheduler.OneCycleLR(make(network()), 0.02, total_steps=9)
                later.load_state_dict(scheduler.state_dict())
                later.optimizer = other
            advance(model, optimizer, step)
            scheduler.step()
            if step >= 3:
                advance(resumed, other, step)
                later.step()
        self.assertTrue(same(model, resumed))

    def test_types_may_change(self):
        model = network()
        optimizer = make(model)
        advance(model, optimizer, 0)
        model.to(torch.bfloat16)
        advance(model, optimizer, 1)
        self.assertEqual((optimizer.last_report.step, optimizer.last_report.tiles), (1, 6))
        model.embed.to(torch.float32)
        optimizer.zero_grad()
        optimizer.step()

    def test_master_weights(self):
        model = network(dtype=torch.bfloat16)
        optimizer = make(model, master_weights=True)
        advance(model, optimizer, 0)
        state = optimizer.state_dict()["state"]
        self.assertIn("master_remainder", state[1])
        self.assertIn("master_remainder", state[0])

    def test_masters_beside_parameters_of_float32(self):
        def moved(small, master_weights, **options):
            """How far a bfloat16 weight of 1 is after 50 steps, and a float32 one, each by less than half a unit of bfloat16."""
            weights = [
                (small, torch.nn.Parameter(torch.ones(8, 8, dtype=torch.bfloat16))),
                ("norm.weight", torch.nn.Parameter(torch.ones(8))),
                ("up.weight", torch.nn.Parameter(torch.ones(8, 8, dtype=torch.bfloat16))),
            ]
            given = weights if options.get("use_muon", True) else weights[:2]
            optimizer = HiMuon(given, spec="tile=8", weight_decay=0.0, master_weights=master_weights, **options)
            for _ in range(50):
                for _, weight in given:
                    weight.grad = torch.ones_like(weight)
                optimizer.step()
            state = optimizer.state_dict()["state"]
            self.assertEqual("master_remainder" in state[0], master_weights)
            self.assertNotIn("master_remainder", state[1])
            return [1 - weight.detach().float().mean().item() for _, weight in given[:2]]

        for options in ({"lr": 0.01}, {"lr": 5e-4, "use_muon": False}):
            with self.subTest(options):
                masters, norm = moved("embed.weight", True, **options)
                # 50 steps of 5e-4 each, as far as float32 goes; bfloat16 ends in steps of 2^-8 below 1.
                self.assertAlmostEqual(norm, 0.025, places=5)
                self.assertAlmostEqual(masters, norm, delta=2**-9)
                self.assertEqual(moved("embed.weight", False, **options)[0], 0.0)

    def test_options_reach_all_of_a_group(self):
        model = network(dtype=torch.bfloat16)
        model.up.bias.data = model.up.bias.data.float()
        before = copy.deepcopy(model)
        optimizer = make(model, master_weights=True)
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.param_groups[0]["lr"] = 0.0
        optimizer.step()
        self.assertTrue(same(model, before))
        optimizer.param_groups[0]["lr"] = 0.1
        optimizer.step()
        for parameter, old in zip(model.parameters(), before.parameters()):
            self.assertFalse(torch.equal(parameter, old))
        self.assertRegex(optimizer.explain(), r"group0\.adamw\.without_masters: .*AdamW, lr 0\.005")
        resumed = copy.deepcopy(model)
        other = make(resumed, master_weights=True)
        other.load_state_dict(optimizer.state_dict())
        for net, stepped in ((model, optimizer), (resumed, other)):
            for parameter in net.parameters():
                parameter.grad = torch.ones_like(parameter)
            stepped.step()
        self.assertTrue(same(model, resumed))

    def test_wrappers_do_not_change_who_is_mapped(self):
        class Llama(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.tok_embeddings = torch.nn.Embedding(16, 16)
                self.layer = torch.nn.Linear(16, 16, bias=False)
                self.output = torch.nn.Linear(16, 16, bias=False)

            def forward(self, tokens):
                return self.output(self.layer(self.tok_embeddings(tokens)))

        class Wrapped(torch.nn.Module):
            def __init__(self, module):
                super().__init__()
                self.module = module

        def trained(wrap):
            torch.manual_seed(0)
            model = Llama()
            optimizer = HiMuon(wrap(model).named_parameters(), spec="tile=16")
            for _ in range(2):
                optimizer.zero_grad()
                model(torch.arange(16)).square().mean().backward()
                optimizer.step()
            return model, optimizer

        plain, optimizer = trained(lambda model: model)
        self.assertEqual(optimizer.last_report.tiles, 1)
        def compiled(model):
            return torch.compile(model, backend="eager")

        for wrap in (compiled, Wrapped, lambda model: compiled(Wrapped(compiled(model)))):
            model, other = trained(wrap)
            self.assertNotIn("output.weight", other.param_groups[0]["param_names"])
            self.assertEqual(other._current().groups, optimizer._current().groups)
            self.assertTrue(same(model, plain))
            for saved, loaded in ((optimizer, other), (other, optimizer)):
                names = loaded.param_groups[0]["param_names"]
                loaded.load_state_dict(saved.state_dict())
                self.assertEqual(loaded.param_groups[0]["param_names"], names)
        # Both are kept apart where only the wrapper's part of the name does so.
        alike = [(name, torch.nn.Parameter(torch.ones(4, 4))) for name in ("module.weight", "weight")]
        self.assertEqual([name for name, _ in HiMuon(alike, spec="tile=4")._current().groups], ["module.weight", "weight"])

    def test_empty_groups(self):
        model = network()
        groups = [{"params": list(model.parameters())}, {"params": []}]
        optimizer = HiMuon(groups, spec="tile=16", every_matrix=True)
        advance(model, optimizer, 0)
        self.assertEqual(len(optimizer.state_dict()["param_groups"]), 2)

    def test_strided_gradients(self):
        model, twin = network(), network()
        optimizers = make(model), make(twin)
        for net, optimizer in zip((model, twin), optimizers):
            loss_of(net).backward()
            if net is model:
                net.up.weight.grad = net.up.weight.grad.T.contiguous().T
            optimizer.step()
        self.assertTrue(same(model, twin))


def load_tests(loader, tests, pattern):
    tests.addTests(doctest.DocTestSuite(himuon.torch))
    return tests


if __name__ == "__main__":
    unittest.main()
