"""Native driver and thread pool: results, stress, concurrency, forks, exits, interrupts and costs."""

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from chainrule.backends.cpu import driver, toolchain
from chainrule.backends.cpu.pool import Pool, pool
from chainrule.errors import ConfigError


def kernel_text(name: str, body: str) -> str:
    """A kernel with a loop over i: operands are ptrs[args[0]] (%x) and ptrs[args[1]] (%y), args[2] is %n."""
    return textwrap.dedent(f"""
        define void @{name}(ptr %ptrs, ptr %args, i64 %lo, i64 %hi) {{
        entry:
          %xi = load i64, ptr %args
          %args.1 = getelementptr i64, ptr %args, i64 1
          %yi = load i64, ptr %args.1
          %args.2 = getelementptr i64, ptr %args, i64 2
          %n = load i64, ptr %args.2
          %x.at = getelementptr ptr, ptr %ptrs, i64 %xi
          %y.at = getelementptr ptr, ptr %ptrs, i64 %yi
          %x = load ptr, ptr %x.at
          %y = load ptr, ptr %y.at
          br label %head
        head:
          %i = phi i64 [%lo, %entry], [%i.next, %done]
          %more = icmp slt i64 %i, %hi
          br i1 %more, label %body, label %end
        body:
          {body}
          br label %done
        done:
          %i.next = add i64 %i, 1
          br label %head
        end:
          ret void
        }}
    """)


LOAD_X = "%p = getelementptr double, ptr %x, i64 %i\n %v = load double, ptr %p\n"
STORE_Y = "%q = getelementptr double, ptr %y, i64 %i\n store double %r, ptr %q\n"
BODIES = {
    "affine": LOAD_X + "%t = fmul double %v, 2.0\n %r = fadd double %t, 1.0\n" + STORE_Y,
    "increment": LOAD_X + "%r = fadd double %v, 1.0\n" + STORE_Y,
    # y[i] = x[n - 1 - i] + 1: reads what another chunk wrote
    "mirror": "%m = sub i64 %n, %i\n %k = sub i64 %m, 1\n %p = getelementptr double, ptr %x, i64 %k\n"
    " %v = load double, ptr %p\n %r = fadd double %v, 1.0\n" + STORE_Y,
    "halve": LOAD_X + "%r = fmul double %v, 0.5\n" + STORE_Y,
    # y[0] = 7 (an error code) once x[0] has reached n
    "check": "%v = load double, ptr %x\n %k = fptosi double %v to i64\n %bad = icmp sge i64 %k, %n\n"
    " %old = load i64, ptr %y\n %code = select i1 %bad, i64 7, i64 %old\n store i64 %code, ptr %y\n",
    # n dependent additions for each item
    "burn": "br label %inner\ninner:\n %k = phi i64 [0, %body], [%k.next, %inner]\n"
    " %a = phi double [1.0, %body], [%r, %inner]\n %r = fadd double %a, 0.5\n %k.next = add i64 %k, 1\n"
    " %again = icmp slt i64 %k.next, %n\n br i1 %again, label %inner, label %out\nout:\n" + STORE_Y,
}


class Toy:
    """Programs over three arrays of ``n`` numbers: ptrs 0, 1, 2; ptr 3 is the status word."""

    addresses: dict[str, int] = {}

    def __init__(self, n: int = 1000):
        if not Toy.addresses:
            code = toolchain.compile_ir("\n".join(kernel_text(name, body) for name, body in BODIES.items()))
            Toy.addresses = toolchain.load(code, BODIES)
        self.n = n
        self.arrays = [np.zeros(n) for _ in range(3)]
        self.status = np.zeros(1, np.int64)
        self.ptrs = np.array([*(a.ctypes.data for a in self.arrays), self.status.ctypes.data], np.int64)
        self.arguments: list[np.ndarray] = []

    def call(self, name: str, x: int, y: int, n: int | None = None) -> tuple[int, int]:
        self.arguments.append(np.array([x, y, self.n if n is None else n], np.int64))
        return Toy.addresses[name], self.arguments[-1].ctypes.data

    def build(self, regions, advances=()) -> driver.Program:
        return driver.build(regions, advances, self.ptrs, self.status)

    def counting(self, chunk: int = 16) -> driver.Program:
        """Each step adds 1 to every element of arrays 0 and 1 (in different tasks), and then 2 along a cycle."""
        n = self.n
        return self.build(
            [
                (True, [([self.call("increment", 0, 0)], n, chunk), ([self.call("increment", 1, 1)], n, 2 * chunk)]),
                (True, [([self.call("mirror", 0, 2)], n, chunk)]),
                (False, [([self.call("increment", 0, 0)], 0, chunk)]),
                (True, [([self.call("mirror", 2, 0)], n, 3 * chunk)]),
            ]
        )

    def check_counting(self, steps: int) -> None:
        np.testing.assert_array_equal(self.arrays[0], np.full(self.n, 3.0 * steps))
        np.testing.assert_array_equal(self.arrays[1], np.full(self.n, 1.0 * steps))


