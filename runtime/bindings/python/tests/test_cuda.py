"""Steps on a CUDA device, beside the same on the CPU."""

import os
import subprocess
import sys
import unittest
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import himuon
import numpy as np
from device_arrays import DeviceArray, Driver
from test_numpy import distance, model

GROUPS = [("*", himuon.Muon("tile=16 steps=5"))]
# Relative Frobenius distance of the way that a weight went in three steps, normal weights and gradients; measured 8.9e-6.
GAP = 2.7e-5


def setUpModule():
    global driver
    driver = Driver()


def on_device(arrays, **options):
    return {name: DeviceArray(driver, values, **options) for name, values in arrays.items()}


def on_host(arrays):
    return {name: array.read() for name, array in arrays.items()}


def made(weights, groups=GROUPS, **options):
    return himuon.Optimizer(weights, groups, **({"device": "cuda"} | options))


class Steps(unittest.TestCase):
    def assert_same_way(self, found, expected, start):
        for name in start:
            way, expected_way = found[name] - start[name], expected[name] - start[name]
            self.assertLess(distance(way.astype(np.float64), expected_way), GAP, name)

    def test_they_are_those_of_the_cpu_and_states_are_shared(self):
        start, weights, there = model(), model(), on_device(model())
        cpu, cuda = himuon.Optimizer(weights, GROUPS), made(there)
        self.assertEqual((cpu.device, cuda.device), ("cpu", "cuda:0"))
        for step in range(2):
            gradients = model(step + 1)
            report = cuda.step(there, on_device(gradients))
            self.assertEqual((report.step, report.tiles, report.launches), (step, 6, 2))
            self.assertTrue(report.counts_pending)
            cpu.step(weights, gradients)
        self.assert_same_way(on_host(there), weights, start)
        # Either goes on where the other was.
        with TemporaryDirectory() as folder:
            path = Path(folder) / "state"
            cuda.save_state(path)
            bytes_of_cpu = cpu.state_bytes()
            self.assertTrue(cpu.load_state(path))
            cuda.load_state_bytes(bytes_of_cpu)
        gradients = model(9)
        cuda.step(there, on_device(gradients))
        cpu.step(weights, gradients)
        self.assert_same_way(on_host(there), weights, start)
        self.assertEqual(cuda.steps_taken, 3)

    def test_coupled_tiles_and_normalised_rows_are_those_of_the_cpu(self):
        normalised = himuon.Muon("tile=16 coarse=4", coarse_momentum=0.7, row_normalisation=(0.9, 1e-8))
        groups = [("*.q.*", himuon.Muon("tile=16 coarse=4")), ("*", normalised)]
        start, weights, there = model(), model(), on_device(model())
        cpu, cuda = himuon.Optimizer(weights, groups), made(there, groups)
        for step in range(2):
            gradients = model(step + 1)
            cuda.step(there, on_device(gradients))
            cpu.step(weights, gradients)
        self.assert_same_way(on_host(there), weights, start)
        self.assertEqual(cuda.tile_counts().uncoupled_matrices, 0)

    def test_exports_are_asked_for_in_the_order_of_the_legacy_default_stream(self):
        weights, gradients = on_device(model()), on_device(model(1))
        made(weights).step(weights, gradients)
        asked = [array.streams for array in (weights | gradients).values()]
        self.assertEqual(asked, [[1]] * len(asked), "as DLPack numbers it")

    def test_addresses_are_tensors_that_their_owner_knows(self):
        weights, same, gradients = on_device(model()), on_device(model()), on_device(model(1))
        at = lambda arrays: [(array.data.value, "f32") for array in arrays.values()]
        made(weights).step(weights, gradients)
        report = made(same)._step_at(at(same), at(gradients)[:2] + [None])
        self.assertEqual(report.missing_gradients, ["embed.weight"])
        for name in ("blocks.0.q.weight", "blocks.0.q.bias"):
            np.testing.assert_array_equal(same[name].read(), weights[name].read())
        self.assertEqual(weights["embed.weight"].streams, [1])
        self.assertEqual(same["embed.weight"].streams, [])
        for weights_at, reason in [
            (at(weights)[:2], "2 entries"),
            ([(0, "f32")] + at(weights)[1:], "has no memory"),
            ([(at(weights)[0][0] + 2, "f32")] + at(weights)[1:], "expected a multiple of 4"),
            ([(at(weights)[0][0], "f64")] + at(weights)[1:], "f64"),
            (at(weights)[:2] + at(gradients)[2:], "share memory"),
        ]:
            with self.assertRaisesRegex(ValueError, reason):
                made(weights)._step_at(weights_at, at(gradients))

    def test_bfloat16(self):
        random = np.random.default_rng(0)
        upper = lambda values: (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        whole = lambda values: (values.astype(np.uint32) << 16).view(np.float32)
        start, gradient = upper(random.standard_normal((32, 32))), upper(random.standard_normal((32, 32)))
        weights = on_device({"q": start}, kind="bfloat16")
        group = ("m", ["q"])
        optimizer = made(weights, [(group, himuon.Muon("tile=16 steps=5", weight="bf16", weight_decay=0.0))], lr=0.5)
        optimizer.step(weights, on_device({"q": gradient}, kind="bfloat16"))
        expected = {"q": whole(start).copy()}
        same = himuon.Optimizer(expected, [(group, himuon.Muon("tile=16 steps=5", weight_decay=0.0))], lr=0.5)
        same.step(expected, {"q": whole(gradient)})
        # The stored result is rounded once, by at most 2^-8 of itself, from what differs by rounding alone.
        gap = np.abs(whole(weights["q"].read()) - expected["q"]) / np.abs(expected["q"])
        self.assertLess(gap.max(), 2.0**-8 * 1.01)
        self.assertGreater(np.abs(expected["q"] - whole(start)).max(), 0.1)

    def test_what_is_not_finite_is_counted_there(self):
        weights, gradients = on_device(model()), model(1)
        gradients["blocks.0.q.weight"][0, 0] = np.nan
        optimizer = made(weights)
        optimizer.step(weights, on_device(gradients))
        self.assertEqual(optimizer.tile_counts().non_finite_tiles, 1)
        self.assertEqual(str(optimizer.tile_counts()), "1 non-finite tiles, 0 tiles not orthogonalised, 0 non-finite numbers, 0 uncoupled matrices")

    def test_what_is_current_for_the_thread_stays_so(self):
        if len(driver.contexts) < 2:
            self.skipTest("one device: its context is the one that is current")
        weights, gradients = (on_device(model(seed), device=1) for seed in range(2))
        for current in (0, None):
            driver.make_current(current)
            before = driver.current()
            optimizer = made(weights, device="cuda:1")
            optimizer.step(weights, gradients)
            optimizer.explain()
            optimizer.load_state_bytes(optimizer.state_bytes())
            self.assertEqual(optimizer.tile_counts().non_finite_tiles, 0)
            with self.assertRaises(ValueError):
                optimizer.step(weights, weights)
            del optimizer
            with self.assertRaises(himuon.BuildError):
                made(weights, groups=[("*", himuon.Muon("tile=16 power=1/2", row_normalisation=(0.9, 1e-8)))], device="cuda:1")
            self.assertEqual(driver.current(), before)
            driver.make_current(0)


class Refusals(unittest.TestCase):
    def test_tensors_elsewhere(self):
        here, there = model(), on_device(model())
        with self.assertRaisesRegex(ValueError, "gradient blocks.0.q.weight is on the CPU, expected cuda:0"):
            made(there).step(there, here)
        with self.assertRaisesRegex(ValueError, "weight blocks.0.q.weight is on cuda:0, expected the CPU"):
            himuon.Optimizer(here, GROUPS).step(there, here)

    def test_tensors_of_another_device(self):
        if len(driver.contexts) < 2:
            self.skipTest("one device")
        there, beyond = on_device(model()), on_device(model(), device=1)
        with self.assertRaisesRegex(ValueError, "gradient blocks.0.q.weight is on cuda:1, expected cuda:0"):
            made(there).step(there, beyond)

    def test_gradients_that_are_copies(self):
        there, copies = on_device(model()), on_device(model(1), flags=2)
        with self.assertRaisesRegex(ValueError, "gradient blocks.0.q.weight is exported as a copy, which may be gone"):
            made(there).step(there, copies)

    def test_no_device(self):
        if "HIMUON_EMULATOR_DEVICES" not in os.environ:
            self.skipTest("this is not the emulated driver")
        program = "import himuon; himuon.Optimizer({'w': (4, 4)}, device='cuda')"
        run = subprocess.run(
            [sys.executable, "-c", program], env=os.environ | {"HIMUON_EMULATOR_DEVICES": "none"}, capture_output=True, text=True
        )
        self.assertIn("finds no device", run.stderr)
        self.assertIn("CUDA_VISIBLE_DEVICES", run.stderr)

    def test_a_forked_process(self):
        optimizer = made(model())
        reader, writer = os.pipe()
        with warnings.catch_warnings():
            # Other threads are there, which this process does not wait for.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                optimizer.explain()
            except RuntimeError as error:
                os.write(writer, str(error).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.close(writer)
        with os.fdopen(reader) as said:
            self.assertIn("CUDA works in no forked process", said.read())

    def test_a_weight_that_is_also_a_gradient(self):
        there = on_device(model())
        with self.assertRaisesRegex(ValueError, "share memory"):
            made(there).step(there, there)

    def test_devices(self):
        class Device:
            def __str__(self):
                return "cuda:0"

        self.assertEqual(made(model(), device=Device()).device, "cuda:0")
        self.assertEqual(himuon.Optimizer(model(), device=None).device, "cpu")
        for wrong in ("gpu", "cuda:", "cuda:-1", "cuda:+1", "cuda:x"):
            with self.assertRaisesRegex(ValueError, 'expected "cpu", "cuda" or "cuda:N"'):
                made(model(), device=wrong)
        with self.assertRaisesRegex(himuon.BuildError, "no CUDA device 7"):
            made(model(), device="cuda:7")
        with self.assertRaisesRegex(ValueError, "threads is 2, expected None for cuda:0"):
            made(model(), threads=2)

    def test_what_no_kernel_of_a_device_does(self):
        normalised = himuon.Muon("tile=16 power=1/2", row_normalisation=(0.95, 1e-8))
        with self.assertRaisesRegex(himuon.BuildError, "row normalisation"):
            made(model(), [("*", normalised)])
