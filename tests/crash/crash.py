#!/usr/bin/python3
"""Kills a loaded server with SIGKILL at random moments, many rounds, and checks every promise after each restart.

    tests/crash/crash.py [--build build/release] [--rounds 50] [--seed N]

Several people write in chats and groups, pipelined; some read along; owners let others in and out; all confirm. Each round
has another number of threads and another size of memtables and segments; in some, the server is killed while it starts, too; some last until old logs are removed.
What is checked after every restart:
  - every acknowledged entry is there, once, under the same seq, with the same cid and content, which it has until it
    expires and not a moment longer;
  - every entry that a reader was sent is there too (what was served survives);
  - seqs are 1…n without a gap; no cid stands twice, over all rounds;
  - what was not acknowledged is sent again with its cid: it gets one seq, whether it had been committed or not;
  - receipts are where they were acknowledged, or further;
  - members and visible ranges are what the acknowledged changes make them;
  - a new device of somebody syncs just what they may see, and their history says the same.
Ends in a line `N passed, N failed` (a round is a test) and prints the seed, which replays the choices but not the timing.
"""
import argparse
import asyncio
import logging
import os
import random
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
import parley  # noqa: E402

logging.getLogger("asyncio").setLevel(logging.ERROR)  # a killed server is what this is about
WINDOW = 16
NEVER = 1 << 40  # s
REMOVAL = (3.0, 6.0)  # seconds: the logs of earlier starts go at the second or third look at them, one each 2 s
COMEBACKS = 240  # a group takes nobody back more than 256 times: shared out over the rounds


class Ledger:
    """What the world outside knows: the server must agree, for ever."""

    def __init__(self):
        self.cids = {}      # (conv, seq) -> cid, by whatever way it was told
        self.seqs = {}      # (conv, cid) -> seq, the same
        self.last = {}      # conv -> highest seq told
        self.acked = {}     # (conv, seq) -> (op, args)
        self.unacked = {}   # (user, cid) -> (op, args)
        self.history = {}   # conv -> entries read so far
        self.convs = {}     # user -> conversations they may confirm
        self.receipts = {}  # (conv, user) -> (delivered, read)
        self.owners = {}    # group -> owner
        self.members = {}   # group -> those who stay in it
        self.ranges = {}    # (group, user who comes and goes) -> [[first, last or None], …]
        self.comebacks = 0  # ranges that each of them may have by the end of this round
        self.faults = []

    def told(self, conv, seq, cid):
        if self.cids.setdefault((conv, seq), cid) != cid:
            self.faults.append(f"{conv} {seq} is {cid}, was {self.cids[(conv, seq)]}")
        if self.seqs.setdefault((conv, cid), seq) != seq:
            self.faults.append(f"{conv}: {cid} stands at {seq} and at {self.seqs[(conv, cid)]}")
        self.last[conv] = max(seq, self.last.get(conv, 0))

    def ack(self, user, cid, ok):
        op, args = self.unacked.pop((user, cid))
        conv, seq = args.get("conv") or ok["conv"], ok["seq"]
        self.told(conv, seq, cid)
        self.acked[(conv, seq)] = (op, args)
        self.convs[user].add(conv)
        if op == "group.add":
            ranges = self.ranges[(conv, args["users"][0])]
            if ranges and ranges[-1][1] == seq - 1:  # ranges that touch are one
                ranges[-1][1] = None
            else:
                ranges.append([seq, None])
        if op == "group.remove":
            self.ranges[(conv, args["users"][0])][-1][1] = seq

    def visible(self, conv, user):
        return self.ranges.get((conv, user), [[1, None]])

    def inside(self, conv, user):
        ranges = self.visible(conv, user)
        return bool(ranges) and ranges[-1][1] is None


def shows(entry, op, args):
    if op == "group.add":
        return [m["user"] for m in entry.get("added", [])] == args["users"]
    if op == "group.remove":
        return entry.get("removed") == args["users"]
    expires_at = entry["ts"] + args.get("expires_in", NEVER) * 1000
    if entry.get("expired"):
        return expires_at <= now_ms() and "content" not in entry
    return entry.get("content") == args["content"] and entry.get("expires_at", expires_at) == expires_at


def now_ms():
    return int(time.time() * 1000)


