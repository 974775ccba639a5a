"""Steps over numpy arrays, against the formulas in float64."""

import ctypes
import doctest
import logging
import os
import signal
import tempfile
import threading
import unittest
from pathlib import Path

import himuon
import numpy as np

QUINTIC = (3.4445, -4.7750, 2.0315)


def newton_schulz(tile, steps=5):
    """The map of one tile in float64, as published: quintic steps from the matrix over its Frobenius norm."""
    x = tile.astype(np.float64)
    x = x / max(np.linalg.norm(x), 1e-7)
    a, b, c = QUINTIC
    for _ in range(steps):
        gram = x @ x.T if x.shape[0] <= x.shape[1] else None
        if gram is not None:
            x = a * x + (b * gram + c * gram @ gram) @ x
        else:
            gram = x.T @ x
            x = a * x + x @ (b * gram + c * gram @ gram)
    return x


def mapped(matrix, edge):
    result = np.empty(matrix.shape)
    for row in range(0, matrix.shape[0], edge):
        for column in range(0, matrix.shape[1], edge):
            place = np.s_[row : row + edge, column : column + edge]
            result[place] = newton_schulz(matrix[place])
    return result


def distance(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def model(seed=0):
    random = np.random.default_rng(seed)
    shapes = {"blocks.0.q.weight": (48, 32), "blocks.0.q.bias": (48,), "embed.weight": (20, 16)}
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def tiled(weights, **options):
    return himuon.Optimizer(weights, [("*", himuon.Muon("tile=16 steps=5"))], threads=1, **options)


class Steps(unittest.TestCase):
    def test_the_map_is_the_published_one(self):
        matrix = np.random.default_rng(1).standard_normal((48, 40)).astype(np.float32)
        found = himuon.map(matrix, "tile=16 steps=5 coefficients=muon")
        # Relative Frobenius distance, Gaussian; worst of 30 measured 7.5e-7.
        self.assertLess(distance(found, mapped(matrix, 16)), 2.3e-6)

    def test_two_steps_are_the_formula(self):
        lr, decay, mu = 0.02, 0.1, 0.95
        weights = model()
        weight = weights["blocks.0.q.weight"].astype(np.float64)
        buffer = np.zeros_like(weight)
        options = himuon.Muon("tile=16 steps=5 coefficients=muon", weight_decay=decay, momentum=mu)
        optimizer = himuon.Optimizer(weights, [("blocks.*", options)], lr=lr)
        for step in range(2):
            gradients = model(step + 1)
            gradient = gradients["blocks.0.q.weight"].astype(np.float64)
            buffer = mu * buffer + gradient
            update = gradient + mu * buffer
            weight = (1 - lr * decay) * weight - lr * 0.2 * 4 * mapped(update, 16)
            optimizer.step(weights, gradients)
        moved = weight - model()["blocks.0.q.weight"]
        way = weights["blocks.0.q.weight"] - model()["blocks.0.q.weight"].astype(np.float64)
        # Relative Frobenius distance of the way that the weight went, Gaussian; measured 1.1e-5, most of it the rounding of the weight.
        self.assertLess(distance(way, moved), 3.2e-5)

    def test_names_route_and_explain_says_why(self):
        optimizer = tiled(model())
        text = optimizer.explain()
        self.assertIn("an embedding by its name", text)
        self.assertEqual(dict(optimizer.groups)["blocks.0.q.weight"], "*")
        self.assertEqual(dict(optimizer.groups)["embed.weight"], "(rest)")

    def test_sequences_and_missing_gradients(self):
        weights = model()
        before = {name: weight.copy() for name, weight in weights.items()}
        optimizer = tiled(weights)
        gradients = list(model(1).values())
        gradients[2] = None
        report = optimizer.step(list(weights.values()), gradients)
        self.assertEqual(report.missing_gradients, ["embed.weight"])
        self.assertEqual((report.step, report.tiles, optimizer.steps_taken), (0, 6, 1))
        np.testing.assert_array_equal(weights["embed.weight"], before["embed.weight"])
        self.assertTrue((weights["blocks.0.q.bias"] != before["blocks.0.q.bias"]).all())

    def test_rates_and_schedules(self):
        weights = model()
        group = ("m", ["blocks.0.q.weight"])
        options = himuon.Muon(["tile=16", "tile=full"], schedule={"tile": 16, "every": "full", "period": 2})
        optimizer = himuon.Optimizer(weights, [(group, options)], lr=0.5)
        tiles = [optimizer.step(weights, model(step)).tiles for step in range(3)]
        self.assertEqual(tiles, [1, 6, 1])
        optimizer.lr = 0.25
        self.assertEqual(optimizer.lr, 0.25)
        optimizer.set_group_lr("m", lr=0.0)
        optimizer.set_weight_decay("m", 0.0)
        optimizer.set_momentum("m", 0.9)
        before = weights["blocks.0.q.weight"].copy()
        optimizer.step(weights, model(9))
        np.testing.assert_array_equal(weights["blocks.0.q.weight"], before)
        changes = himuon.Muon(["tile=16", "tile=full"], schedule=[(0, 16), (1, "full")])
        optimizer = himuon.Optimizer(weights, [(group, changes)])
        self.assertEqual([optimizer.step(weights, model(step)).tiles for step in range(2)], [6, 1])

    def test_a_not_finite_gradient(self):
        gradients = model(1)
        gradients["blocks.0.q.weight"][0, 0] = np.nan
        weights = model()
        self.assertEqual(tiled(weights).step(weights, gradients).non_finite_tiles, 1)
        weights = model()
        report = tiled(weights, non_finite="skip_step").step(weights, gradients)
        self.assertEqual(report.skipped_for, "blocks.0.q.weight")
        with self.assertRaisesRegex(himuon.StepError, "blocks.0.q.weight"):
            tiled(weights, non_finite="error").step(weights, gradients)
        for name, weight in model().items():
            np.testing.assert_array_equal(weights[name], weight)

    def test_other_threads_run_during_a_step_and_may_not_step_too(self):
        weights = {"w": np.ones((1024, 1024), np.float32)}
        gradients = {"w": np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32)}
        optimizer = himuon.Optimizer(weights, [("w", himuon.Muon("tile=full"))], threads=1)
        stepping = threading.Thread(target=optimizer.step, args=(weights, gradients))
        stepping.start()
        refused = 0
        while stepping.is_alive():
            try:
                optimizer.explain()
            except RuntimeError as error:
                self.assertIn("another thread", str(error))
                refused += 1
        stepping.join()
        self.assertGreater(refused, 0)
        self.assertEqual(optimizer.steps_taken, 1)


