"""The optimizer of torch over two processes, with FSDP2 and torch.distributed.checkpoint."""

import contextlib
import datetime
import io
import os
import tempfile
import unittest
import warnings

try:
    import torch
except ImportError:
    raise unittest.SkipTest("torch is not installed") from None

if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
    raise unittest.SkipTest("torch is built without torch.distributed or gloo")

import torch.distributed.checkpoint as dcp
from himuon.torch import HiMuon
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
    set_state_dict,
)

try:
    from torch.distributed.fsdp import fully_shard
except ImportError:
    raise unittest.SkipTest("this torch has no fully_shard") from None

if not hasattr(torch.cpu.Stream, "record_event"):
    raise unittest.SkipTest("fully_shard of this torch has no CPU")

PROCESSES = 2
# What an optimizer may keep beside momenta and moments; parts of 32 rows end between tiles.
PLAIN = {"spec": "tile=16 steps=5"}
SCHEDULE = {"spec": ["tile=16", "tile=32"], "schedule": [(0, 16), (4, 32)]}
ROWS = SCHEDULE | {"row_normalisation": (0.9, 1e-8)}
COARSE = {"spec": "tile=16 coarse=4"}
MASTERS = {"spec": "tile=16 momentum=bf16", "master_weights": True}


class Network(torch.nn.Module):
    """Rows of 64 for tiles, 11 for an embedding and a head, and one number, which only the first process has."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.embed = torch.nn.Embedding(11, 32)
        self.up = torch.nn.Linear(32, 64)
        self.down = torch.nn.Linear(64, 64, bias=False)
        self.head = torch.nn.Linear(64, 11, bias=False)
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, tokens):
        hidden = torch.nn.functional.gelu(self.up(self.embed(tokens)))
        return self.head(self.down(hidden)) * self.scale


def made(options, seed, sharded, dtype=torch.float32, mesh=None):
    model = Network(seed).to(dtype)
    if sharded:
        fully_shard(model, mesh=mesh)
    return model, HiMuon(model.named_parameters(), lr=0.02, **options)


def advance(model, optimizer, steps):
    """The same batch for all processes: the mean of their gradients has the bits of each."""
    for step in steps:
        tokens = torch.randint(11, (64,), generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(tokens).float(), (3 * tokens + 1) % 11).backward()
        optimizer.step()
    optimizer.zero_grad()


def numbers(model):
    return [(p.full_tensor() if hasattr(p, "full_tensor") else p).detach().clone() for p in model.parameters()]


def same(model, others):
    return all(torch.equal(a, b) for a, b in zip(numbers(model), others, strict=True))


def save(model, optimizer, folder, **options):
    model_state, state = get_state_dict(model, optimizer, options=StateDictOptions(**options))
    dcp.save({"model": model_state, "optimizer": state}, checkpoint_id=folder)


def load(model, optimizer, folder, planner=None, **options):
    options = StateDictOptions(**options)
    model_state, state = get_state_dict(model, optimizer, options=options)
    states = {"model": model_state, "optimizer": state}
    dcp.load(states, checkpoint_id=folder, planner=planner)
    set_state_dict(
        model, optimizer, model_state_dict=states["model"], optim_state_dict=states["optimizer"], options=options
    )


def uninterrupted(options, dtype=torch.float32):
    """The numbers of one process's run of six steps."""
    model, optimizer = made(options, 0, False, dtype)
    advance(model, optimizer, range(6))
    return numbers(model)


def kept(optimizer):
    """The tensors of a state, whole."""
    state = optimizer.state_dict()["state"]
    whole = {(index, key): value for index, entries in state.items() for key, value in entries.items()}
    return {place: v.full_tensor() if hasattr(v, "full_tensor") else v for place, v in whole.items()}


def the_same(mine, others):
    return mine.keys() == others.keys() and all(torch.equal(mine[key], others[key]) for key in mine)


