#!/usr/bin/env python3
"""Where the time of a message goes: samples a server under load with perf, prints a budget, and draws a flame graph.

    flame.py BUILD SVG [WINDOW]

500 pairs write to each other with WINDOW (8) unanswered messages each; a few seconds of that are sampled by the clock, with
whole stacks (by unwinding, so nothing is built differently for it). A sample counts for the innermost frame that says what
is being done: what malloc or memcpy costs is its caller's. The parts are multiplied with the CPU a delivered entry that the
load generator has measured.

The drawing: a column is a stack, callers below, its width the share of samples; grey is the kernel, orange libwebsockets and
libuv, green ours, blue the C library. A frame's share is told when the mouse rests on it. Needs perf, and the right to
sample (root, or kernel.perf_event_paranoid of at most 1).
"""
import collections
import os
import re
import subprocess
import sys
import tempfile
from xml.sax.saxutils import escape

from bench import CONNECTIONS, Server

SECONDS, RATE_HZ, STACK_BYTES = 6, 499, 8192
KERNEL = "kernel: "

# (part, in the kernel?, what a frame's name must match); the first line that any frame of the kernel's part matches, from
# the system call on; then, for what is not in the kernel, from the innermost frame outward.
CALLS = [
    ("kernel: receive", r"sys_recv|sys_read\b|sock_read_iter"),
    ("kernel: send", r"sys_send|sys_writev|sock_write_iter"),
    ("kernel: log (write, sync)", r"sys_pwrite|do_fsync|sys_fdatasync|sys_fsync"),
    ("kernel: waiting (epoll)", r"sys_epoll|do_epoll"),
    ("kernel: waking (futex, eventfd)", r"sys_futex|do_futex|sys_write\b|ksys_write"),
]
OURS = [
    ("write", r"^(session_flush|write_batch|write_all|outq_peek|outq_pop)$"),
    ("parse", r"^(args_|scan_|json_|arg_)"),
    ("encode", r"^(entry_print|jsonw_|print_sent|session_reply|queue_text|frame_)"),
    ("log", r"^(record_|stream_|batch_|chunk_|write_run|segment_|segpool_)"),
    ("store", r"^(convlog_|lsm_|memtable_|state_encode|put_|block_|filter_|sst_|keys_|heads_below|leaf_near|find_leaf|make_entry|cid_write)"),
    ("fan-out", r"^(bus_emit|where_|deliver_to|session_deliver|sink|parcel_|delivery_arrives|send_off|registry_|outq_entry|cross)"),
    ("admit", r"^(shard_|shards_|conv_|authority_|moves_|op_|runner_|send_|look_step|reactor_|process|apply|notify_|bus_|"
              r"commit_arrives|heads_|cid_hash|naming_|pair_conv|request_arrives|answer|entry_committed)"),
    ("frame", r"^(lws_|rops_|__lws|assembly_|session_|ws_callback|uv_|uv__|done|request_|turn|flush|end_turn|on_before|loop_)"),
]