class Refusals(unittest.TestCase):
    def setUp(self):
        self.weights = model()
        self.gradients = model(1)
        self.optimizer = tiled(self.weights)

    def refused(self, kind, text):
        before = {name: np.array(weight) for name, weight in model().items()}
        with self.assertRaisesRegex(kind, text):
            self.optimizer.step(self.weights, self.gradients)
        self.assertEqual(self.optimizer.steps_taken, 0)
        name = "blocks.0.q.bias"
        np.testing.assert_array_equal(self.weights[name], before[name])

    def test_shapes(self):
        self.gradients["embed.weight"] = self.gradients["embed.weight"].T.copy()
        self.refused(ValueError, r"gradient embed.weight has shape \[16, 20\], declared is \[20, 16\]")

    def test_strides(self):
        self.gradients["embed.weight"] = np.zeros((16, 20), np.float32).T
        self.refused(ValueError, "gradient embed.weight has strides .* contiguous")

    def test_types(self):
        self.gradients["embed.weight"] = self.gradients["embed.weight"].astype(np.float64)
        self.refused(TypeError, "gradient embed.weight .* 64 bits .* expected float32")
        self.gradients["embed.weight"] = [[0.0]]
        self.refused(TypeError, "gradient embed.weight is a list")

    def test_read_only(self):
        self.weights["embed.weight"].flags.writeable = False
        self.refused(ValueError, "weight embed.weight ")

    def test_shared_memory(self):
        self.gradients["embed.weight"] = self.weights["embed.weight"]
        self.refused(ValueError, "weight embed.weight and gradient|gradient embed.weight and weight")

    def test_names(self):
        self.gradients["other"] = self.gradients["embed.weight"]
        self.refused(KeyError, "gradients has other, which is not declared")
        del self.gradients["other"], self.weights["embed.weight"]
        self.refused(KeyError, "weight embed.weight is missing")

    def test_an_interrupted_export_is_not_a_refusal(self):
        class Interrupted:
            shape = (20, 16)

            def __dlpack__(self, **options):
                raise KeyboardInterrupt

        self.gradients["embed.weight"] = Interrupted()
        self.refused(KeyboardInterrupt, "")

    def test_copies_are_not_updated(self):
        class Copying:
            """Sets DLPack's flag of a copy, the second bit of the flags behind version, context and deleter."""

            def __init__(self, array):
                self.array = array

            def __dlpack__(self, **options):
                capsule = self.array.__dlpack__(**options)
                pointer = ctypes.pythonapi.PyCapsule_GetPointer
                pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
                ctypes.c_uint64.from_address(pointer(capsule, b"dltensor_versioned") + 24).value |= 2
                return capsule

        if np.lib.NumpyVersion(np.__version__) < "2.1.0":
            self.skipTest("numpy before 2.1 exports no flags")
        self.weights["embed.weight"] = Copying(self.weights["embed.weight"])
        self.refused(ValueError, "weight embed.weight is exported as a copy")

    def test_a_forked_process_makes_its_own(self):
        if not hasattr(os, "fork"):
            self.skipTest("no fork on this system")
        child = os.fork()
        if child == 0:
            try:
                self.optimizer.step(self.weights, self.gradients)
            except RuntimeError as error:
                os._exit(7 if "forked" in str(error) else 1)
            os._exit(2)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 7)
        self.optimizer.step(self.weights, self.gradients)

    def test_rates(self):
        for rate in (-1.0, float("nan")):
            with self.assertRaisesRegex(ValueError, "the learning rate is .*, expected a finite number"):
                tiled(self.weights, lr=rate)
            with self.assertRaisesRegex(ValueError, "the learning rate is"):
                self.optimizer.lr = rate
        with self.assertRaisesRegex(himuon.BuildError, "budget"):
            tiled(self.weights, memory_budget=1)
        with self.assertRaisesRegex(ValueError, "at most 4096"):
            himuon.map(self.weights["embed.weight"], "tile=4", threads=10**12)

    def test_counts(self):
        self.gradients = [None]
        self.refused(ValueError, "gradients has 1 entries, expected one for each of the 3 parameters")

    def test_what_a_group_may_not_be(self):
        for options, text in [
            ({"spec": "tile=0"}, "tile"),
            ({"spec": "tail=3"}, "tail"),
            ({"scale": "big"}, "scale is .big., expected one of"),
            ({"momentum": 1.0}, "momentum"),
            ({"schedule": [(1, 16)]}, "starts at step 0"),
        ]:
            with self.subTest(options), self.assertRaisesRegex((ValueError, himuon.BuildError), text):
                himuon.Optimizer(self.weights, [("*", himuon.Muon(**options))])
        schedule = r"schedule is .*, expected {.tile.: 64, .every.: .full., .period.: 5.* or \[\(step, tile\), \.\.\.\]"
        periodic = {"tile": 64, "every": "full", "period": 5}
        for options, text in [
            ({"spec": 64}, "spec is 64, expected text as .tile=64 steps=5., or a list"),
            ({"spec": [64]}, r"spec is \[64\], expected text"),
            ({"schedule": "full"}, schedule),
            ({"schedule": {"tile": 64, "every": "full"}}, schedule),
            ({"schedule": periodic | {"period": "5"}}, schedule),
            ({"schedule": periodic | {"faktor": 0.5}}, schedule),
            ({"schedule": periodic | {"every": None}}, "a tile is None, expected its edge"),
            ({"schedule": [64]}, schedule),
        ]:
            with self.subTest(options), self.assertRaisesRegex(TypeError, text):
                himuon.Muon(**options)
        with self.assertRaisesRegex(himuon.BuildError, "none of the 3 parameters"):
            himuon.Optimizer(self.weights, [("heads.*", himuon.AdamW())])
        with self.assertRaisesRegex(TypeError, "expected a himuon.Muon or a himuon.AdamW"):
            himuon.Optimizer(self.weights, [("*", "tile=4")])
        with self.assertRaisesRegex(himuon.Error, "names x, which no parameter is called"):
            himuon.Optimizer(self.weights, [(("g", ["x"]), himuon.AdamW())])


