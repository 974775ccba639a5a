"""States of the optimizer of torch."""

import copy
import io
import unittest

try:
    import torch
except ImportError:
    raise unittest.SkipTest("torch is not installed") from None

import himuon
from himuon.torch import HiMuon
from networks import advance, make, network, same


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

    def test_hooks_see_the_whole_state_and_what_they_change_counts(self):
        model = network()
        optimizer = make(model)
        advance(model, optimizer, 0)
        kept = optimizer.state_dict()
        seen = []

        def packed(_, state):
            seen.append(len(state["state"][1]))
            return {**state, "extra": 3}

        def unpacked(_, state):
            seen.append(len(state["state"][1]))
            return {**kept, "param_groups": [{**kept["param_groups"][0], "lr": 0.5}, *kept["param_groups"][1:]]}

        optimizer.register_state_dict_post_hook(packed)
        state = optimizer.state_dict()
        self.assertEqual(state["extra"], 3)
        other = make(network(seed=9))
        other.register_load_state_dict_pre_hook(unpacked)
        other.register_load_state_dict_post_hook(lambda itself: seen.append(itself.param_groups[0]["lr"]))
        other.load_state_dict(state)
        self.assertEqual(seen, [1, 1, 0.5])
        self.assertEqual(other.state_dict()["himuon"]["metadata"]["himuon.step"], "1")

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
        self.assertIn("module.up.weight", wrapped.param_groups[0]["param_names"])
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

    def test_a_state_of_before_an_option_was_there(self):
        model = network()
        optimizer = make(model, scale="paper")
        advance(model, optimizer, 0)
        state = optimizer.state_dict()
        del state["param_groups"][0]["scale"]
        resumed = copy.deepcopy(model)
        other = make(resumed, scale="paper")
        other.load_state_dict(state)
        for net, stepped in ((model, optimizer), (resumed, other)):
            advance(net, stepped, 1)
        self.assertTrue(same(model, resumed))

    def test_the_state_is_on_the_cpu_whatever_torch_makes_by_default(self):
        model = network()
        optimizer = make(model)
        for step in range(2):
            with torch.device("meta"):
                state = optimizer.state_dict()
                optimizer.load_state_dict(state)
            devices = {values.device.type for entries in state["state"].values() for values in entries.values()}
            self.assertEqual(devices, {"cpu"})
            advance(model, optimizer, step)

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