def bare(entry):
    return {k: v for k, v in entry.items() if k not in ("content", "expires_at", "expired")}


def is_still(before, after):
    """The same entry, or the same that has expired since."""
    return before == after or (after.get("expired", False) and before.get("expires_at", now_ms() + 1) <= now_ms() and
                               bare(before) == bare(after))


async def until_done(client, ledger, cid, op, args):
    """A write, with the same cid until it is acknowledged."""
    ledger.unacked.setdefault((client.user.id, cid), (op, args))
    while True:
        reply = await client.request(op, cid=cid, **args)
        if "ok" in reply:
            return ledger.ack(client.user.id, cid, reply["ok"])
        if reply["error"]["code"] != "unavailable":
            raise parley.Refused(reply["error"])
        await asyncio.sleep(reply["error"].get("retry_after_ms", 100) / 1000)


async def write(client, user, targets, ledger, rng, stop):
    """Pipelined sends until the connection dies."""
    n = 0
    under_way = set()
    while not stop.is_set():
        target = rng.choice(targets)
        cid, body = parley.cid(), f"{user.name} {n} " + "x" * rng.choice([0, 10, 100, 1000])
        n += 1
        args = {"conv" if target.startswith("c") else "user": target, "content": parley.text(body)}
        if rng.random() < 0.2:
            args["expires_in"] = rng.choice([1, 3, 3600])
        ledger.unacked[(user.id, cid)] = ("message.send", args)
        f = client.send_nowait("message.send", cid=cid, **args)

        async def wait(f=f, cid=cid):
            try:
                reply = await f
            except ConnectionError:
                return
            if "ok" in reply:
                ledger.ack(user.id, cid, reply["ok"])
            elif reply["error"]["code"] != "unavailable":
                ledger.faults.append(f"{user.id} {cid}: {reply['error']}")
        under_way.add(asyncio.ensure_future(wait()))
        if len(under_way) >= WINDOW:
            _, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            under_way = set(under_way)
        if client.close_code is not None:
            break
    if under_way:
        await asyncio.wait(under_way)


async def confirm(client, user, conv, ledger, rng):
    delivered = ledger.last[conv]
    read = rng.randint(1, delivered)
    reply = await client.request("receipt", conv=conv, delivered=delivered, read=read)
    if "ok" in reply:
        before = ledger.receipts.get((conv, user.id), (0, 0))
        ledger.receipts[(conv, user.id)] = (max(before[0], delivered), max(before[1], read))
    elif reply["error"]["code"] != "unavailable":
        ledger.faults.append(f"receipt of {user.id} in {conv}: {reply['error']}")


async def confirm_on(client, user, ledger, rng):
    """Receipts, one after the other until the connection dies."""
    while True:
        await confirm(client, user, rng.choice(sorted(ledger.convs[user.id])), ledger, rng)


async def let_in_and_out(client, user, ledger, rng):
    """What an owner does about those who come and go: one change after the other until the connection dies."""
    while True:
        own = [k for k in ledger.ranges if ledger.owners[k[0]] == user.id and len(ledger.ranges[k]) < ledger.comebacks]
        if not own:
            return
        conv, u = rng.choice(own)
        op = "group.remove" if ledger.inside(conv, u) else "group.add"
        await until_done(client, ledger, parley.cid(), op, {"conv": conv, "users": [u]})


async def until_killed(task, user, ledger):
    try:
        await task
    except ConnectionError:
        pass
    except parley.Refused as e:
        ledger.faults.append(f"{user.id}: {e}")


async def drain_events(client, ledger):
    await asyncio.wait_for(asyncio.shield(client.reader), parley.DEADLINE)
    for e in client.events:
        if "seq" in e:
            ledger.told(e["conv"], e["seq"], e["cid"])


async def read(client, conv, after=0):
    entries, more = [], True
    while more:
        asked = now_ms()
        page = await client.ok("history", conv=conv, after=entries[-1]["seq"] if entries else after, limit=200)
        late = [e for e in page["entries"] if e.get("expires_at", asked + 1) <= asked]
        assert not late, f"served after its time: {late[0]}"
        entries, more = entries + page["entries"], page["more"]
    return entries