class Messages(unittest.TestCase):
    def test_warnings_are_logged(self):
        with self.assertLogs("himuon", "WARNING") as logs:
            optimizer = himuon.Optimizer(model(), threads=1)
        said = [record.getMessage() for record in logs.records]
        self.assertEqual(len(optimizer.warnings), 1)
        self.assertRegex(optimizer.warnings[0], "blocks.0.q.weight is a matrix that no group matches")
        self.assertEqual(said.count(optimizer.warnings[0]), 1)

    def test_they_come_from_any_thread(self):
        made, ended = [], threading.Event()
        make = threading.Thread(target=lambda: (made.append(himuon.Optimizer(model(), threads=1)), ended.set()))
        with self.assertLogs("himuon", "WARNING") as logs:
            make.start()
            while not ended.is_set():
                pass  # This thread keeps the interpreter as long as it may.
            make.join()
        self.assertIn(made[0].warnings[0], [record.getMessage() for record in logs.records])

    def test_an_interrupt_that_comes_meanwhile_is_not_lost(self):
        class Interrupting(logging.Handler):
            def emit(self, record):
                signal.raise_signal(signal.SIGINT)

        handler, logger = Interrupting(), logging.getLogger("himuon")
        logger.addHandler(handler)
        try:
            with self.assertRaises(KeyboardInterrupt):
                himuon.Optimizer(model(), threads=1)
                self.assertTrue("the interrupt is raised where Python runs again")
        finally:
            logger.removeHandler(handler)

    def test_what_is_given_back_is_not_logged_too(self):
        optimizer = tiled(model())
        with self.assertNoLogs("himuon"):
            differences = optimizer.load_state_bytes(tiled(model(), lr=0.5, adamw=himuon.AdamW(eps=1e-3)).state_bytes())
        self.assertTrue(differences)


