"""The optimizer of torch."""

import copy
import doctest
import io
import unittest
import warnings
from unittest import mock

try:
    import torch
except ImportError:
    raise unittest.SkipTest("torch is not installed") from None

import himuon
import himuon.torch
from himuon.torch import HiMuon
from torch._subclasses.fake_tensor import FakeTensorMode


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
        weights = [torch.nn.Parameter(torch.randn(32, 48, generator=torch.Generator().manual_seed(1))) for _ in range(2)]
        ours = HiMuon(
            [("w", weights[0])],
            lr=0.02,
            spec="tile=full steps=5 coefficients=muon",
            moving_average=True,
            scale="original",
        )
        theirs = torch.optim.Muon([weights[1]], lr=0.02)
        start = weights[0].detach().clone()
        for step in range(3):
            gradient = torch.randn(32, 48, generator=torch.Generator().manual_seed(step + 2))
            for weight, optimizer in zip(weights, (ours, theirs)):
                weight.grad = gradient.clone()
                optimizer.step()
        way, expected = weights[0].detach() - start, weights[1].detach() - start
        distance = (torch.linalg.norm(way - expected) / torch.linalg.norm(expected)).item()
        # Relative Frobenius distance; torch iterates in bfloat16, of which this is the size: worst of 20 measured 8.5e-3.
        self.assertLess(distance, 2.6e-2)

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
            ("scale", "original"),
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