class Pair(unittest.TestCase):
    """What each of two processes checks, in turn; the folder has what one process saved."""

    def goes_on(self, name, options, dtype=torch.float32, mesh=None, **flags):
        """A run that is saved and resumed half way has the bits of one that is not, and saving changes nothing."""
        folder = os.path.join(self.folder, name)
        model, optimizer = made(options, 0, True, dtype, mesh)
        advance(model, optimizer, range(3))
        before, state = numbers(model), kept(optimizer)
        save(model, optimizer, folder, **flags)
        if self.rank == 0:
            torch.save(state, f"{folder}.pt")
        self.assertTrue(same(model, before) and the_same(kept(optimizer), state))
        advance(model, optimizer, range(3, 6))
        resumed, other = made(options, 9, True, dtype, mesh)
        load(resumed, other, folder, **flags)
        self.assertTrue(same(resumed, before) and the_same(kept(other), state))
        self.assertEqual(other.param_groups[0]["step"], 3)
        advance(resumed, other, range(3, 6))
        self.assertTrue(same(resumed, numbers(model)))
        return model

    def test_plain(self):
        self.assertTrue(same(self.goes_on("plain", PLAIN), uninterrupted(PLAIN)))

    def test_flattened(self):
        self.goes_on("flat", SCHEDULE, flatten_optimizer_state_dict=True)

    def test_a_schedule_goes_on_where_it_stood(self):
        self.assertTrue(same(self.goes_on("schedule", SCHEDULE), uninterrupted(SCHEDULE)))

    def test_row_moments(self):
        self.goes_on("rows", ROWS)

    def test_coarse_bases_are_those_of_parts(self):
        self.goes_on("coarse", COARSE)
        model, optimizer = made(COARSE, 0, True)
        self.assertIn("coarse_basis_of_2_parts", optimizer.state_dict()["state"][4])
        with self.assertRaisesRegex(dcp.CheckpointException, "Missing key in checkpoint state_dict: .*coarse_basis_of_2_parts"):
            load(model, optimizer, os.path.join(self.folder, "coarse of one"))

    def test_master_weights(self):
        model = self.goes_on("masters", MASTERS, torch.bfloat16)
        self.assertTrue(same(model, uninterrupted(MASTERS, torch.bfloat16)))

    def test_meshes_of_two_dimensions(self):
        mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (2, 1), mesh_dim_names=("replicas", "parts"))
        self.assertTrue(same(self.goes_on("replicas", COARSE, mesh=mesh), uninterrupted(COARSE)))

    def test_what_one_process_saved(self):
        model, optimizer = made(PLAIN, 9, True)
        load(model, optimizer, os.path.join(self.folder, "plain of one"))
        advance(model, optimizer, range(3, 6))
        self.assertTrue(same(model, uninterrupted(PLAIN)))

    def test_before_the_first_step(self):
        model, optimizer = made(PLAIN, 0, True)
        save(model, optimizer, os.path.join(self.folder, "none"))
        self.assertEqual(optimizer.param_groups[0]["step"], 0)
        resumed, other = made(PLAIN, 9, True)
        load(resumed, other, os.path.join(self.folder, "none"))
        advance(resumed, other, range(6))
        self.assertTrue(same(resumed, uninterrupted(PLAIN)))

    def test_full_states(self):
        full = StateDictOptions(full_state_dict=True, cpu_offload=True)
        from_first = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
        for options, dtype in ((ROWS, torch.float32), (COARSE, torch.float32), (MASTERS, torch.bfloat16)):
            with self.subTest(options):
                model, optimizer = made(options, 0, True, dtype)
                advance(model, optimizer, range(3))
                model_state, state = get_state_dict(model, optimizer, options=full)
                resumed, other = made(options, 9, True, dtype)
                set_model_state_dict(resumed, model_state, options=from_first)
                set_optimizer_state_dict(resumed, other, state, options=from_first)
                for pair in ((model, optimizer), (resumed, other)):
                    advance(*pair, range(3, 6))
                self.assertTrue(same(resumed, numbers(model)))

    def test_what_is_frozen_has_no_state_but_what_it_had(self):
        def frozen(seed):
            model, optimizer = made(PLAIN, seed, True)
            model.down.weight.requires_grad_(False)
            model.scale.requires_grad_(False)
            return model, optimizer

        model, optimizer = frozen(0)
        advance(model, optimizer, range(3))
        names = [name for name, _ in model.named_parameters()]
        self.assertEqual([names[index] for index in optimizer.state_dict()["state"]], names[1:4] + names[5:])
        for flags in ({}, {"flatten_optimizer_state_dict": True}, {"full_state_dict": True}):
            folder = os.path.join(self.folder, f"frozen {flags}")
            save(model, optimizer, folder, **flags)
            resumed, other = frozen(9)
            load(resumed, other, folder, **flags)
            self.assertTrue(same(resumed, numbers(model)) and the_same(kept(other), kept(optimizer)))
        # Frozen later: of the one number the other process has nothing, and still the same state.
        for parameter in (model.down.weight, model.scale):
            parameter.requires_grad_(True)
        advance(model, optimizer, range(3, 5))
        for parameter in (model.down.weight, model.scale):
            parameter.requires_grad_(False)
        state = kept(optimizer)
        self.assertEqual({index for index, _ in state}, set(range(len(names))))
        resumed, other = frozen(9)
        other.load_state_dict(optimizer.state_dict())
        self.assertTrue(the_same(kept(other), state))

    def test_a_state_of_this_process_alone(self):
        model, optimizer = made(PLAIN, 0, True)
        advance(model, optimizer, range(3))
        file = io.BytesIO()
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
        file.seek(0)
        saved = torch.load(file, weights_only=True)
        resumed, other = made(PLAIN, 9, True)
        resumed.load_state_dict(saved["model"])
        other.load_state_dict(saved["optimizer"])
        advance(resumed, other, range(3, 6))
        self.assertTrue(same(resumed, uninterrupted(PLAIN)))

    def test_a_process_that_holds_nothing(self):
        def model_and_optimizer(value):
            model = torch.nn.Sequential(torch.nn.Linear(8, 1))
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.fill_(value)
            fully_shard(model)
            return model, HiMuon(model.named_parameters(), lr=0.02, spec="tile=16")

        def step(model, optimizer):
            model(torch.ones(4, 8)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()

        model, optimizer = model_and_optimizer(0.5)
        step(model, optimizer)
        self.assertEqual(optimizer.last_report.step, 0)
        if self.rank == 1:
            self.assertIn("nothing to do here", optimizer.explain())
            self.assertIn("0.weight [1, 8]: no number of it is on this process", optimizer.explain())
            self.assertEqual(optimizer.tile_counts().non_finite_tiles, 0)
        folder = os.path.join(self.folder, "little")
        save(model, optimizer, folder)
        resumed, other = model_and_optimizer(0.0)
        load(resumed, other, folder)
        for pair in ((model, optimizer), (resumed, other)):
            step(*pair)
        self.assertTrue(same(resumed, numbers(model)))
        self.assertFalse(same(resumed, numbers(model_and_optimizer(0.5)[0])))
        again = model_and_optimizer(0.0)[1]
        again.load_state_dict(optimizer.state_dict())
        self.assertEqual(again.param_groups[0]["step"], 2)
        self.assertEqual([int(entries["step"]) for entries in again.state_dict()["state"].values()], [2, 2])

    def test_one_row_of_a_matrix_is_a_matrix(self):
        model = torch.nn.Linear(32, 3, bias=False)
        fully_shard(model)
        optimizer = HiMuon(model.named_parameters(), lr=0.02, **PLAIN)
        model(torch.ones(4, 32)).square().sum().backward()
        optimizer.step()
        self.assertEqual(set(optimizer.state_dict()["state"][0]), {"momentum_buffer"})
        self.assertEqual(optimizer.last_report.tiles, 2)


def run_one(rank, folder):
    Pair.rank, Pair.folder = rank, folder
    warnings.simplefilter("ignore")
    said = io.StringIO()
    with process_group(rank, folder):
        tests = unittest.defaultTestLoader.loadTestsFromTestCase(Pair)
        result = unittest.TextTestRunner(said, failfast=True).run(tests)
    if not result.wasSuccessful():
        raise AssertionError(f"process {rank}: {said.getvalue()}")


@contextlib.contextmanager
def process_group(rank, folder):
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(os.path.join(folder, "store"), PROCESSES)
    timeout = datetime.timedelta(seconds=60)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=PROCESSES, timeout=timeout)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


