"""Whether a message costs the same however many cores, conversations and connections there are.

    scale.py BUILD

Writes BUILD/bench/scale.json and scale.html. In the environment: SCALE_CONVERSATIONS, the most of them (1000000; 10000000 takes ten
times as long and 3 GB of disk), SCALE_ACTIVE of which are written to (100000), SCALE_CONNECTIONS, the most (15000), SCALE_SECONDS a
run (5), SCALE_RUNS of each number of connections (3), SCALE_ONLY, a comma list of cores, conversations, connections. CPU of the server a message is what is compared: it doesn't
depend on what else runs, as far as anything doesn't. Flat means: the dearest costs at most FLAT times the cheapest, of
conversations where as many are active, of connections where messages do not share writes for being many on one (ALONE).
"""
import json
import os
import re
import statistics
import subprocess
import sys
import time

from bench import Failed, Report, Server, machine
from plot import page, plot

CONVERSATIONS = int(os.environ.get("SCALE_CONVERSATIONS", "1000000"))
ACTIVE = int(os.environ.get("SCALE_ACTIVE", "100000"))
CONNECTIONS = int(os.environ.get("SCALE_CONNECTIONS", "15000"))
SECONDS = int(os.environ.get("SCALE_SECONDS", "5"))
RUNS = int(os.environ.get("SCALE_RUNS", "3"))
ONLY = os.environ.get("SCALE_ONLY", "cores,conversations,connections").split(",")
FLAT = 1.5
RATE = 5000
ALONE = 100  # connections and more: a message in 20 ms each
A_PAIR = 1100  # bytes that a conversation of two takes in memory
MESSAGES = 1000000


def steps(first, most):
    """first, ten times that, …, most."""
    out = []
    while first < most:
        out.append(first)
        first *= 10
    return [*out, most]


def flat_row(report, name, costs):
    report.row(name + ": the dearest", "x cheapest", [max(costs) / min(costs)], FLAT)


def cores(build, report):
    """Pairs at window 8, the server pinned to one core and to two, the generator to another where there is one."""
    count, points = os.cpu_count(), []
    for n in (1, 2):
        if count < n:
            continue
        server = ",".join(map(str, range(n)))
        others = ",".join(map(str, range(n, count))) or server
        with Server(build, 1000, "--threads", n, prefix=("taskset", "-c", server)) as s:
            r = s.load("--scenario", "pairs", "--window", 8, "--connections", 1000, "--duration", f"{SECONDS}s",
                       prefix=("taskset", "-c", others))
        shares = others == server
        name = f"server on {n} core{'s' if n > 1 else ''}, generator on {'the same' if shares else 'others'}: "
        report.row(name + "delivered", "a second", [r["delivered_per_s"]], None)
        report.row(name + "server CPU a delivered entry", "us", [r["server"]["cpu_us_per_delivery"]], None)
        points.append((n, r["delivered_per_s"], shares))
    if len(points) < 2 or points[-1][2]:
        print(f"  this machine has {count} cores: with the generator on the server's own, what two cores add can't be seen here")
    else:
        report.row("two cores: delivered", "x one core", [points[1][1] / points[0][1]], 1.6, True)
    return plot("Delivered a second by cores of the server", {"delivered": [p[:2] for p in points]}, "cores")


def chat(build, n, *memory):
    """CPU of the first message to each of ACTIVE of n conversations, and of one of those that follow. `memory`: MiB for
    conversations, and for blocks."""
    done = subprocess.run([os.path.join(build, "release", "bench-chat"), str(MESSAGES), "2", "1", str(n), str(ACTIVE), *map(str, memory)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    found = re.findall(r"CPU ([\d.]+) us", done.stdout)
    if done.returncode or len(found) != 2:
        raise Failed(f"bench-chat: {done.stdout}{done.stderr}")
    return map(float, found)


def conversations(build, report):
    """The services without sockets (bench_chat): messages to ACTIVE of so many chats of two, at random, on one reactor."""
    points = []
    for n in steps(1000, CONVERSATIONS):
        first, cost = chat(build, n)
        points.append((n, cost))
        report.row(f"{min(n, ACTIVE):,} active of {n:,} chats: CPU of the first message to each", "us", [first], None)
        report.row(f"{min(n, ACTIVE):,} active of {n:,} chats: CPU a message", "us", [cost], None)
    for blocks in (128, 1):
        _, cost = chat(build, ACTIVE, max(1, ACTIVE * A_PAIR // 2 >> 20), blocks)
        report.row(f"{ACTIVE:,} active, memory for half of them, {blocks} MiB for blocks: CPU a message", "us", [cost], None)
    flat_row(report, "conversations", [y for n, y in points if n >= ACTIVE] or [y for _, y in points])
    return plot("CPU a message by conversations, us", {"CPU": points}, "conversations", True)


def connections(build, report):
    """Pairs write RATE messages a second, however many of them there are."""
    points = []
    for n in steps(10, CONNECTIONS):
        with Server(build, n) as s:
            runs = [s.load("--scenario", "pairs", "--rate", RATE, "--connections", n, "--duration", f"{SECONDS}s") for _ in range(RUNS)]
        costs = [r["server"]["cpu_us_per_delivery"] for r in runs]
        points.append((n, statistics.median(costs)))
        report.row(f"{n:,} connections, {RATE:,} messages/s: server CPU a message", "us", costs, None)
        report.row(f"{n:,} connections, {RATE:,} messages/s: p99 of delivery", "ms", [r["delivery_ms"]["p99"] for r in runs], None)
    flat_row(report, "connections", [y for n, y in points if n >= ALONE] or [y for _, y in points])
    return plot("Server CPU a message by connections, us", {"CPU": points}, "connections", True)


def main():
    build = os.path.abspath(sys.argv[1])
    report, plots = Report(), []
    for part in (cores, conversations, connections):
        if part.__name__ not in ONLY:
            continue
        try:
            plots.append(part(build, report))
        except Failed as e:
            report.failures.append(f"{part.__name__}: {e}")
            print(f"FAILED {part.__name__}: {e}", flush=True)
    path = os.path.join(build, "bench", "scale")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    found = {"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine(), "rows": report.rows,
             "failures": report.failures}
    with open(path + ".json", "w") as f:
        json.dump(found, f, indent=1)
        f.write("\n")
    text = "\n".join(f"{r['name']:<70} {r['value']:>12,.2f} {r['unit']}" for r in report.rows)
    with open(path + ".html", "w") as f:
        f.write(page("Parley: what a message costs by size", text, *plots))
    print(f"{os.path.relpath(path)}.json, .html")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