class States(unittest.TestCase):
    def test_a_resumed_run_has_the_same_bits(self):
        weights = model()
        optimizer = tiled(weights)
        optimizer.step(weights, model(1))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "state.safetensors"
            optimizer.save_state(path)
            self.assertEqual(path.read_bytes(), optimizer.state_bytes())
            resumed, copy = tiled(weights), {name: weight.copy() for name, weight in weights.items()}
            self.assertEqual(resumed.load_state(path), [])
        again = tiled(weights)
        again.load_state_bytes(optimizer.state_bytes())
        self.assertEqual(again.state_bytes(), optimizer.state_bytes())
        optimizer.step(weights, model(2))
        resumed.step(copy, model(2))
        for name, weight in weights.items():
            np.testing.assert_array_equal(copy[name], weight)

    def test_pieces_make_the_state_again(self):
        from himuon import _himuon

        weights = model()
        optimizer = tiled(weights)
        optimizer.step(weights, model(1))
        state = optimizer.state_bytes()
        metadata, tensors = _himuon.read_state(state)
        self.assertEqual(metadata["himuon.step"], "1")
        self.assertEqual(_himuon.write_state(metadata, tensors[::-1]), state)
        with self.assertRaisesRegex(himuon.StateError, "one name"):
            _himuon.write_state(metadata, tensors + tensors[:1])
        with self.assertRaisesRegex(himuon.StateError, "type F99"):
            _himuon.write_state(metadata, [("x", "F99", [1], b"0")])

    def test_damage(self):
        weights = model()
        optimizer = tiled(weights)
        optimizer.step(weights, model(1))
        state = bytearray(optimizer.state_bytes())
        state[-1] ^= 1
        with self.assertRaisesRegex(himuon.StateError, "damaged"):
            tiled(weights).load_state_bytes(bytes(state))
        with self.assertRaisesRegex(himuon.StateError, "nowhere"):
            optimizer.load_state("nowhere.safetensors")


def load_tests(loader, tests, pattern):
    tests.addTests(doctest.DocTestSuite(himuon))
    return tests


if __name__ == "__main__":
    unittest.main()
