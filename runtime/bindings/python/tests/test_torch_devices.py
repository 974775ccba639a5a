"""Devices and shards of the optimizer of torch."""

import unittest
from unittest import mock

try:
    import torch
except ImportError:
    raise unittest.SkipTest("torch is not installed") from None

import himuon
import himuon.torch
from himuon.torch import HiMuon
from torch._subclasses.fake_tensor import FakeTensorMode


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
        optimizer.configure_mock(device=self.devices[-1], groups=[(name, "group0") for name in parameters])
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