@pytest.fixture(scope="module")
def threads() -> Pool:
    return Pool(4)


@pytest.mark.parametrize("parallel", [False, True])
def test_chained_calls_and_several_tasks(threads, parallel):
    toy = Toy()
    x = toy.arrays[0]
    x[:] = np.arange(toy.n)
    chain = [toy.call("affine", 0, 1), toy.call("affine", 1, 2)]
    program = toy.build([(parallel, [(chain, 600, 64), ([toy.call("increment", 0, 2)], 0, 5)])])
    assert program.parallel is parallel
    assert threads.execute(program.address, 1, parallel) == 1
    expected = np.where(np.arange(toy.n) < 600, 4 * x + 3, 0)
    np.testing.assert_array_equal(toy.arrays[2], expected)


def test_pointers_advance_after_each_step(threads):
    toy = Toy(64)
    toy.arrays[0][:] = np.arange(64)
    start = toy.ptrs.copy()
    program = toy.build([(False, [([toy.call("affine", 0, 1)], 4, 4)])], [(0, 32), (1, 32)])
    assert threads.execute(program.address, 16) == 16
    np.testing.assert_array_equal(toy.arrays[1], 2 * toy.arrays[0] + 1)
    np.testing.assert_array_equal(toy.ptrs - start, [512, 512, 0, 0])
    assert program.completed == 16


@pytest.mark.parametrize("parallel", [False, True])
def test_status_ends_the_step_which_does_not_count(threads, parallel):
    toy = Toy(100)
    program = toy.build(
        [
            (parallel, [([toy.call("increment", 0, 0)], 100, 10)]),
            (False, [([toy.call("check", 0, 3, 5)], 1, 1)]),
            (parallel, [([toy.call("increment", 1, 1)], 100, 10)]),
        ]
    )
    assert threads.execute(program.address, 100, parallel) == 4
    assert toy.status[0] == 7
    np.testing.assert_array_equal(toy.arrays[1], 4.0)  # what follows in the step is not run
    assert threads.execute(program.address, 3, parallel) == 0
    toy.status[0] = 0
    assert threads.execute(program.address, 3, parallel) == 0
    assert program.completed == 4