class States(unittest.TestCase):
    def test_a_resumed_run_has_the_same_bits(self):
        model = network()
        optimizer = make(model, schedule=None)
        for step in range(3):
            advance(model, optimizer, step)
        file = io.BytesIO()
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
        file.seek(0)
        saved = torch.load(file, weights_only=True)
        resumed = network(seed=9)
        resumed.load_state_dict(saved["model"])
        other = make(resumed)
        other.load_state_dict(saved["optimizer"])
        self.assertEqual(other.state_dict()["himuon"], optimizer.state_dict()["himuon"])
        for step in range(3, 6):
            advance(model, optimizer, step)
            advance(resumed, other, step)
        self.assertTrue(same(model, resumed))

    def test_the_order_of_parameters_is_that_of_the_state(self):
        model = network()
        optimizer = make(model)
        advance(model, optimizer, 0)
        state = optimizer.state_dict()
        turned = HiMuon(reversed(list(model.named_parameters())), lr=0.02, spec="tile=16 steps=5")
        with self.assertRaisesRegex(ValueError, "the state_dict has embed.weight where this optimizer has head.weight"):
            turned.load_state_dict(state)
        wrapped = [(f"module.{name}", parameter) for name, parameter in model.named_parameters()]
        wrapped = HiMuon(wrapped, lr=0.02, spec="tile=16 steps=5")
        wrapped.load_state_dict(state)
        self.assertIn("module.up.weight", wrapped.explain())
        self.assertEqual(wrapped.state_dict()["himuon"]["metadata"]["himuon.step"], "1")

    def test_a_bad_option_does_not_cost_the_checkpoint(self):
        model = network()
        optimizer = make(model)
        advance(model, optimizer, 0)
        optimizer.param_groups[0]["momentum"] = 2.0
        self.assertEqual(set(optimizer.state_dict()["state"][1]), {"momentum_buffer"})
        with self.assertRaisesRegex(himuon.BuildError, "the momentum is 2"):
            optimizer.step()

    def test_the_state_has_torch_names(self):
        model = network()
        optimizer = make(model)
        advance(model, optimizer, 0)
        state = optimizer.state_dict()["state"]
        self.assertEqual(set(state[1]), {"momentum_buffer"})
        self.assertEqual(set(state[0]), {"exp_avg", "exp_avg_sq", "step"})
        self.assertEqual(set(optimizer.state[model.embed.weight]), set(state[0]))
        self.assertEqual(state[1]["momentum_buffer"].shape, model.up.weight.shape)

    def test_what_else_a_matrix_may_have_is_state_too(self):
        for options, keys in [
            ({"row_normalisation": (0.9, 1e-8)}, {"row_second_moment"}),
            ({"spec": "tile=16 coarse=4", "coarse_factor": 1.0, "coarse_momentum": 0.9}, {"coarse_basis"}),
            ({"dtype": torch.bfloat16, "master_weights": True}, {"master_remainder"}),
        ]:
            with self.subTest(keys):
                dtype = options.pop("dtype", torch.float32)
                model = network(dtype=dtype)
                optimizer = make(model, **options)
                advance(model, optimizer, 0)
                state = optimizer.state_dict()
                self.assertEqual(set(state["state"][1]), {"momentum_buffer"} | keys)
                resumed = network(seed=9, dtype=dtype)
                resumed.load_state_dict(model.state_dict())
                other = make(resumed, **options)
                other.load_state_dict(state)
                plain = network(dtype=dtype)
                plain.load_state_dict(model.state_dict())
                alone = make(plain, spec="tile=16")
                for net, stepped in ((model, optimizer), (resumed, other), (plain, alone)):
                    advance(net, stepped, 1)
                self.assertTrue(same(model, resumed))
                self.assertFalse(same(model, plain))

    def test_a_state_of_another_model_changes_nothing(self):
        model = network()
        optimizer = make(model)
        advance(model, optimizer, 0)
        before = optimizer.state_dict()
        other = torch.nn.Sequential()
        for name in ("embed", "up", "head"):
            other.add_module(name, torch.nn.Linear(8, 8, bias=name == "up"))
        foreign = HiMuon(other.named_parameters(), lr=0.5, spec="tile=4").state_dict()
        with self.assertRaisesRegex(himuon.StateError, "embed.weight"):
            optimizer.load_state_dict(foreign)
        with self.assertRaisesRegex(ValueError, r"no \['himuon'\]"):
            optimizer.load_state_dict(torch.optim.SGD(model.parameters()).state_dict())
        self.assertEqual(optimizer.param_groups[0]["lr"], 0.02)
        self.assertEqual(optimizer.state_dict()["himuon"], before["himuon"])
        advance(model, optimizer, 1)
        self.assertEqual(optimizer.last_report.step, 1)

    def test_copies_are_refused(self):
        with self.assertRaisesRegex(TypeError, "state_dict"):
            copy.deepcopy(make(network()))

    def test_a_group_that_is_added_later(self):
        model, twin = network(), network()
        whole = HiMuon([{"params": list(model.up.named_parameters("up"))}], lr=0.02, spec="tile=16")
        alone = HiMuon([{"params": list(twin.up.named_parameters("up"))}], lr=0.02, spec="tile=16")
        for net, optimizer in ((model, whole), (twin, alone)):
            advance(net, optimizer, 0)
        head = model.head.weight.detach().clone()
        whole.add_param_group({"params": [("head.weight", model.head.weight)], "use_muon": False, "lr": 0.0})
        for net, optimizer in ((model, whole), (twin, alone)):
            advance(net, optimizer, 1)
        self.assertTrue(torch.equal(model.up.weight, twin.up.weight))
        self.assertTrue(torch.equal(model.head.weight, head))
        self.assertEqual(whole.last_report.step, 1)
        with self.assertRaises(TypeError):
            whole.add_param_group({"params": [("x", torch.nn.Parameter(torch.zeros(2, dtype=torch.float64)))]})
        self.assertEqual(len(whole.param_groups), 2)
        advance(model, whole, 2)