class Checkpoints(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        # As in the processes: another number of threads sums gradients in another order.
        self.addCleanup(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(1)

    def saved(self, name, options):
        model, optimizer = made(options, 0, False)
        advance(model, optimizer, range(3))
        save(model, optimizer, os.path.join(self.folder, name))
        return model, optimizer

    def test_two_processes(self):
        self.saved("plain of one", PLAIN)
        self.saved("coarse of one", COARSE)
        torch.multiprocessing.spawn(run_one, (self.folder,), PROCESSES)
        for name, options in (("plain", PLAIN), ("flat", SCHEDULE), ("rows", ROWS)):
            with self.subTest(name):
                model, optimizer = made(options, 9, False)
                load(model, optimizer, os.path.join(self.folder, name), flatten_optimizer_state_dict=name == "flat")
                self.assertTrue(the_same(kept(optimizer), torch.load(os.path.join(self.folder, f"{name}.pt"))))
                advance(model, optimizer, range(3, 6))
                # What normalises rows looks at the whole of what is there, and so do parts.
                self.assertEqual(same(model, uninterrupted(options)), name != "rows")
        model, optimizer = made(COARSE, 9, False)
        with self.assertRaisesRegex(dcp.CheckpointException, "Missing key in checkpoint state_dict: .*coarse_basis"):
            load(model, optimizer, os.path.join(self.folder, "coarse"))
        load(model, optimizer, os.path.join(self.folder, "coarse"), dcp.DefaultLoadPlanner(allow_partial_load=True))
        advance(model, optimizer, range(3, 6))
        self.assertEqual(optimizer.param_groups[0]["step"], 6)

    def test_one_process(self):
        for options in (PLAIN, ROWS, COARSE):
            with self.subTest(options):
                model, optimizer = self.saved(str(options), options)
                resumed, other = made(options, 9, False)
                load(resumed, other, os.path.join(self.folder, str(options)))
                self.assertTrue(the_same(kept(other), kept(optimizer)))
                for pair in ((model, optimizer), (resumed, other)):
                    advance(*pair, range(3, 6))
                self.assertTrue(same(resumed, numbers(model)))

    def test_another_order_of_parameters(self):
        def layers(reverse):
            model = torch.nn.Sequential(*(torch.nn.Linear(16, 16, bias=False) for _ in range(2)))
            named = list(model.named_parameters())
            return model, HiMuon(named[::-1] if reverse else named, lr=0.02, spec="tile=16")

        model, optimizer = layers(False)
        model(torch.ones(4, 16)).square().sum().backward()
        optimizer.step()
        other_model, other = layers(True)
        state = get_optimizer_state_dict(model, optimizer)
        with self.assertRaisesRegex(ValueError, "0.weight where this optimizer has 1.weight: set_optimizer_state_dict"):
            other.load_state_dict(state)
        set_optimizer_state_dict(other_model, other, state)
        mine, others = kept(optimizer), kept(other)
        for index in (0, 1):
            self.assertTrue(torch.equal(mine[index, "momentum_buffer"], others[1 - index, "momentum_buffer"]))

    def test_other_groups_of_the_same_parameters(self):
        model, optimizer = made(PLAIN, 0, False)
        advance(model, optimizer, range(3))
        other = Network(0)
        named = list(other.named_parameters())
        groups = HiMuon([{"params": named[:3]}, {"params": named[3:], "lr": 0.5}], lr=0.5, **PLAIN)
        with self.assertRaisesRegex(ValueError, "for the same groups, with flatten_optimizer_state_dict for others"):
            set_optimizer_state_dict(other, groups, get_optimizer_state_dict(model, optimizer))
        self.assertEqual([group["lr"] for group in groups.param_groups], [0.5, 0.5])
        flat = StateDictOptions(flatten_optimizer_state_dict=True)
        set_optimizer_state_dict(other, groups, get_optimizer_state_dict(model, optimizer, options=flat), options=flat)
        self.assertEqual([group["lr"] for group in groups.param_groups], [0.02, 0.02])
        self.assertTrue(the_same(kept(groups), kept(optimizer)))

    def test_a_state_of_other_options_is_refused(self):
        model, optimizer = self.saved("rows of one", ROWS)
        resumed, other = made(SCHEDULE, 9, False)
        before = other.state_dict()
        with self.assertRaisesRegex(ValueError, "expected .*'row_second_moment'.*make the optimizer with the options"):
            load(resumed, other, os.path.join(self.folder, "rows of one"))
        self.assertEqual(other.state_dict()["himuon"], before["himuon"])
        self.assertEqual(set(other.state[resumed.up.weight]), {"momentum_buffer"})


def load_tests(loader, tests, pattern):
    return loader.loadTestsFromTestCase(Checkpoints)


if __name__ == "__main__":
    unittest.main()
