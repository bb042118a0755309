"""The engine takes what the machine and its container allow: threads, and memory that is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_modelgate.engines import EngineSettings, host, memory
from pytest_modelgate.engines.adapter import AdapterEngine
from pytest_modelgate.engines.process import ProcessEngine
from pytest_modelgate.errors import EngineStartError
from pytest_modelgate.gguf_file import read_gguf_facts
from pytest_modelgate.records import Message, Request

SUPPORT = Path(__file__).parents[2] / "examples" / "support"
GB = 1_000_000_000


class Machine:
    """Stand for /proc and /sys/fs/cgroup."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write("proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n")
        self.write("proc/self/cgroup", "0::/\n")

    def write(self, name: str, text: str) -> None:
        """Write one of its files."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="ascii")

    def limit_v2(self, group: str, *, maximum: str, current: int, inactive: int = 0) -> None:
        """Limit a control group's memory as version 2 writes it."""
        self.write(f"cgroup/{group}/memory.max", f"{maximum}\n")
        self.write(f"cgroup/{group}/memory.current", f"{current}\n")
        self.write(f"cgroup/{group}/memory.stat", f"anon 5\ninactive_file {inactive}\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a machine of eight cores with 8.192 GB free, in no container."""
    monkeypatch.setattr(host, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(host, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return Machine(tmp_path)


# Threads


@pytest.mark.parametrize(
    ("files", "threads"),
    [
        pytest.param({}, 8, id="no limit"),
        pytest.param({"cgroup/cpu.max": "max 100000"}, 8, id="v2 without a quota"),
        pytest.param({"cgroup/cpu.max": "200000 100000"}, 2, id="v2"),
        pytest.param({"cgroup/cpu.max": "150000 100000"}, 2, id="a core and a half"),
        pytest.param({"cgroup/cpu.max": "50000 100000"}, 1, id="half a core"),
        pytest.param({"cgroup/cpu.max": "nonsense"}, 8, id="not understood"),
        pytest.param(
            {"proc/self/cgroup": "0::/pod/app\n", "cgroup/pod/cpu.max": "300000 100000"}, 3, id="a quota further out"
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/../other\n", "cgroup/cpu.max": "100000 100000"}, 1, id="path of the host"
        ),
        pytest.param(
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/docker/1\n",
                "cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us": "400000",
                "cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000",
            },
            4,
            id="v1",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "5:cpu:/\n",
                "cgroup/cpu/cpu.cfs_quota_us": "-1",
                "cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            8,
            id="v1 without a quota",
        ),
    ],
)
def test_threads(machine: Machine, files: dict[str, str], threads: int) -> None:
    """Threads are the affinity mask's, or the container's share of time where that is less, of either version."""
    for name, text in files.items():
        machine.write(name, text)

    assert host.available_threads() == threads


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity masks")
def test_threads_follow_the_affinity_mask() -> None:
    """A process that is bound to one core uses one thread."""
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from pytest_modelgate.engines.host import available_threads; print(available_threads())"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b"1"


# Memory


def test_free_memory_is_the_machines_where_nothing_limits_it(machine: Machine) -> None:
    """The kernel's own estimate counts."""
    machine.limit_v2("", maximum="max", current=5)

    assert host.free_memory() == host.FreeMemory(8_192_000_000)


def test_a_container_counts_where_it_leaves_less(machine: Machine) -> None:
    """What a limit leaves is free; files that can be dropped are no use of it."""
    machine.limit_v2("", maximum=str(4 * GB), current=3 * GB, inactive=2 * GB)

    assert host.free_memory() == host.FreeMemory(3 * GB, 4 * GB)


def test_the_tightest_container_counts(machine: Machine) -> None:
    """A limit around the own one counts as well."""
    machine.write("proc/self/cgroup", "0::/pod/app\n")
    machine.limit_v2("pod/app", maximum=str(6 * GB), current=1 * GB)
    machine.limit_v2("pod", maximum=str(7 * GB), current=4 * GB)

    assert host.free_memory() == host.FreeMemory(3 * GB, 7 * GB)


def test_version_1_of_containers(machine: Machine) -> None:
    """Older systems write the same under other names."""
    machine.write("proc/self/cgroup", "4:memory:/docker/1\n0::/\n")
    for name, value in (("limit_in_bytes", 2 * GB), ("usage_in_bytes", GB), ("stat", "total_inactive_file 0")):
        machine.write(f"cgroup/memory/docker/1/memory.{name}", str(value))
    machine.write("cgroup/memory/memory.limit_in_bytes", "9223372036854771712")  # no limit
    machine.write("cgroup/memory/memory.usage_in_bytes", str(GB))

    assert host.free_memory() == host.FreeMemory(GB, 2 * GB)


def test_what_does_not_fit_is_refused_in_one_line(machine: Machine) -> None:
    """The line says what needs how much, how much is free, and what can be done."""
    machine.limit_v2("", maximum=str(4 * GB), current=1 * GB)

    with pytest.raises(EngineStartError) as refused:
        host.check_memory(5 * GB, "big.gguf")

    assert str(refused.value) == (
        "big.gguf: needs about 5.00 GB of memory, free are 3.00 GB of the container's 4.00 GB: lower n_ctx or batch_size, "
        "judge fewer targets at once (-n), or use a larger machine"
    )


def test_what_fits_is_loaded(machine: Machine) -> None:
    """Up to the last byte."""
    machine.limit_v2("", maximum=str(4 * GB), current=1 * GB)

    host.check_memory(3 * GB, "fits.gguf")


def test_nothing_is_refused_where_the_system_tells_nothing(machine: Machine) -> None:
    """Without /proc there is no ground to refuse anything."""
    (machine.path / "proc" / "meminfo").unlink()

    host.check_memory(10**15, "any.gguf")


# What targets need


def peak(kind: str, arguments: dict[str, str | None], settings: EngineSettings) -> int:
    """Return what a process took that loaded a target and answered once."""
    engine = ProcessEngine(kind, arguments, settings)
    try:
        list(engine.generate([Request("a", 8, (Message("user", "Please refund my last payment. " * 20),))]))
        return engine.peak_rss_bytes() or 0
    finally:
        engine.close()


@pytest.mark.model
@pytest.mark.parametrize("name", ["support-f16.gguf", "support-Q4_K_M.gguf"])
def test_what_a_gguf_needs_is_what_its_process_takes(name: str) -> None:
    """The estimate lies within a tenth of the peak, and grows with the context as the peak does."""
    path = SUPPORT / name
    small, large = (peak("gguf", {"path": str(path)}, EngineSettings(n_ctx=n, batch_size=1)) for n in (512, 131_072))

    facts = read_gguf_facts(path)
    assert memory.gguf_bytes(facts, n_ctx=512) == pytest.approx(small, rel=0.1)
    assert memory.gguf_bytes(facts, n_ctx=131_072) == pytest.approx(large, rel=0.1)
    assert large > 2 * small


def test_keys_and_values_of_every_sequence_count() -> None:
    """2 layers, 2 heads of 64 for keys and as many for values, 2 bytes each: 1,024 bytes a token."""
    facts = read_gguf_facts(SUPPORT / "support-f16.gguf")

    one, four = (memory.gguf_bytes(facts, n_ctx=1000, n_seq=n) for n in (1, 4))

    assert four - one == 3 * 1000 * 2 * 2 * (64 + 64) * 2


@pytest.mark.model
def test_what_an_adapter_needs_is_what_its_process_takes() -> None:
    """Base, adapter, torch and what else is imported: within a fifth of the peak."""
    folders = SUPPORT / "base", SUPPORT / "adapter"
    taken = peak("adapter", {"path": str(folders[1]), "base": str(folders[0])}, EngineSettings(batch_size=1))

    assert memory.folder_bytes(*folders, dtype="float32", n_ctx=2048) == pytest.approx(taken, rel=0.2)


def test_a_folders_weights_are_counted_in_the_dtype_they_are_loaded_in() -> None:
    """The base's 2.09M weights are stored as float16; as float32 they take twice as much."""
    half, full = (memory.folder_bytes(SUPPORT / "base", None, dtype=dtype, n_ctx=0) for dtype in ("float16", "float32"))

    stored = (SUPPORT / "base" / "model.safetensors").stat().st_size
    assert full - half == pytest.approx(stored, rel=0.01)


def test_damaged_files_are_somebody_elses_to_refuse(tmp_path: Path) -> None:
    """A header that cannot be read adds nothing: who loads the file says what is wrong."""
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 20)
    (tmp_path / "config.json").write_text("[1]", encoding="utf-8")

    assert memory.folder_bytes(tmp_path, None, dtype="float32", n_ctx=100) == memory.folder_bytes(
        tmp_path / "nothing", None, dtype="float32", n_ctx=100
    )


def test_a_gguf_that_does_not_fit_is_refused(machine: Machine) -> None:
    """It is named with its path; what goes to a GPU is not counted."""
    machine.limit_v2("", maximum=str(GB), current=GB - 1_000_000)
    facts = read_gguf_facts(SUPPORT / "support-f16.gguf")

    memory.check_gguf(facts, EngineSettings(n_gpu_layers=-1))
    with pytest.raises(EngineStartError, match=r"support-f16\.gguf: needs about 0\.07 GB of memory, free are 1\.0 MB"):
        memory.check_gguf(facts, EngineSettings())


@pytest.mark.model
def test_an_adapter_that_does_not_fit_is_refused(machine: Machine) -> None:
    """It is named with its path, before any weight is read."""
    machine.limit_v2("", maximum=str(GB), current=GB - 1_000_000)
    engine = AdapterEngine(SUPPORT / "adapter", SUPPORT / "base", EngineSettings())

    with pytest.raises(EngineStartError, match=r"adapter: needs about 0\.\d+ GB of memory, free are 1\.0 MB"):
        engine.describe()


# Processor time


def test_processor_time_of_a_process_is_read() -> None:
    """A process that computes for a moment is seen to have done so."""
    before = host.process_seconds(os.getpid())
    sum(range(5_000_000))

    assert before is not None
    assert (host.process_seconds(os.getpid()) or 0) > before
    assert host.process_seconds(2**30) is None