class Refusals(unittest.TestCase):
    def test_parameters(self):
        for parameter, kind, text in [
            (torch.zeros(4, 4, device="meta"), ValueError, "on meta"),
            (torch.zeros(4, 4, dtype=torch.float64), TypeError, "float64"),
            (torch.zeros(4, 6).T, ValueError, "contiguous"),
        ]:
            with self.subTest(text), self.assertRaisesRegex(kind, f"parameter w .*{text}"):
                HiMuon([("w", torch.nn.Parameter(parameter))])

    def test_sparse_gradients(self):
        weight = torch.nn.Parameter(torch.zeros(4, 4))
        optimizer = HiMuon([("w", weight)], spec="tile=4")
        weight.grad = torch.ones(4, 4).to_sparse()
        with self.assertRaisesRegex(ValueError, "gradient of w .* dense"):
            optimizer.step()

    def test_a_group_of_adamw_states_its_rate(self):
        weight = torch.nn.Parameter(torch.zeros(4, 4))
        with self.assertRaisesRegex(ValueError, "use_muon=False has no lr"):
            HiMuon([{"params": [("w", weight)], "use_muon": False}])
        HiMuon([("w", weight)], lr=1e-3, use_muon=False)

    def test_lazily_negated_parameters(self):
        negated = torch.imag(torch.conj(torch.ones(4, 4, dtype=torch.complex64))).contiguous()
        weight = torch.nn.Parameter(torch.ones(4, 4))
        optimizer = HiMuon([("w", weight)], spec="tile=4")
        weight.grad = torch.ones(4, 4)
        weight.data = torch._neg_view(negated)
        with self.assertRaisesRegex(ValueError, "parameter w is negated lazily"):
            optimizer.step()
        with self.assertRaisesRegex(ValueError, "parameter w is negated lazily"):
            HiMuon([("w", weight)])

    def test_parameters_that_are_no_longer_what_they_were(self):
        weight = torch.nn.Parameter(torch.ones(4, 6))
        optimizer = HiMuon([("w", weight)], spec="tile=4")
        weight.grad = torch.ones(4, 6)
        optimizer.step()
        taken = weight.detach().clone()
        for data, kind, text in [
            (torch.ones(6, 4).T, ValueError, "strides"),
            (torch.ones(6, 6), himuon.StateError, "w"),
            (torch.ones(4, 6, dtype=torch.float64), TypeError, "float64"),
        ]:
            with self.subTest(text):
                weight.data = data
                with self.assertRaisesRegex(kind, text):
                    optimizer.step()
                self.assertTrue((weight == 1).all())
        weight.data = taken.clone()
        optimizer.step()
        self.assertEqual(optimizer.last_report.step, 1)
        # torch compares a gradient with its parameter when it is assigned, and no later.
        weight.data, gradient = torch.ones(3, 6), weight.grad
        self.assertEqual(gradient.shape, (4, 6))
        with self.assertRaisesRegex(ValueError, r"the gradient of w is \[4, 6\] on cpu, expected \[3, 6\]"):
            HiMuon([("w", weight)], spec="tile=4").step()

    def test_mixed_types(self):
        mixed = [("a", torch.nn.Parameter(torch.zeros(4, 4))), ("b", torch.nn.Parameter(torch.zeros(4, 4).bfloat16()))]
        with self.assertRaisesRegex(ValueError, "one type"):
            HiMuon(mixed)
        HiMuon([("embed.w", mixed[0][1]), mixed[1]])