async def check(client, conv, ledger):
    """Reads on from what was read before and compares."""
    known = ledger.history.setdefault(conv, [])
    for e in await read(client, conv, len(known)):
        if e["seq"] != len(known) + 1:
            ledger.faults.append(f"{conv}: {e['seq']} follows {len(known)}")
        known.append(e)
        ledger.told(conv, e["seq"], e["cid"])
        op, args = ledger.acked.get((conv, e["seq"]), (None, None))
        if op and not shows(e, op, args):
            ledger.faults.append(f"{conv} {e['seq']} is {str(e)[:200]}, acknowledged was {op} {str(args)[:200]}")
    if ledger.last.get(conv, 0) > len(known):
        ledger.faults.append(f"{conv}: {ledger.last[conv]} is gone, the last is {len(known)}")


async def check_all(clients, ledger):
    for conv in list(ledger.last):
        for c in clients.values():
            if "ok" in await c.request("history", conv=conv, limit=1):
                await check(c, conv, ledger)
                break
        else:
            ledger.faults.append(f"{conv} is gone")


async def check_receipts(clients, ledger):
    for (conv, user), (delivered, read_) in ledger.receipts.items():
        rows = (await clients[user].ok("receipt.list", conv=conv))["receipts"]
        row = next((r for r in rows if r["user"] == user), {"delivered": 0, "read": 0})
        if row["delivered"] < delivered or row["read"] < read_:
            ledger.faults.append(f"receipt of {user} in {conv}: {row}, acknowledged was {delivered}, {read_}")


async def check_groups(clients, ledger):
    for conv, owner in ledger.owners.items():
        have = {m["user"] for m in (await clients[owner].ok("group.members", conv=conv))["members"]}
        want = ledger.members[conv] | {u for c, u in ledger.ranges if c == conv and ledger.inside(c, u)}
        if have != want:
            ledger.faults.append(f"{conv}: members {have}, must be {want}")
        for c, u in ledger.ranges:
            if c == conv and ledger.ranges[(c, u)]:
                visible = (await clients[u].ok("conversation.get", conv=conv))["visible"]
                want = ledger.ranges[(c, u)]
                if visible != want:
                    ledger.faults.append(f"{conv}: {u} sees also {[r for r in visible if r not in want]}, "
                                         f"must see {[r for r in want if r not in visible]}")


async def check_sync(client, ledger):
    """What a new device syncs, and history, are what its user may see of what was read before."""
    user = client.user
    device = await user.login()
    c = await device.connect()
    synced, page = {}, {"more": True}
    while page["more"]:
        page = await c.ok("sync", limit=1000, **({"cursor": page["cursor"]} if "cursor" in page else {}))
        for item in page["conversations"]:
            synced.setdefault(item["conv"], []).extend(item["entries"])
    for conv, entries in synced.items():
        want = [e for e in ledger.history.get(conv, [])
                if any(a <= e["seq"] and (b is None or e["seq"] <= b) for a, b in ledger.visible(conv, user.id))]
        for how, have in (("sync", entries), ("history", await read(c, conv))):
            if len(have) != len(want) or not all(map(is_still, want, have)):
                ledger.faults.append(f"{conv}: {how} gives {user.id} {len(have)} entries, must be {len(want)}")
    for conv in ledger.convs[user.id] - set(synced):
        ledger.faults.append(f"{conv}: sync does not give it to {user.id}")
    await c.close()
    await client.ok("device.revoke", device=device.device)