@pytest.mark.parametrize("num_threads", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("chunk", [1, 16, 333, 5000])
def test_each_chunk_runs_once_and_regions_are_joined(num_threads, chunk):
    shared = pool()
    before = shared.get_num_threads()
    try:
        shared.set_num_threads(num_threads)
        toy = Toy(1000)
        program = toy.counting(chunk)
        steps = 20 if chunk == 1 else 300
        for _ in range(3):
            assert shared.execute(program.address, steps, True) == steps
        for _ in range(50):
            assert shared.execute(program.address, 1, True) == 1
        toy.check_counting(3 * steps + 50)
    finally:
        shared.set_num_threads(before)


def test_the_number_of_threads_may_change_all_the_time(threads):
    toy = Toy(500)
    program = toy.counting(7)
    random = np.random.default_rng(0)
    steps = 0
    try:
        for _ in range(150):
            threads.set_num_threads(int(random.integers(1, 9)))
            count = int(random.integers(1, 40))
            steps += threads.execute(program.address, count, True)
            if random.random() < 0.1:
                time.sleep(0.004)  # workers fall asleep
    finally:
        threads.set_num_threads(4)
    toy.check_counting(steps)
    assert program.completed == steps


def test_workers_do_take_part():
    helper = Pool(2)
    toy = Toy(64)
    program = toy.build([(True, [([toy.call("burn", 0, 1, 20000)], 16, 1)])])
    deadline = time.monotonic() + 10
    while helper.statistics()["shared"] < 10 and time.monotonic() < deadline:
        helper.execute(program.address, 10, True)
    assert helper.statistics()["shared"] >= 10


@pytest.mark.parametrize("gap", [0.003, 0.02])
def test_a_run_finds_its_workers_whatever_python_did_before(gap):
    """A worker that waits for Python's lock does not fall asleep; one that wakes up joins a long region."""
    helper = Pool(2)
    toy = Toy(64)
    program = toy.build([(True, [([toy.call("burn", 0, 1, 1_000_000)], 16, 1)])])

    def own_seconds(parallel: bool) -> float:
        begin = time.thread_time()
        helper.execute(program.address, 1, parallel)
        return time.thread_time() - begin

    alone = min(own_seconds(False) for _ in range(5))
    tries = helped = 0
    deadline = time.monotonic() + 10
    while tries < 20 or (helped < 5 and time.monotonic() < deadline):
        own_seconds(True)
        end = time.perf_counter() + gap
        while time.perf_counter() < end:
            pass
        helped += own_seconds(True) < 0.8 * alone
        tries += 1
    assert helped >= 5, tries


def test_python_threads_may_run_programs_at_once(threads):
    toys = [Toy(400) for _ in range(4)]
    programs = [toy.counting(8) for toy in toys]
    counts = [0] * 4

    def work(index: int) -> None:
        for repeat in range(40):
            counts[index] += threads.execute(programs[index].address, 1 + repeat, True)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for toy, count in zip(toys, counts):
        assert count == 820
        toy.check_counting(count)


def test_number_of_threads(monkeypatch, threads):
    monkeypatch.setenv("CHAINRULE_NUM_THREADS", "3")
    assert Pool().get_num_threads() == 3
    for bad in (0, -1, 257, 2.0, True, "2"):
        with pytest.raises(ConfigError, match="num_threads"):
            threads.set_num_threads(bad)
    assert threads.get_num_threads() == 4


ENVIRONMENT = {
    "x86_64": """
        declare void @llvm.x86.sse.stmxcsr(ptr)
        declare void @llvm.x86.sse.ldmxcsr(ptr)
        define i64 @get() {
          %p = alloca i32
          call void @llvm.x86.sse.stmxcsr(ptr %p)
          %v = load i32, ptr %p
          %w = zext i32 %v to i64
          ret i64 %w
        }
        define void @set(i64 %w) {
          %p = alloca i32
          %v = trunc i64 %w to i32
          store i32 %v, ptr %p
          call void @llvm.x86.sse.ldmxcsr(ptr %p)
          ret void
        }
    """,
    "aarch64": """
        declare i64 @llvm.aarch64.get.fpcr()
        declare void @llvm.aarch64.set.fpcr(i64)
        define i64 @get() {
          %v = call i64 @llvm.aarch64.get.fpcr()
          ret i64 %v
        }
        define void @set(i64 %v) {
          call void @llvm.aarch64.set.fpcr(i64 %v)
          ret void
        }
    """,
}
FLUSH = {"x86_64": 0x9FC0, "aarch64": 1 << 24}


@pytest.mark.parametrize("parallel", [False, True])
def test_kernels_keep_subnormal_numbers_and_the_callers_mode_is_restored(threads, parallel):
    architecture = toolchain.host().architecture
    if architecture not in ENVIRONMENT:
        pytest.skip("no floating-point control register known")
    addresses = toolchain.load(toolchain.compile_ir(ENVIRONMENT[architecture]), ["get", "set"])
    get = ctypes.CFUNCTYPE(ctypes.c_int64)(addresses["get"])
    put = ctypes.CFUNCTYPE(None, ctypes.c_int64)(addresses["set"])
    toy = Toy(64)
    toy.arrays[0][:] = np.finfo(np.float64).tiny
    program = toy.build([(parallel, [([toy.call("halve", 0, 1)], 64, 4)])])
    old = get()
    try:
        put(FLUSH[architecture])
        threads.execute(program.address, 50, parallel)
        assert get() == FLUSH[architecture]
    finally:
        put(old)
    assert (toy.arrays[1] > 0).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_runs_in_parallel(threads):
    toy = Toy(300)
    program = toy.counting(5)
    threads.execute(program.address, 50, True)
    busy = Toy(300)
    busy_program = busy.counting(5)
    stop = threading.Event()

    def keep_running() -> None:
        while not stop.is_set():
            threads.execute(busy_program.address, 1000, True)

    other = threading.Thread(target=keep_running)
    other.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                try:
                    threads.execute(program.address, 250, True)
                    toy.check_counting(300)
                    os._exit(0)
                finally:
                    os._exit(1)
            deadline = time.monotonic() + 20
            while (result := os.waitpid(child, os.WNOHANG))[0] == 0:
                if time.monotonic() > deadline:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    pytest.fail("the child hangs")
                time.sleep(0.01)
            assert os.waitstatus_to_exitcode(result[1]) == 0
    finally:
        stop.set()
        other.join()
    threads.execute(program.address, 50, True)
    toy.check_counting(100)


PRELUDE = f"""
import sys, time, threading
sys.path.insert(0, {os.path.dirname(__file__)!r})
import numpy as np
from test_pool import Toy
from chainrule.backends.cpu.pool import Pool
pool = Pool(3)
toy = Toy(300)
program = toy.counting(5)
"""


@pytest.mark.parametrize(
    "ending",
    [
        "pool.execute(program.address, 100, True)",  # workers poll
        "pool.execute(program.address, 100, True); time.sleep(0.1)",  # workers sleep
        "pool.execute(program.address, 100, True); sys.exit(0)",
        "threading.Thread(target=pool.execute, args=(program.address, 10**9, True), daemon=True).start(); "
        "time.sleep(0.1)",  # a run is active
    ],
)
def test_the_interpreter_exits(ending):
    start = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-c", PRELUDE + ending], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert time.monotonic() - start < 30


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT for a child")
@pytest.mark.parametrize("parallel", [False, True])
def test_control_c_interrupts_a_long_run_between_steps(parallel):
    code = PRELUDE + textwrap.dedent(f"""
        pool.execute(program.address, 10, {parallel})
        print("ready", flush=True)
        try:
            pool.execute(program.address, 10**12, {parallel})
        except KeyboardInterrupt:
            stopped = time.time()
            toy.check_counting(program.completed)
            pool.execute(program.address, 10, {parallel})
            toy.check_counting(program.completed)
            print(stopped, program.completed)
    """)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.3)
    sent = time.time()
    child.send_signal(signal.SIGINT)
    try:
        output = child.communicate(timeout=30)[0].split()
    finally:
        child.kill()
    assert child.returncode == 0
    assert float(output[0]) - sent < 2.0  # about 0.05 s on a machine with nothing else to do
    assert int(output[1]) > 20