class Devices(unittest.TestCase):
    """What can be seen of CUDA without a device: tensors that are nowhere, and torch's calls written down."""

    def made_for(self, *devices):
        with FakeTensorMode():
            parameters = [(f"layer{i}.weight", torch.nn.Parameter(torch.empty(32, 16, device=d))) for i, d in enumerate(devices)]
            with mock.patch("himuon.torch.Optimizer", wraps=self.recorded):
                return HiMuon(parameters, spec="tile=16")

    def recorded(self, parameters, groups, **options):
        self.devices.append(options.pop("device", "cpu"))
        optimizer = mock.Mock(wraps=himuon.Optimizer(parameters, groups, **options))
        optimizer.configure_mock(device=self.devices[-1], groups=[(name, "group0") for name in parameters], warnings=[])
        return optimizer

    def setUp(self):
        self.devices = []

    def test_an_optimizer_is_made_where_its_parameters_are(self):
        self.assertEqual(self.made_for("cuda:1", "cuda:1")._device, torch.device("cuda:1"))
        self.assertEqual(self.devices[-1], "cuda:1")
        self.assertEqual(self.made_for("cpu")._device, torch.device("cpu"))
        with self.assertRaisesRegex(ValueError, "several devices .*layer0.weight on cuda:0.*layer1.weight on cuda:1"):
            self.made_for("cuda:0", "cuda:1")
        with self.assertRaisesRegex(ValueError, "is on meta, expected the CPU or a CUDA device"):
            HiMuon([("a", torch.nn.Parameter(torch.empty(4, 4, device="meta")))])

    def step_on(self, current, default, native_step):
        """A step as on a device whose streams are these; gives what was asked of them, in order."""
        weight = torch.nn.Parameter(torch.ones(4, 4))
        optimizer = HiMuon([("w", weight)], spec="tile=4")
        weight.grad = torch.ones(4, 4)
        calls = mock.Mock()
        calls.current.__eq__ = lambda stream, other: current == default
        calls.step.side_effect = native_step
        optimizer._native = mock.Mock(wraps=optimizer._native, _step_at=calls.step)
        optimizer._device = torch.device("cuda:1")
        cuda = mock.Mock(
            **{"is_current_stream_capturing.return_value": False},
            current_stream=mock.Mock(return_value=calls.current),
            default_stream=mock.Mock(return_value=calls.default),
            empty_cache=calls.empty_cache,
        )
        with mock.patch("torch.cuda", cuda):
            try:
                optimizer.step()
                optimizer.step()
            finally:
                cuda.current_stream.assert_called_with(torch.device("cuda:1"))
                self.asked = [name for name, _, _ in calls.mock_calls]

    def test_streams_wait_for_each_other(self):
        step = ["default.wait_stream", "step", "current.wait_stream"]
        self.step_on("another", "default", [None, None])
        self.assertEqual(self.asked, [step[0], "empty_cache", *step[1:], *step])
        self.step_on("default", "default", [None, None])
        self.assertEqual(self.asked, ["empty_cache", "step", "step"])
        with self.assertRaises(himuon.TornError):
            self.step_on("another", "default", [himuon.TornError("lost")])
        self.assertEqual(self.asked, [step[0], "empty_cache", *step[1:]])

    def test_a_stream_that_is_captured(self):
        weight = torch.nn.Parameter(torch.ones(4, 4))
        optimizer = HiMuon([("w", weight)], spec="tile=4")
        with mock.patch("torch.cuda", mock.Mock()), self.assertRaisesRegex(RuntimeError, "being captured"):
            optimizer.step()

    def test_wrapped_tensors(self):
        from torch.testing._internal.two_tensor import TwoTensor

        with self.assertRaisesRegex(TypeError, "parameter w is a TwoTensor, expected a plain tensor"):
            HiMuon([("w", torch.nn.Parameter(TwoTensor(torch.ones(4, 4), torch.ones(4, 4))))])


