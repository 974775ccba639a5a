"""What the optimizer of torch warns of, and at which line."""

import unittest
import warnings

try:
    import torch
except ImportError:
    raise unittest.SkipTest("torch is not installed") from None

from himuon.torch import HiMuon
from networks import advance, make, network


class Warnings(unittest.TestCase):
    def heard(self, does, *expected):
        """Hears exactly these warnings, all of them at a line of this file."""
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            result = does()
        texts = [str(warning.message) for warning in heard]
        self.assertEqual(len(texts), len(expected), texts)
        for warning, text in zip(heard, expected):
            self.assertRegex(str(warning.message), text)
            self.assertEqual(warning.filename, __file__)
        return result

    def test_parameters_without_names(self):
        model = network()
        self.heard(lambda: HiMuon(model.up.parameters(), spec="tile=16"), "parameters without names")
        self.heard(lambda: HiMuon(model.named_parameters(), spec="tile=16"))
        optimizer = self.heard(lambda: HiMuon(model.up.parameters(), spec="tile=16", every_matrix=True))
        more = {"params": model.head.parameters(), "every_matrix": False}
        self.heard(lambda: optimizer.add_param_group(more), "parameters without names")

    def test_flattened_parameters(self):
        flat = [(name, torch.nn.Parameter(p.detach().flatten())) for name, p in network().named_parameters()]
        text = "all 4 parameters .* one dimension, as FSDP1 .* everything goes to AdamW.*fully_shard"
        optimizer = self.heard(lambda: HiMuon(flat), text)
        # It has been said.
        self.heard(lambda: optimizer.load_state_dict(optimizer.state_dict()))
        model = network()
        embedding = list(model.embed.named_parameters("embed"))
        self.heard(lambda: HiMuon(embedding), "no matrix among 1 parameters .* everything goes to AdamW")
        vectors = {"params": [("up.bias", model.up.bias)], "weight_decay": 0.0}
        self.heard(lambda: HiMuon([{"params": [("up.weight", model.up.weight)]}, vectors], spec="tile=16"))
        self.heard(lambda: HiMuon(embedding, lr=1e-3, use_muon=False))

    def test_flat_parameters_in_place_of_others(self):
        model = network()
        optimizer = make(model)
        flat = torch.nn.Parameter(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
        optimizer.param_groups[0]["params"] = [flat]
        with self.assertRaisesRegex(ValueError, "group 0 has 1 parameters and 4 names.*ZeRO.*fully_shard"):
            optimizer.step()

    def test_scales_of_whole_matrices(self):
        model = network()
        for scale in ("original", "match_rms_adamw"):
            text = f'scale="{scale}" is made for tile=full'
            self.heard(lambda: HiMuon(model.named_parameters(), spec="tile=16", scale=scale), text)
            self.heard(lambda: HiMuon(model.named_parameters(), spec="tile=full", scale=scale))
            self.heard(lambda: HiMuon(model.named_parameters(), spec="tile=16", scale=scale, use_muon=False, lr=1e-3))

    def test_options_that_a_state_replaces(self):
        options = {
            "spec": ("tile=32", "tile=16"),
            "schedule": ({"tile": 16, "every": "full", "period": 2}, None),
            "row_normalisation": ((0.9, 1e-8), None),
            "nesterov": (False, True),
            "scale": ("paper", "exact"),
            "view": ("stack", "automatic"),
            "eps": (1e-6, 1e-8),
            "adamw_lr_factor": (0.1, 0.05),
        }
        for option, (saved, mine) in options.items():
            with self.subTest(option):
                spec = ["tile=16", "tile=full"] if option == "schedule" else "tile=16"
                plain = {"spec": spec}
                model = network()
                before = make(model, **(plain | {option: saved}))
                advance(model, before, 0)
                state = before.state_dict()
                after = make(network(), **(plain | {option: mine}))
                text = rf"group 0 goes on with {option}=.* of the state_dict, not with .*param_groups\[0\]\[\"{option}\"\]"
                self.heard(lambda: after.load_state_dict(state), text)
                self.assertEqual(after.param_groups[0][option], saved)
                self.heard(lambda: after.load_state_dict(state))

    def test_rates_come_from_a_state_silently(self):
        state = make(network(), lr=0.5, momentum=0.5, weight_decay=0.0, betas=(0.5, 0.5)).state_dict()
        optimizer = make(network())
        self.heard(lambda: optimizer.load_state_dict(state))
        self.assertEqual(optimizer.param_groups[0]["lr"], 0.5)

    def test_a_tile_that_is_changed_after_loading(self):
        model = network()
        before = make(model)
        advance(model, before, 0)
        after = make(model, spec="tile=8")
        self.heard(lambda: after.load_state_dict(before.state_dict()), "group 0 goes on with spec=")
        after.param_groups[0]["spec"] = "tile=8"
        advance(model, after, 1)
        self.assertEqual((after.last_report.step, after.last_report.tiles), (1, 24))


if __name__ == "__main__":
    unittest.main()