def median_time(threads: Pool, program: driver.Program, parallel: bool, steps: int, repeats: int = 15) -> float:
    """Median time of a step in microseconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        threads.execute(program.address, steps, parallel)
        times.append((time.perf_counter() - start) / steps * 1e6)
    return float(np.median(times))


def test_costs_are_reported(capsys):
    threads = Pool(2)
    toy = Toy(64)
    empty = toy.build([(False, [([toy.call("increment", 0, 0)], 0, 1)])])
    start = time.perf_counter()
    for _ in range(20000):
        threads.execute(empty.address)
    python = (time.perf_counter() - start) / 20000 * 1e6
    lines = [f"execute, one serial step: {python:.2f} us of Python"]
    for adds, chunks in ((1000, 2), (10000, 8), (100000, 8)):
        program = toy.build([(True, [([toy.call("burn", 0, 1, adds // chunks)], chunks, 1)])])
        alone = median_time(threads, program, False, 500)
        both = median_time(threads, program, True, 500)
        lines.append(
            f"{chunks} chunks: {alone:7.2f} us on one thread, {both:7.2f} us on two, "
            f"cost of sharing {both - alone / 2:6.2f} us"
        )
    with capsys.disabled():
        print("\n  " + "\n  ".join(lines))


def test_a_busy_core_slows_but_never_stalls(capsys):
    threads = Pool(2)
    toy = Toy(64)
    program = toy.build([(True, [([toy.call("burn", 0, 1, 10000)], 8, 1)])] * 4)
    spin = "import time\nend = time.time() + 30\nwhile time.time() < end: pass"
    others = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(max(1, (os.cpu_count() or 1) - 1))]
    try:
        time.sleep(0.2)
        alone = median_time(threads, program, False, 100)
        both = median_time(threads, program, True, 100)
    finally:
        for other in others:
            other.kill()
            other.wait()
    with capsys.disabled():
        print(f"\n  other cores busy: {alone:.1f} us on one thread, {both:.1f} us on two, {threads.statistics()}")
    assert both < 10 * alone
