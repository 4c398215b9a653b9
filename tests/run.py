#!/usr/bin/python3
"""Runs the tests and ends in a line `N passed, N failed`.

    tests/run.py unit PROGRAM…          cmocka programs, each test counted
    tests/run.py integration BUILD [MODULE.py] [-k PATTERN]   tests/integration/test_*.py against BUILD/parleyd
    tests/run.py all BUILD PROGRAM…     both
    tests/run.py sim SEEDS PROGRAM…     simulations, SEEDS of each, on all cores

A program that crashes, prints no result or hangs for over five minutes counts as one failure.
"""
import os
import re
import subprocess
import sys
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("TSAN_OPTIONS", "suppressions=" + os.path.join(os.path.dirname(os.path.abspath(__file__)), "tsan.supp"))
os.environ.setdefault("LSAN_OPTIONS", "print_suppressions=0:suppressions="
                      + os.path.join(os.path.dirname(os.path.abspath(__file__)), "lsan.supp"))

HERE = os.path.dirname(os.path.abspath(__file__))


def run_program(path):
    """One cmocka program: (passed, failed)."""
    try:
        done = subprocess.run([path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, text=True,
                              errors="replace", stdin=subprocess.DEVNULL)
        out, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as e:
        out, code = (e.stdout or b"").decode(errors="replace"), "timeout"
    passed = sum(int(n) for n in re.findall(r"\[  PASSED  \] (\d+) test", out))
    failed = len(set(re.findall(r"\[  FAILED  \] (\w+)\s*$", out, re.M)))
    if code != 0 and failed == 0 or passed + failed == 0:
        failed += 1
    if failed:
        print(out)
        print(f"FAILED {path} (exit {code})")
    return passed, failed


def run_units(programs):
    passed = failed = 0
    for path in programs:
        begun = time.monotonic()
        p, f = run_program(path)
        passed, failed = passed + p, failed + f
        name = "/".join(path.split("/")[-2:])
        print(f"  {name}: {p} passed" + (f", {f} failed" if f else "") + f" ({time.monotonic() - begun:.1f} s)", flush=True)
    return passed, failed


def run_seeds(call):
    """Some seeds of one simulation: whether they all passed."""
    done = subprocess.run(call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    said = [line for line in done.stdout.splitlines() if line.startswith("seed")]
    print(f"  {os.path.basename(call[0])}: " + "; ".join(said or [f"exit {done.returncode}"]), flush=True)
    if done.returncode:
        print(done.stdout)
    return done.returncode == 0


def run_sims(seeds, programs):
    """Each program's seeds in parts, so that all cores are busy to the end."""
    part = 500
    calls = [[p, "--from", str(first), "--seeds", str(min(part, seeds + 1 - first))]
             for p in programs for first in range(1, seeds + 1, part)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(run_seeds, calls))
    return results.count(True), results.count(False)


def run_module(build, module):
    """A module's tests in a process of its own, and what it said, when it has ended."""
    call = [sys.executable, os.path.abspath(__file__), "integration", build, module]
    done = subprocess.run(call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    found = re.findall(r"^(\d+) passed, (\d+) failed$", done.stdout, re.M)
    passed, failed = map(int, found[-1]) if found else (0, 1)
    said = done.stdout.rsplit("\n", 2)[0] if found else f"{done.stdout}\nFAILED {module} (exit {done.returncode})"
    print(said, flush=True)
    return passed, failed


def run_modules(build):
    """They wait more than they work, so as many as there are cores run at once; large ones begin."""
    folder = os.path.join(HERE, "integration")
    modules = [m for m in os.listdir(folder) if m.startswith("test_") and m.endswith(".py")]
    modules.sort(key=lambda m: (-os.path.getsize(os.path.join(folder, m)), m))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda m: run_module(build, m), modules))
    return sum(p for p, _ in results), sum(f for _, f in results)


def run_integration(build, module, pattern):
    os.environ["PARLEY_BUILD"] = os.path.abspath(build)
    sys.path.insert(0, os.path.join(HERE, "integration"))
    loader = unittest.TestLoader()
    if pattern:
        loader.testNamePatterns = [f"*{pattern}*"]
    suite = loader.discover(os.path.join(HERE, "integration"), pattern=module)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    for test, why in result.skipped:
        print(f"SKIPPED {test.id()}: {why}")
    return result.testsRun - failed - len(result.skipped), failed


def main(argv):
    if len(argv) < 2 or argv[0] not in ("unit", "integration", "all", "sim"):
        sys.exit(__doc__)
    passed = failed = 0
    programs = argv[1:] if argv[0] == "unit" else argv[2:] if argv[0] == "all" else []
    if argv[0] == "sim":
        passed, failed = run_sims(int(argv[1]), argv[2:])
    elif programs:
        passed, failed = run_units(programs)
    if argv[0] in ("integration", "all"):
        pattern = argv[argv.index("-k") + 1] if "-k" in argv else None
        module = argv[2] if argv[0] == "integration" and len(argv) > 2 and argv[2] != "-k" else None
        if pattern or module:
            p, f = run_integration(argv[1], module or "test_*.py", pattern)
        else:
            p, f = run_modules(argv[1])
        passed, failed = passed + p, failed + f
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
