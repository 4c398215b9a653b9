"""Measures a release build against its targets: one line a target, medians, and everything in BUILD/bench/parley.json.

    bench.py BUILD

In the environment: BENCH_RUNS (3), BENCH_SECONDS measured a run (10), BENCH_CROWD members of the large group (10000) and
BENCH_WORKERS generator processes that share it (2), BENCH_IDLE connections (15000), BENCH_SERVERS with so many each (6),
BENCH_ENTRIES on disk for the start (1000000), BENCH_HISTORY entries on disk for cold pages and sync (20000000), BENCH_ONLY,
a comma list of pairs, groups, crowd, rate, idle, many, resume, storm, history, cold, sync, start, tls.

Every server is fresh: a free port, a temporary data folder beside BUILD (so that its disk is the one measured), users made by
`parley users seed`. Server and generator share this machine's cores, as the targets say. Ends with 1 when the load generator
found an entry lost, repeated or wrong; a target that is missed is printed as missed and is no failure of the run.

The folder of cold and sync is made once, by tests/bench/fill.c, and kept in BUILD/bench for later runs. Before a cold run the
server is restarted and the kernel lets go of its files (posix_fadvise, which needs no root).

Rows "x the bare relay" divide by tests/bench/bare_relay.c, which does only what kernel and disk ask for, driven by the same
generator with the same options, in turns with the server: what else the machine does then meets both.
"""
import contextlib
import http.client
import json
import os
import platform
import random
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

RUNS = int(os.environ.get("BENCH_RUNS", "3"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "10"))
IDLE = int(os.environ.get("BENCH_IDLE", "15000"))
ENTRIES = int(os.environ.get("BENCH_ENTRIES", "1000000"))
HISTORY = int(os.environ.get("BENCH_HISTORY", "20000000"))
CROWD = int(os.environ.get("BENCH_CROWD", "10000"))
WORKERS = int(os.environ.get("BENCH_WORKERS", "2"))
SERVERS = int(os.environ.get("BENCH_SERVERS", "6"))
ONLY = os.environ.get("BENCH_ONLY", "pairs,groups,crowd,rate,idle,many,resume,storm,history,cold,sync,start,tls").split(",")
CONNECTIONS = 1000
WARM = 200  # connections that read the same pages again and again
IDLE_SECONDS = 20
START_DEADLINE = 120.0
GAUGES_SECONDS = 1.5  # how late a gauge of the server may be


class Failed(Exception):
    pass