class Shards(unittest.TestCase):
    """One process of several, which are not there: nothing of a step may need them."""

    def setUp(self):
        if not torch.distributed.is_available():
            self.skipTest("torch is built without torch.distributed")
        from torch.distributed.tensor import DTensor, Shard
        from torch.testing._internal.distributed.fake_pg import FakeStore

        torch.distributed.init_process_group("fake", store=FakeStore(), rank=1, world_size=2)
        self.addCleanup(torch.distributed.destroy_process_group)
        mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (2,))

        def shard(whole, dim=0):
            # torch's own distribute_tensor asks the first process, up to torch 2.6.
            start = -(-whole.shape[dim] // 2)
            here = whole.narrow(dim, start, whole.shape[dim] - start).clone(memory_format=torch.contiguous_format)
            return DTensor.from_local(here, mesh, [Shard(dim)], shape=whole.shape, stride=whole.stride())

        self.shard = shard

    def test_a_shard_gets_the_bits_of_its_rows(self):
        torch.manual_seed(0)
        shapes = {"layer.weight": (64, 48), "layer.bias": (64,), "scale": (1,)}
        values = {name: torch.randn(shape) for name, shape in shapes.items()}
        whole = {name: torch.nn.Parameter(value.clone()) for name, value in values.items()}
        part = {name: torch.nn.Parameter(self.shard(value)) for name, value in values.items()}
        self.assertEqual(part["scale"].to_local().numel(), 0, "the other process has all of it")
        optimizers = [HiMuon(list(each.items()), spec="tile=16") for each in (whole, part)]
        for _ in range(2):
            for name, shape in shapes.items():
                whole[name].grad = torch.randn(shape)
                part[name].grad = self.shard(whole[name].grad)
            for optimizer in optimizers:
                optimizer.step()
        self.assertEqual(optimizers[1].last_report.tiles, 6)
        for name in ("layer.weight", "layer.bias"):
            self.assertTrue(torch.equal(part[name].to_local(), whole[name][32:]), name)
        # A state has the part of the process, and says which it is.
        state = optimizers[1].state_dict()
        momentum = state["state"][0]["momentum_buffer"]
        self.assertEqual((momentum.shape, momentum.to_local().shape), ((64, 48), (32, 48)))
        self.assertEqual(momentum.placements, part["layer.weight"].placements)
        self.assertEqual(int(state["state"][2]["step"]), 2, "of what the other process has")
        resumed = HiMuon(list(part.items()), spec="tile=16")
        resumed.load_state_dict(state)
        self.assertEqual(resumed.state_dict()["himuon"]["names"], list(shapes))
        optimizers[0].step()
        resumed.step()
        self.assertTrue(torch.equal(part["layer.weight"].to_local(), whole["layer.weight"][32:]))

    def test_what_is_not_cut_as_its_parameter_is_says_of_how_many_parts_it_is(self):
        weight = torch.nn.Parameter(self.shard(torch.ones(32, 64), 1))
        optimizer = HiMuon([("w", weight)], spec="tile=16 coarse=4", row_normalisation=(0.9, 1e-8))
        state = optimizer.state_dict()["state"][0]
        parts = {"row_second_moment_of_2_parts": (2, 32), "coarse_basis_of_2_parts": (2, 1, 32, 4)}
        self.assertEqual({key: tuple(values.shape) for key, values in state.items()}, parts | {"momentum_buffer": (32, 64)})
        self.assertEqual(state["coarse_basis_of_2_parts"].to_local().shape, (1, 1, 32, 4))
        self.assertEqual(set(optimizer.state[weight]), set(state))

    def test_a_state_that_is_cut_otherwise(self):
        by_rows, by_columns = (torch.nn.Parameter(self.shard(torch.ones(32, 32), side)) for side in (0, 1))
        state = HiMuon([("w", by_rows)], spec="tile=16").state_dict()
        with self.assertRaisesRegex(ValueError, "momentum_buffer of w placed otherwise"):
            HiMuon([("w", by_columns)], spec="tile=16").load_state_dict(state)

    def test_refusals(self):
        whole = torch.ones(32, 16)
        with self.assertWarnsRegex(UserWarning, "the whole of each shard"):
            HiMuon([("w", torch.nn.Parameter(self.shard(whole)))], spec="tile=full")
        weight = torch.nn.Parameter(self.shard(whole))
        optimizer = HiMuon([("w", weight)], spec="tile=16")
        weight.grad = self.shard(whole, 1)
        with self.assertRaisesRegex(ValueError, r"placed as \(Shard\(dim=1\),\), expected \(Shard\(dim=0\),\)"):
            optimizer.step()


def load_tests(loader, tests, pattern):
    tests.addTests(doctest.DocTestSuite(himuon.torch))
    return tests


if __name__ == "__main__":
    unittest.main()
