"""Mixed load for long, to see what grows.

    soak.py BUILD

In the environment: SOAK_SECONDS (3600), SOAK_RATE messages a second (1000), SOAK_CONNECTIONS (1000), SOAK_SCENARIO (mixed; pairs: as many
messages as an hour has in minutes, SOAK_SECONDS=330 SOAK_RATE=15000, without the groups' fan-out). Receipts, typing, history, syncs
and reconnects go along (parley-load's `mixed`). The server's caches are made small, so that they are full after minutes and what
still grows then is no cache. Sampled all the while: resident memory, open descriptors, bytes of the data folder. All is kept in
BUILD/bench/soak.json and drawn in soak.html.

The verdict looks at the second half, by the slope of a line fitted to it:
  memory       over that half at most MEMORY_SHARE of its mean, and MEMORY_SLACK. Filters and indexes of the tables, which grow with what
               is stored, are taken off, by the server's own metric; what they grow by is told beside it
  descriptors  at most DESCRIPTORS more at its end than at its beginning
  disk         bytes a message at most DISK_SHARE times those of the first half: messages are kept, but nothing else may pile up
Ends with 1 when one of them is exceeded, or an entry was lost, repeated or wrong.
"""
import json
import os
import subprocess
import sys
import time

from bench import Failed, Server, machine, use
from plot import page, plot

SECONDS = int(os.environ.get("SOAK_SECONDS", "3600"))
RATE = int(os.environ.get("SOAK_RATE", "1000"))
CONNECTIONS = int(os.environ.get("SOAK_CONNECTIONS", "1000"))
SCENARIO = os.environ.get("SOAK_SCENARIO", "mixed")
SAMPLES = 600
MEMORY_SHARE, MEMORY_SLACK, DESCRIPTORS, DISK_SHARE, DISK_SLACK = 0.03, 2 << 20, 16, 1.25, 64 << 20
SMALL = ("--cache", "16m", "--conversations-memory", "16m", "--heads-memory", "4m", "--memtable", "4m", "--segment", "4m")
MIB = 1 << 20


def folder_bytes(path):
    total = 0
    for at, _, names in os.walk(path):
        for name in names:
            try:
                total += os.stat(os.path.join(at, name)).st_blocks * 512
            except FileNotFoundError:
                pass  # merged away meanwhile
    return total


def sample(server, began):
    pid = server.process.pid
    cpu, rss = use(pid)
    index = server.metric("parley_store_index_bytes")
    return {"at_s": time.monotonic() - began, "rss": rss, "index": index, "less": rss - index, "descriptors": len(os.listdir(f"/proc/{pid}/fd")), "cpu_s": cpu,
            "disk": folder_bytes(server.data)}


def slope(points):
    """Of the least squares' line, in y a unit of x."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0


def growth(samples, key):
    """What the fitted line grows by from the first sample to the last."""
    return slope([(s["at_s"], s[key]) for s in samples]) * (samples[-1]["at_s"] - samples[0]["at_s"])


def judge(samples):
    """[(what, grown, bound, unit)]"""
    half = len(samples) // 2
    first, second = samples[:half], samples[half:]
    mean = sum(s["less"] for s in second) / len(second)
    disk = [growth(part, "disk") for part in (first, second)]
    return [("memory of the second half", growth(second, "less") / MIB, (MEMORY_SHARE * mean + MEMORY_SLACK) / MIB, "MiB"),
            ("descriptors of the second half", growth(second, "descriptors"), DESCRIPTORS, ""),
            ("disk of the second half", disk[1] / MIB, (max(disk[0], 0) * DISK_SHARE + DISK_SLACK) / MIB, "MiB")]


def watch(server, generator, began):
    samples, every = [], max(SECONDS / SAMPLES, 0.5)
    while generator.poll() is None:
        samples.append(sample(server, began))
        time.sleep(every)
    return samples


def soak(build):
    with Server(build, CONNECTIONS, *SMALL) as server:
        said = [os.path.join(server.folder, name) for name in ("result", "complaint")]  # files: a pipe that nobody reads fills
        with open(said[0], "w") as out, open(said[1], "w") as err:
            generator = subprocess.Popen(
                server.command("--scenario", SCENARIO, *(["--group-size", 100] if SCENARIO == "mixed" else []), "--rate", RATE,
                               "--connections", CONNECTIONS, "--duration",
                               f"{SECONDS}s", "--drain-timeout", "60s"), stdout=out, stderr=err)
        try:
            samples = watch(server, generator, time.monotonic())
            out, err = [open(path).read() for path in said]
        finally:
            if generator.poll() is None:
                generator.kill()
                generator.wait()
    if not out:
        raise Failed(err)
    return samples, json.loads(out)


def main():
    build = os.path.abspath(sys.argv[1])
    samples, result = soak(build)
    if len(samples) < 8:
        raise Failed("too short: fewer than 8 samples")
    lines, is_fine = [], result["verified"]
    lines.append(f"{SECONDS} s, {RATE} messages/s, {CONNECTIONS} connections: {result['delivered']:,} deliveries, "
                 + ("verified" if result["verified"] else f"NOT AS IT MUST BE: {result['faults']}"))
    verdict = judge(samples)
    for what, grown, bound, unit in verdict:
        is_fine &= grown <= bound
        lines.append(f"{what}: {grown:+,.2f} {unit}, at most {bound:,.2f}: {'holds' if grown <= bound else 'GROWS'}")
    lines.append(f"per hour, by the second half's slope: {slope([(s['at_s'], s['rss']) for s in samples[len(samples) // 2:]]) * 3600 / MIB:+,.2f} "
                 "MiB of memory")
    lines.append(f"filters and indexes of the tables meanwhile: {growth(samples[len(samples) // 2:], 'index') / MIB:+,.2f} MiB")
    text = "\n".join(lines)
    path = os.path.join(build, "bench", "soak")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".json", "w") as f:
        json.dump({"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine(), "seconds": SECONDS,
                   "holds": is_fine, "verdict": [dict(zip(("what", "grown", "bound", "unit"), v)) for v in verdict],
                   "samples": samples, "result": result}, f)
        f.write("\n")
    draw = lambda title, key, by: plot(title, {key: [(s["at_s"], s[key] / by) for s in samples]}, "s")
    memory = plot("Resident memory, MiB", {name: [(s["at_s"], s[key] / MIB) for s in samples] for name, key in
                                           (("all", "rss"), ("filters and indexes", "index"), ("the rest", "less"))}, "s")
    with open(path + ".html", "w") as f:
        f.write(page("Parley: soak", text, memory, draw("Open descriptors", "descriptors", 1),
                     draw("Data folder, MiB", "disk", MIB),
                     plot("Delivery, ms", {k: [(s["at_s"], s[k]) for s in result["series"]] for k in ("p50", "p99")}, "s")))
    print(text)
    print(f"{os.path.relpath(path)}.json, .html")
    return 0 if is_fine else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as e:
        print(f"FAILED: {e}")
        sys.exit(1)