class Server:
    """parleyd on a free port, with `users` seeded users in a data folder of its own; stopped by its pid. `options` are
    parleyd's; `prefix` comes before its command; is_tls: with a certificate made for it."""

    def __init__(self, build, users, *options, address="127.0.0.1", prefix=(), is_tls=False):
        self.build, self.options, self.address, self.prefix = build, list(map(str, options)), address, list(prefix)
        self.folder = tempfile.mkdtemp(prefix="bench-", dir=build)
        self.data = os.path.join(self.folder, "data")
        self.users = os.path.join(self.folder, "users")
        self.process = None
        self.is_tls = is_tls
        if is_tls:
            pair = [os.path.join(self.folder, name) for name in ("cert", "key")]
            call(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=bench",
                  "-days", "2", "-out", pair[0], "-keyout", pair[1]])
            self.options += ["--tls-cert", pair[0], "--tls-key", pair[1]]
        call([os.path.join(build, "parley"), "users", "seed", "--data", self.data, "--count", str(users), "--prefix", "load-",
              "--out", self.users])

    def start(self):
        """Returns the seconds until /readyz answers 200."""
        began = time.monotonic()
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, os.path.join(self.build, "parleyd"), "--listen", f"{self.address}:0", "--data", self.data, "--rate-limit",
                 "off", *self.options],
                stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        if "listening on " not in line:
            raise Failed("the server did not start:\n" + self.tail())
        self.port = int(line.split("listening on ")[1].split()[0].rsplit(":", 1)[1])
        while not self.is_ready():
            if time.monotonic() - began > START_DEADLINE:
                raise Failed("/readyz did not answer 200:\n" + self.tail())
            time.sleep(0.005)  # polling: the measured time ends with the answer
        return time.monotonic() - began

    def http(self, timeout):
        if self.is_tls:
            return http.client.HTTPSConnection(self.address, self.port, timeout=timeout, context=ssl._create_unverified_context())
        return http.client.HTTPConnection(self.address, self.port, timeout=timeout)

    def is_ready(self):
        c = self.http(5)
        try:
            c.request("GET", "/readyz")
            return c.getresponse().status == 200
        except OSError:
            return False
        finally:
            c.close()

    def stop(self, how=signal.SIGTERM):
        if self.process:
            self.process.send_signal(how)
            self.process.wait(timeout=60)
            self.process.stdout.close()
            self.process = None

    def tail(self):
        with open(os.path.join(self.folder, "log"), errors="replace") as f:
            return "".join(f.readlines()[-20:])

    def metric(self, name):
        c = self.http(30)
        try:
            c.request("GET", "/metrics")
            for line in c.getresponse().read().decode().splitlines():
                if line.startswith(name + " "):
                    return float(line.split()[1])
        finally:
            c.close()
        raise Failed(f"/metrics has no {name}")

    def command(self, *args):
        url = f"{'wss' if self.is_tls else 'ws'}://{self.address}:{self.port}/v1/ws"
        return [os.path.join(self.build, "parley-load"), "--url", url, *(["--insecure"] if self.is_tls else []), "--users", self.users,
                "--server-pid", str(self.process.pid), "--json", "-", *map(str, args)]

    def load(self, *args, prefix=()):
        """One run of the load generator; its JSON."""
        command = [*prefix, *self.command(*args)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode == 2 or not done.stdout:
            raise Failed(f"{' '.join(command)}\n{done.stderr}{self.tail()}")
        result = json.loads(done.stdout)
        result["command"] = " ".join(["parley-load", *map(str, args)])
        if not result["verified"]:
            raise Failed(f"{' '.join(command)}\n{result['faults']} {result.get('first_fault')}")
        return result

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Filled(Server):
    """A server on a folder with HISTORY entries in chats of 4,000, and HUBS users who have all of SPOKES chats each. The folder
    stays for the next run; a run adds a few entries to it."""
    DEPTH, HUBS, SPOKES = 4000, 10, 1000

    def __init__(self, build):
        self.build, self.options, self.address, self.prefix, self.is_tls = build, [], "127.0.0.1", [], False
        self.folder = os.path.join(build, "bench", f"filled-{HISTORY}")
        self.data = os.path.join(self.folder, "data")
        self.users = os.path.join(self.folder, "users")
        self.process = None
        self.pairs = max(HISTORY // self.DEPTH, self.SPOKES // 2)
        if not os.path.exists(os.path.join(self.folder, "filled")):
            self.fill()

    def fill(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        call([os.path.join(self.build, "parley"), "users", "seed", "--data", self.data, "--count", str(2 * self.pairs + self.HUBS),
              "--prefix", "load-", "--out", self.users])
        self.start()  # takes the accounts into the tables
        self.stop()
        said = call([os.path.join(self.build, "bench_fill"), "-d", self.data, "-u", self.users, "-n", str(HISTORY),
                     "-p", str(self.pairs), "-h", str(self.HUBS), "-s", str(self.SPOKES)])
        print(f"{self.folder}: {said.strip()}", flush=True)
        with open(os.path.join(self.folder, "filled"), "w"):
            pass

    def restart_cold(self):
        self.stop()
        for path in self.files():
            with open(path, "rb") as f:
                os.fsync(f.fileno())
                os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self.start()

    def files(self, suffix=""):
        return [os.path.join(at, name) for at, _, names in os.walk(self.data) for name in names if name.endswith(suffix)]

    def metric(self, name):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            c.request("GET", "/metrics")
            lines = c.getresponse().read().decode().splitlines()
        finally:
            c.close()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name + " "))

    def used(self):
        """Microseconds of CPU, blocks that were not in the cache, and bytes that came from the disk, since it was started."""
        with open(f"/proc/{self.process.pid}/io") as f:
            read = next(int(line.split()[1]) for line in f if line.startswith("read_bytes"))
        cpu_us = self.metric("process_cpu_seconds_total") * 1e6
        time.sleep(GAUGES_SECONDS)  # the metric follows the cache's own counter
        return {"us": cpu_us, "blocks": self.metric("parley_block_cache_misses_total"), "bytes": read}

    def used_since(self, before, n):
        """The same since `before`, for each of n."""
        now = self.used()
        return {k: (now[k] - before[k]) / max(1, n) for k in now}

    def hubs(self):
        """The tokens of those who have all of their many conversations."""
        with open(self.users) as f:
            return [line.split("\t")[3].strip() for line in f][-self.HUBS:]

    def __exit__(self, *_):
        self.stop(signal.SIGTERM)


class Relay(Server):
    """bare_relay in the server's place: the same users, the same disk."""

    def start(self):
        self.process = subprocess.Popen([os.path.join(self.build, "bare_relay"), self.users, os.path.join(self.folder, "relay")],
                                        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        if "listening on " not in line:
            raise Failed("bare_relay did not start")
        self.port = int(line.split("listening on ")[1].rsplit(":", 1)[1])

    def tail(self):
        return ""


def call(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


class Report:
    def __init__(self):
        self.rows, self.runs, self.failures = [], [], []

    def row(self, name, unit, values, target, is_least=False):
        """A target holds when the median is at most (at least) the target. None: no target, only said. What is printed behind
        the target is the value's ratio to it."""
        value = statistics.median(values)
        holds = None if target is None else value >= target if is_least else value <= target
        ratio = value / target if target else None
        self.rows.append({"name": name, "value": value, "unit": unit, "target": target, "least": is_least, "ratio": ratio,
                          "holds": holds, "runs": values})
        word = "" if holds is None else "holds" if holds else "missed"
        wanted = "" if target is None else f"{'>=' if is_least else '<='} {target:,g}"
        spread = f"{min(values):,.2f} to {max(values):,.2f}"
        of = "" if ratio is None else f"{ratio:.2f}"
        print(f"{name:<62} {value:>12,.2f} {unit:<10} {wanted:>11} {of:>6}  {word:<7} {spread}", flush=True)

    def keep(self, results):
        self.runs += results
        return results


def timed(*args):
    return (*args, "--connections", CONNECTIONS, "--warmup", "2s", "--duration", f"{SECONDS}s")


def cpu(results):
    return [r["server"]["cpu_us_per_delivery"] for r in results]


def both(build, report, users, *args, options=()):
    """RUNS of the server and of the bare relay, in turns; a fresh pair of them serves all runs. (server's, relay's)"""
    ours, bare = [], []
    with Server(build, users, *options) as server, Relay(build, users) as relay:
        for _ in range(RUNS):
            bare.append(relay.load(*args))
            ours.append(server.load(*args))
    for r in bare:
        r["command"] += " (bare relay)"
    report.keep(bare)
    return report.keep(ours), bare


def ratio_row(report, name, ours, bare, target):
    report.row(name + "CPU of the bare relay", "us", cpu(bare), None)
    report.row(name + "server CPU", "x bare", [a / b for a, b in zip(cpu(ours), cpu(bare))], target)


def generator_row(report, name, ours):
    """A generator that uses more than the server would be what is measured."""
    own = [r["own_cpu_us_per_delivery"] for r in ours]
    report.row(name + "generator's CPU a delivered entry", "us", own, None)
    report.row(name + "generator's CPU", "x server", [a / b for a, b in zip(own, cpu(ours))], 1)


def pairs(build, report):
    for window, target, ratio in ((8, 15, 3), (1, 35, 1.7)):
        ours, bare = both(build, report, CONNECTIONS, *timed("--scenario", "pairs", "--window", window))
        name = f"500 pairs, window {window}: "
        report.row(name + "delivered", "entries/s", [r["delivered_per_s"] for r in ours], 60000 if window == 8 else None, True)
        report.row(name + "server CPU a delivered entry", "us", cpu(ours), target)
        ratio_row(report, name, ours, bare, ratio)
        report.row(name + "p99 of delivery", "ms", [r["delivery_ms"]["p99"] for r in ours], None)
        generator_row(report, name, ours)


def groups(build, report):
    """Groups, all online, ten members of each write: ten of 100, and one of 1,000."""
    for size, target in ((100, 2), (1000, None)):
        args = timed("--scenario", "groups", "--group-size", size, "--senders", 10, "--window", 1)
        ours, bare = both(build, report, CONNECTIONS, *args)
        name = f"{CONNECTIONS // size} x group of {size}: "
        report.row(name + "deliveries", "a second", [r["delivered_per_s"] for r in ours], None)
        report.row(name + "server CPU a delivery", "us", cpu(ours), target)
        ratio_row(report, name, ours, bare, 2)
        report.row(name + "p99 of delivery", "ms", [r["delivery_ms"]["p99"] for r in ours], None)
        generator_row(report, name, ours)


def crowd(build, report):
    """One message at a time to a group that is shared among generator processes: how long until the last member has it."""
    args = ("--scenario", "groups", "--group-size", CROWD, "--connections", CROWD, "--senders", 1, "--window", 1, "--workers", WORKERS,
            "--connecting", 256, "--warmup", "2s", "--duration", f"{SECONDS}s", "--drain-timeout", "60s")
    ours, bare = both(build, report, CROWD, *args, options=("--group-members", max(CROWD, 1024)))
    name = f"1 x group of {CROWD:,}, {WORKERS} generators: "
    times = [[r["reach_ms"]["p50"] for r in runs] for runs in (ours, bare)]
    report.row(name + "a message to all, bare relay", "ms", times[1], None)
    report.row(name + "a message to all", "ms", times[0], None)
    report.row(name + "a message to all", "x bare", [a / b for a, b in zip(*times)], 1.5)
    report.row(name + "p99 to all", "ms", [r["reach_ms"]["p99"] for r in ours], None)
    ratio_row(report, name, ours, bare, None)


def rate(build, report):
    """An open loop below saturation: latency counts from when an entry should have started."""
    ours, bare = both(build, report, CONNECTIONS, *timed("--scenario", "pairs", "--rate", 5000))
    for percent, target in (("p50", None), ("p99", 2), ("p99.9", 10)):
        name = f"5,000 entries/s: {percent} of delivery"
        report.row(name + ", bare relay", "ms", [r["delivery_ms"][percent] for r in bare], None)
        report.row(name, "ms", [r["delivery_ms"][percent] for r in ours], target)
    ratio_row(report, "5,000 entries/s: ", ours, bare, None)


def idle(build, report):
    """A fresh server for each run: memory once touched stays with a process. The first login of all is in the figure too, so
    what the server takes once is spread over the connections."""
    results = []
    for _ in range(RUNS):
        with Server(build, IDLE) as s:
            results.append(s.load("--scenario", "idle", "--connections", IDLE, "--duration", f"{IDLE_SECONDS}s"))
    report.keep(results)
    each = [r["server"]["rss_bytes_per_connection"] for r in results]
    share = [r["server"]["cpu_us"] / r["measured_s"] / 1e4 * 10000 / IDLE for r in results]
    name = f"{IDLE:,} idle connections: "
    report.row(name + "memory each, (after - before)/N", "bytes", each, 3072)
    report.row(name + f"CPU over {IDLE_SECONDS} s, of a core per 10,000", "%", share, 1)
    report.row(name + "logging all in", "s", [r["login_s"] for r in results], None)
    million(report, statistics.median(each), statistics.median(share))


def million(report, each, share):
    """What a million would take. Memory is the server's alone: the kernel's 4 to 5 KB a socket come on top."""
    report.row(f"1,000,000 extrapolated: {each:,.0f} bytes x 10^6", "GiB", [each * 1e6 / 2**30], None)
    report.row(f"1,000,000 extrapolated: {share:.3f} % x 100", "cores", [share], None)


def use(pid):
    """(CPU seconds, bytes of resident memory) of a process."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    with open(f"/proc/{pid}/status") as f:
        rss = next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) * 1024
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), rss


class Held:
    """A server with IDLE connections that a generator of its own holds until the end."""

    def __init__(self, build, k):
        self.server = Server(build, IDLE, address=f"127.0.0.{k + 2}")
        self.generator = None

    def connect(self):
        self.server.start()
        self.before = use(self.server.process.pid)[1]
        self.generator = subprocess.Popen(
            self.server.command("--scenario", "idle", "--connections", IDLE, "--duration", "12h", "--warmup", 0, "--drain-timeout", "120s"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while self.count() < IDLE:
            if self.generator.poll() is not None:
                raise Failed(self.generator.stderr.read())
            time.sleep(0.2)  # polling: the logins take as long as they take

    def count(self):
        return int(self.server.metric("parley_connections"))

    def end(self):
        """The generator's result."""
        self.generator.send_signal(signal.SIGINT)
        out, err = self.generator.communicate(timeout=120)
        result = json.loads(out) if out else {"verified": False, "first_fault": err}
        if not result["verified"]:
            raise Failed(result.get("first_fault"))
        return result

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.generator and self.generator.poll() is None:
            self.generator.kill()
            self.generator.wait()
        self.server.__exit__()


def many(build, report):
    """More connections than one process may have: SERVERS of them on loopback addresses of their own, all held at once."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(Held(build, k)) for k in range(SERVERS)]
        for h in held:
            h.connect()
        first = [use(h.server.process.pid)[0] for h in held]
        began = time.monotonic()
        time.sleep(IDLE_SECONDS * 2)  # the measured time
        seconds = time.monotonic() - began
        last = [use(h.server.process.pid) for h in held]
        total = sum(h.count() for h in held)
        report.keep([h.end() for h in held])
    name = f"{SERVERS * IDLE:,} idle connections, {SERVERS} servers: "
    each = sum(b[1] - h.before for h, b in zip(held, last)) / total
    share = sum(b[0] - a for a, b in zip(first, last)) / seconds * 100 * 10000 / total
    report.row(name + "held at once", "", [total], SERVERS * IDLE, True)
    report.row(name + "memory each", "bytes", [each], 3072)
    report.row(name + f"CPU over {IDLE_SECONDS * 2} s, of a core per 10,000", "%", [share], 1)
    million(report, each, share)


def resume(build, report):
    """Each user is in 20 conversations; they drop and come back, log in with their token, and sync. Then all at once."""
    with Server(build, 5000) as s:
        for _ in range(19):
            s.load("--scenario", "groups", "--group-size", 10, "--senders", 1, "--window", 1, "--max-entries", 1000,
                   "--warmup", 0, "--duration", "5s")
        args = ("--scenario", "reconnect", "--group-size", 10, "--resume-rate", 5000, "--connecting", 512, "--rate", 1000,
                "--duration", f"{SECONDS}s")
        results = report.keep([s.load(*args) for _ in range(RUNS)])
    report.row("5,000 resumes/s wanted, 20 conversations: resumes", "a second",
               [r["acts"]["resume"]["samples"] / r["measured_s"] for r in results], 4900, True)
    report.row("5,000 resumes/s wanted: p99 of a resume", "ms", [r["acts"]["resume"]["p99"] for r in results], None)


def storm(build, report):
    with Server(build, 15000) as s:
        args = ("--scenario", "reconnect", "--group-size", 10, "--connecting", 512, "--rate", 1000, "--duration", f"{SECONDS}s",
                "--workers", 2)  # who stays has a process of its own, or the other's closing and connecting would count as delay
        results = report.keep([s.load(*args) for _ in range(RUNS)])
    report.row("15,000 connections, storm of all but writers: over in", "s", [r["back_s"] for r in results], 10)
    report.row("  p99 of live delivery meanwhile", "ms", [r["delivery_ms"]["p99"] for r in results], 50)


def history(build, report):
    with Server(build, CONNECTIONS) as s:
        results = report.keep([s.load(*timed("--scenario", "history", "--depth", 1000)) for _ in range(RUNS)])
    report.row("history, pages of 50: pages", "a second", [pages_a_second(r) for r in results], 20000, True)
    report.row("history, pages of 50: server CPU a page", "us",
               [r["server"]["cpu_us"] / r["acts"]["history"]["samples"] for r in results], None)
    report.row("history, pages of 50: p99", "ms", [r["acts"]["history"]["p99"] for r in results], None)


def bare_reads(paths, size, seconds=2.0, threads=3):
    """Random preads of `size` from these files, not in the page cache before, by as many threads as the server reads with: how
    many a second the disk gives."""
    files = []
    for path in paths:
        try:
            fd = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue  # the server has merged it meanwhile
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        if os.fstat(fd).st_size >= size:
            files.append((fd, os.fstat(fd).st_size // size))
    counts, until = [0] * threads, time.monotonic() + seconds

    def read(i):
        dice = random.Random(i)
        weights = [n for _, n in files]
        while time.monotonic() < until:
            for fd, n in dice.choices(files, weights, k=32):
                counts[i] += len(os.pread(fd, size, dice.randrange(n) * size)) == size

    all_threads = [threading.Thread(target=read, args=(i,)) for i in range(threads)]
    for t in all_threads:
        t.start()
    for t in all_threads:
        t.join()
    for fd, _ in files:
        os.close(fd)
    return sum(counts) / seconds


def pages_a_second(r):
    return r["acts"]["history"]["samples"] / r["measured_s"]


def cold(build, report):
    """Random pages of many conversations. Cold: nothing of the files is in memory but filters and indexes. Warm: the pages of
    some conversations, again and again."""
    name = f"history, {HISTORY:,} entries, "
    args = ("--scenario", "history", "--depth", 0, "--warmup", "0", "--duration", f"{SECONDS}s", "--connections")
    pages, each, bare = [], [], {4096: [], 16384: []}
    with Filled(build) as s:
        for _ in range(RUNS):
            for size, rates in bare.items():
                rates.append(bare_reads(s.files(".sst"), size))
            s.restart_cold()
            before = s.used()
            r = report.keep([s.load(*args, min(2000, 2 * s.pairs))])[0]
            pages.append(pages_a_second(r))
            each.append({"p99": r["acts"]["history"]["p99"], **s.used_since(before, r["acts"]["history"]["samples"])})
        s.load(*args, WARM)  # 100 chats of 4,000: 80 MiB, which the cache of 128 has room for
        warm = report.keep([s.load(*args, WARM) for _ in range(RUNS)])
    report.row(name + "cold: pages of 50", "a second", pages, 2000, True)
    report.row(name + "cold: p99", "ms", [e["p99"] for e in each], None)
    report.row(name + "cold: server CPU a page", "us", [e["us"] for e in each], None)
    report.row(name + "cold: blocks not in the cache, a page", "", [e["blocks"] for e in each], None)
    report.row(name + "cold: read from the disk, a page", "KiB", [e["bytes"] / 1024 for e in each], None)
    for size, rates in bare.items():
        report.row(f"  bare random reads of {size // 1024} KiB from the same files", "a second", rates, None)
    report.row(name + "warm: pages of 50", "a second", [pages_a_second(r) for r in warm], 20000, True)
    report.row(name + "warm: server CPU a page", "us",
               [r["server"]["cpu_us"] / r["acts"]["history"]["samples"] for r in warm], None)


def sync_of(server, token):
    """One sync of a user who has everything: milliseconds."""
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        c.connect()
        began = time.monotonic()
        c.request("POST", "/v1/sync", "{}", {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
        answer = c.getresponse()
        body = json.loads(answer.read())
        took = (time.monotonic() - began) * 1e3
    finally:
        c.close()
    if answer.status != 200 or body["conversations"] or body["more"]:
        raise Failed(f"sync: {answer.status} {str(body)[:300]}")
    return took


def sync(build, report):
    """Users in SPOKES conversations each, with nothing new in any of them, one after the other."""
    results = {}
    with Filled(build) as s:
        for _ in range(RUNS):
            s.restart_cold()
            for how, times in (("cold", 1), ("warm", 20)):
                before = s.used()
                took = [sync_of(s, token) for _ in range(times) for token in s.hubs()]
                results.setdefault(how, []).append({"ms": statistics.median(took), **s.used_since(before, len(took))})
    for how, each in results.items():
        name = f"sync of {Filled.SPOKES:,} conversations, nothing new, {how}: "
        report.row(name + "median", "ms", [e["ms"] for e in each], None)
        report.row(name + "server CPU", "us", [e["us"] for e in each], None)
        report.row(name + "blocks not in the cache", "", [e["blocks"] for e in each], None)
        report.row(name + "read from the disk", "KiB", [e["bytes"] / 1024 for e in each], None)


def start(build, report):
    """After an orderly stop, and after kill -9."""
    with Server(build, CONNECTIONS) as s:
        report.keep([s.load("--scenario", "pairs", "--connections", CONNECTIONS, "--window", 32, "--max-entries", ENTRIES,
                            "--warmup", "0", "--duration", "1h", "--drain-timeout", "60s")])
        for how, name in ((signal.SIGTERM, "a stop"), (signal.SIGKILL, "kill -9")):
            seconds = []
            for _ in range(RUNS):
                s.stop(how)
                seconds.append(s.start())
            report.row(f"{ENTRIES:,} entries on disk: start to /readyz after {name}", "s", seconds, 2)


def tls(build, report):
    """The same runs with TLS 1.3 and without, in turns: messages, logins (sessions are resumed), idle connections."""
    with Server(build, CONNECTIONS) as plain, Server(build, CONNECTIONS, is_tls=True) as secure:
        for window in (8, 1):
            runs = [[s.load(*timed("--scenario", "pairs", "--window", window)) for s in (plain, secure)] for _ in range(RUNS)]
            report.keep([r for pair in runs for r in pair])
            report.row(f"TLS, 500 pairs, window {window}: server CPU a delivered entry", "us", cpu([r[1] for r in runs]), None)
            report.row(f"TLS, 500 pairs, window {window}: server CPU", "x plain", [cpu([b])[0] / cpu([a])[0] for a, b in runs], None)
        runs = [[s.load(*timed("--scenario", "login")) for s in (plain, secure)] for _ in range(RUNS)]
    report.keep([r for pair in runs for r in pair])
    for name, k in (("plain", 0), ("TLS, resumed", 1)):
        report.row(f"logins, {name}: server CPU each", "us", [r[k]["server"]["cpu_us"] / r[k]["acts"]["resume"]["samples"] for r in runs],
                   None)
    report.row("logins, TLS: of those that came back, resumed", "%",
               [100 * r[1]["tls"]["resumed"] / (r[1]["tls"]["handshakes"] - CONNECTIONS) for r in runs], 99, True)
    count = min(IDLE, 5000)
    with Server(build, count, is_tls=True) as s:
        r = report.keep([s.load("--scenario", "idle", "--connections", count, "--duration", "5s")])[0]
    report.row(f"TLS, {count:,} idle connections: memory each", "bytes", [r["server"]["rss_bytes_per_connection"]], None)


def machine():
    def first(path, key):
        try:
            with open(path) as f:
                return next((line.split(":", 1)[1].strip() for line in f if line.startswith(key)), "")
        except OSError:
            return ""
    return {"cpus": os.cpu_count(), "cpu": first("/proc/cpuinfo", "model name"), "memory": first("/proc/meminfo", "MemTotal"),
            "kernel": platform.release()}


def main():
    build = os.path.abspath(sys.argv[1])
    report = Report()
    for part in (pairs, groups, crowd, rate, idle, many, resume, storm, history, cold, sync, start, tls):
        if part.__name__ not in ONLY:
            continue
        try:
            part(build, report)
        except Failed as e:
            report.failures.append(f"{part.__name__}: {e}")
            print(f"FAILED {part.__name__}: {e}", flush=True)
    os.makedirs(os.path.join(build, "bench"), exist_ok=True)
    with open(os.path.join(build, "bench", "parley.json"), "w") as f:
        json.dump({"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine(), "rows": report.rows,
                   "failures": report.failures, "runs": report.runs}, f, indent=1)
        f.write("\n")
    missed = sum(r["holds"] is False for r in report.rows)
    print(f"{len(report.rows)} rows, {missed} missed, {len(report.failures)} failed; {os.path.relpath(f.name)}")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
