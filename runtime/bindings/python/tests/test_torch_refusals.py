"""What the optimizer of torch refuses."""

import unittest
import warnings

try:
    import torch
except ImportError:
    raise unittest.SkipTest("torch is not installed") from None

import himuon
from himuon.torch import HiMuon


class Refusals(unittest.TestCase):
    def test_parameters(self):
        for parameter, kind, text in [
            (torch.zeros(4, 4, device="meta"), ValueError, "on meta"),
            (torch.zeros(4, 4, dtype=torch.float64), TypeError, "float64"),
            (torch.zeros(4, 6).T, ValueError, "contiguous rows$"),
            (torch.zeros(4, 3, 2, 2).to(memory_format=torch.channels_last), ValueError, r"call model.to\(memory_format="),
        ]:
            with self.subTest(text), self.assertRaisesRegex(kind, f"parameter w .*{text}"):
                HiMuon([("w", torch.nn.Parameter(parameter))])

    def test_one_parameter_under_two_names(self):
        weight = torch.nn.Parameter(torch.zeros(4, 4))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, of what will be an error there.
            with self.assertRaisesRegex(ValueError, "embed.weight and up.weight are one parameter"):
                HiMuon([("embed.weight", weight), ("up.weight", weight)], spec="tile=4")

    def test_arguments_of_other_types(self):
        weight = [("w", torch.nn.Parameter(torch.zeros(4, 4)))]
        with self.assertRaisesRegex(TypeError, "spec is 0.1, expected text .*weight_decay, momentum"):
            HiMuon(weight, 1e-3, 0.1, 0.95)
        with self.assertRaisesRegex(TypeError, "spec is 64, expected text"):
            HiMuon([{"params": weight, "spec": 64}])
        with self.assertRaisesRegex(TypeError, r"schedule is 'full', expected \{.* or \[\(step, tile\)"):
            HiMuon(weight, schedule="full")

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
        with self.assertRaisesRegex(ValueError, "use_muon=False has no lr"):
            HiMuon([("w", weight)], use_muon=False)
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


if __name__ == "__main__":
    unittest.main()