async def kill_starting(server, moment):
    """Starts the server and kills it after `moment` seconds. Whether it was still starting."""
    with open(server.log_path, "ab") as log:
        process = await asyncio.create_subprocess_exec(*server.command(), stdout=asyncio.subprocess.PIPE, stderr=log)
    try:
        line = await asyncio.wait_for(process.stdout.readline(), moment)
        if not line:
            raise AssertionError("the server did not start")
        return False
    except asyncio.TimeoutError:
        return True
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def run(args):
    rng, load = random.Random(args.seed), random.Random(f"load {args.seed}")
    data = tempfile.mkdtemp(prefix="parley-crash-")
    server = parley.Server(data=data, memtable="1m", segment="4m")
    ledger = Ledger()
    passed = failed = killed_starting = 0
    await server.start()
    try:
        people = await server.users(*[f"user{i}" for i in range(8)])
        stay, movers = people[:6], people[6:]
        targets = {p.id: [people[i ^ 1].id] for i, p in enumerate(people)}
        ledger.convs = {p.id: set() for p in people}
        for g in range(2):
            owner = people[g]
            made = await owner.http_ok("POST", "/v1/groups", {"title": f"group {g}", "cid": f"g{g}",
                                                             "members": [p.id for p in stay if p is not owner]})
            conv = made["conv"]
            ledger.told(conv, 1, f"g{g}")
            ledger.owners[conv], ledger.members[conv] = owner.id, {p.id for p in stay}
            ledger.ranges.update({(conv, p.id): [] for p in movers})
            for p in stay:
                targets[p.id].append(conv)
                ledger.convs[p.id].add(conv)
        for p in people:
            c = await p.connect()
            first = {"user": targets[p.id][0], "content": parley.text("first")}
            await until_done(c, ledger, parley.cid(), "message.send", first)
            await c.close()
        for n in range(args.rounds):
            before = len(ledger.faults)
            ledger.comebacks = COMEBACKS * (n + 1) // args.rounds
            clients = {p.id: await p.connect() for p in people}
            stop = asyncio.Event()
            tasks = [asyncio.ensure_future(write(clients[p.id], p, targets[p.id], ledger, load, stop)) for p in people]
            tasks += [asyncio.ensure_future(until_killed(does(clients[p.id], p, ledger, load), p, ledger))
                      for p in people for does in (confirm_on, let_in_and_out)]
            life = rng.uniform(*(REMOVAL if n % 8 == 3 else (0.02, args.longest)))
            await asyncio.sleep(life)  # the moment of the kill, not a wait for an effect
            await server.kill()
            stop.set()
            await asyncio.gather(*tasks)
            await asyncio.gather(*[drain_events(c, ledger) for c in clients.values()])
            server.options.update(threads=rng.randint(1, 4), memtable=rng.choice(["64k", "256k", "1m"]),
                                  segment=rng.choice(["4m", "8m"]))
            for _ in range(rng.choice([0, 0, 1, 2, 3])):
                killed_starting += await kill_starting(server, rng.uniform(0, 0.15))
            await server.start()
            clients = {p.id: await p.connect() for p in people}
            left = len(ledger.unacked)
            await check_all(clients, ledger)
            await check_receipts(clients, ledger)
            for (user, cid), (op, what) in list(ledger.unacked.items()):
                await until_done(clients[user], ledger, cid, op, what)
            await check_all(clients, ledger)
            await check_groups(clients, ledger)
            await check_sync(clients[rng.choice(people).id], ledger)
            for c in clients.values():
                await c.close()
            good = len(ledger.faults) == before
            passed, failed = passed + good, failed + (not good)
            print(f"round {n + 1}: {len(ledger.acked)} acknowledged, {len(ledger.cids)} known, {left} sent again, "
                  f"{killed_starting} times killed while it started" + ("" if good else ", FAILED"), flush=True)
            if not good:
                print("\n".join(ledger.faults[before:before + 10]))
        # Once more from the first entry, in a server that was ended in good order.
        await server.restart()
        before = len(ledger.faults)
        clients = {p.id: await p.connect() for p in people}
        await check_receipts(clients, ledger)
        await check_groups(clients, ledger)
        for c in clients.values():
            await check_sync(c, ledger)
            await c.close()
        good = len(ledger.faults) == before
        passed, failed = passed + good, failed + (not good)
        if not good:
            print("\n".join(ledger.faults[before:before + 10]))
    except BaseException:
        failed += 1  # keeps the folder
        print(f"seed {args.seed}")
        print(server.tail())
        raise
    finally:
        await server.stop(parley.signal.SIGKILL)
        if not failed:
            shutil.rmtree(data, ignore_errors=True)
            os.unlink(server.log_path)
    print(f"seed {args.seed}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=parley.build_dir())
    p.add_argument("--rounds", type=int, default=50)
    p.add_argument("--longest", type=float, default=1.0, help="seconds of load before most kills, at most")
    p.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    args = p.parse_args()
    os.environ["PARLEY_BUILD"] = os.path.abspath(args.build)
    sys.exit(asyncio.run(run(args)))


if __name__ == "__main__":
    main()