def record(build, window):
    """Stacks, outermost frame first, as tuples of (name, object): how often each was met; and the CPU a delivered entry."""
    with Server(build, CONNECTIONS) as server, tempfile.TemporaryDirectory(dir=build) as folder:
        data = os.path.join(folder, "perf")
        seconds = SECONDS + 4
        perf = subprocess.Popen(
            ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(RATE_HZ), "--call-graph", f"dwarf,{STACK_BYTES}",
             "-p", str(server.process.pid), "-o", data, "--", "sh", "-c", f"sleep 3; exec sleep {SECONDS}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        result = server.load("--scenario", "pairs", "--window", window, "--connections", CONNECTIONS, "--warmup", "2s",
                             "--duration", f"{seconds}s")
        perf.wait()
        text = subprocess.run(["perf", "script", "--no-inline", "-i", data, "-F", "comm,ip,sym,dso"], check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return fold(text), result["server"]["cpu_us_per_delivery"]


def fold(text):
    stacks = collections.Counter()
    for block in text.split("\n\n"):
        lines = block.strip("\n").split("\n")
        if len(lines) < 2:
            continue
        frames = [frame(line) for line in lines[1:]]
        stacks[((lines[0].strip(), "thread"),) + tuple(reversed(frames))] += 1
    return stacks


def frame(line):
    """`  7f.. name+0x12 (/lib/object.so)`"""
    found = re.match(r"\s*[0-9a-f]+ (.*?)(?:\+0x[0-9a-f]+)? \((.*)\)$", line)
    name, where = found.groups() if found else ("?", "?")
    where = "kernel" if where.startswith("[") else os.path.basename(where)
    return ("?" if name == "[unknown]" else name.split(".")[0], where)


def part_of(stack):
    for name, where in stack:
        if where == "kernel":
            part = next((p for p, pattern in CALLS if re.search(pattern, name)), None)
            if part:
                return part
    if stack[-1][1] == "kernel":
        return "kernel: else"
    if any(name in ("session_flush", "write_batch") for name, _ in stack):
        return "write"
    for name, where in reversed(stack):
        if where.startswith(("libwebsockets", "libuv")):
            return "frame"
        part = next((p for p, pattern in OURS if re.search(pattern, name)), None)
        if part:
            return part
    return "else"


def print_budget(stacks, us):
    total = sum(stacks.values())
    parts = collections.Counter()
    for stack, n in stacks.items():
        parts[part_of(stack)] += n
    print(f"{total} samples, {us:.2f} us of CPU a delivered entry")
    for part, n in parts.most_common():
        print(f"  {part:<34} {100 * n / total:5.1f} %  {us * n / total:6.2f} us")


# --- the drawing ---

WIDTH, ROW, LEAST = 1200, 15, 0.0012
COLORS = {"kernel": "#c4c8cf", "thread": "#e6e6e6", "libwebsockets": "#f2b27a", "libuv": "#f7d08a", "libc": "#9dc3e6"}


def color(where):
    return next((c for start, c in COLORS.items() if where.startswith(start)), "#a9d18e")


class Node:
    def __init__(self):
        self.n, self.below = 0, {}

    def add(self, stack, n):
        node = self
        node.n += n
        for f in stack:
            node = node.below.setdefault(f, Node())
            node.n += n


def boxes(node, x, depth, total, out):
    """(x, depth, share, frame) of what is wide enough to be seen."""
    for f, child in sorted(node.below.items()):
        share = child.n / total
        if share >= LEAST:
            out.append((x, depth, share, f))
            boxes(child, x, depth + 1, total, out)
        x += share


def draw(stacks, title, path):
    root, out = Node(), []
    for stack, n in stacks.items():
        root.add(stack, n)
    boxes(root, 0.0, 0, root.n, out)
    rows = 1 + max(b[1] for b in out)
    height = (rows + 2) * ROW
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace" font-size="10">',
             f'<text x="4" y="12">{escape(title)}</text>']
    for x, depth, share, (name, where) in out:
        left, wide = x * WIDTH, share * WIDTH
        top = height - (depth + 1) * ROW
        room = int((wide - 4) / 6.1)
        shown = name if len(name) <= room else name[:room - 1] + "…" if room > 3 else ""
        text = f'<text x="{left + 2:.1f}" y="{top + 11}">{escape(shown)}</text>' if shown else ""
        lines.append(f'<g><title>{escape(name)} ({escape(where)}) {100 * share:.1f}%</title><rect x="{left:.1f}" y="{top}" '
                     f'width="{max(wide - 0.4, 0.2):.1f}" height="{ROW - 1}" fill="{color(where)}"/>{text}</g>')
    lines.append("</svg>\n")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(lines))


def main():
    build, path = os.path.abspath(sys.argv[1]), sys.argv[2]
    window = int(sys.argv[3]) if len(sys.argv) > 3 else 8
    stacks, us = record(build, window)
    print_budget(stacks, us)
    draw(stacks, f"parleyd, {CONNECTIONS // 2} pairs, window {window}: {us:.1f} us of CPU a delivered entry", path)


if __name__ == "__main__":
    main()
