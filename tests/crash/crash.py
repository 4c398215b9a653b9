#!/usr/bin/python3
"""Kills a loaded server with SIGKILL at random moments, many rounds, and checks every promise after each restart.

    tests/crash/crash.py [--build build/release] [--rounds 50] [--seed N]

Several people write in chats and groups, pipelined; some read along. What is checked after every restart:
  - every acknowledged entry is there, once, under the same seq, with the same cid and content;
  - every entry that a reader was sent is there too (what was served survives);
  - seqs are 1…n without a gap; no cid stands twice;
  - what was not acknowledged is sent again with its cid: it gets one seq, whether it had been committed or not.
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

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
import parley  # noqa: E402

logging.getLogger("asyncio").setLevel(logging.ERROR)  # a killed server is what this is about
WINDOW = 16


class Ledger:
    """What the world outside knows: the server must agree, for ever."""

    def __init__(self):
        self.acked = {}      # (conv, seq) -> (cid, text)
        self.seen = {}       # (conv, seq) -> cid, from events
        self.by_cid = {}     # (user, conv or peer, cid) -> (conv, seq)
        self.unacked = {}    # (user, target, cid) -> text
        self.checked = {}    # conv -> seq up to which history was compared
        self.faults = []

    def ack(self, user, target, cid, text, ok):
        key, place = (user, target, cid), (ok["conv"], ok["seq"])
        if self.by_cid.setdefault(key, place) != place:
            self.faults.append(f"{cid} was acknowledged at {self.by_cid[key]} and then at {place}")
        if self.acked.setdefault(place, (cid, text)) != (cid, text):
            self.faults.append(f"{place} was given to {self.acked[place]} and to {cid}")
        self.unacked.pop(key, None)

    def event(self, e):
        if e["ev"] == "message" and self.seen.setdefault((e["conv"], e["seq"]), e["cid"]) != e["cid"]:
            self.faults.append(f"{e['conv']} {e['seq']} was sent as {e['cid']} and as {self.seen[(e['conv'], e['seq'])]}")


async def write(client, user, targets, ledger, rng, stop):
    """Pipelined sends until the connection dies."""
    n = 0
    under_way = set()
    while not stop.is_set():
        target = rng.choice(targets)
        cid, body = parley.cid(), f"{user.name} {n} " + "x" * rng.choice([0, 10, 100, 1000])
        n += 1
        key = (user.id, target, cid)
        ledger.unacked[key] = body
        where = {"conv": target} if target.startswith("c") else {"user": target}
        f = client.send_nowait("message.send", **where, cid=cid, content=parley.text(body))

        async def wait(f=f, key=key, body=body):
            try:
                reply = await f
            except ConnectionError:
                return
            if "ok" in reply:
                ledger.ack(*key, body, reply["ok"])
            elif reply["error"]["code"] != "unavailable":
                ledger.faults.append(f"{key}: {reply['error']}")
        under_way.add(asyncio.ensure_future(wait()))
        if len(under_way) >= WINDOW:
            _, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            under_way = set(under_way)
        if client.close_code is not None:
            break
    if under_way:
        await asyncio.wait(under_way)


async def drain_events(client, ledger):
    await asyncio.wait_for(asyncio.shield(client.reader), parley.DEADLINE)
    for e in client.events:
        if "seq" in e:
            ledger.event(e)


async def check(client, conv, ledger):
    """Reads on from what was compared before and compares."""
    after, known = ledger.checked.get(conv, 0), set()
    while True:
        page = await client.ok("history", conv=conv, after=after, limit=200)
        for e in page["entries"]:
            if e["seq"] != after + 1:
                ledger.faults.append(f"{conv}: {e['seq']} follows {after}")
            after = e["seq"]
            place = (conv, e["seq"])
            if e["cid"] in known:
                ledger.faults.append(f"{conv}: {e['cid']} stands twice")
            known.add(e["cid"])
            if place in ledger.acked and (e["cid"], e["content"]["text"]) != ledger.acked[place]:
                ledger.faults.append(f"{place} holds {e['cid']}, acknowledged was {ledger.acked[place][0]}")
            if place in ledger.seen and ledger.seen[place] != e["cid"]:
                ledger.faults.append(f"{place} holds {e['cid']}, sent was {ledger.seen[place]}")
        if not page["more"]:
            break
    for book in (ledger.acked, ledger.seen):
        for c, seq in book:
            if c == conv and seq > after:
                ledger.faults.append(f"{conv}: {seq} is gone, the last is {after}")
    ledger.checked[conv] = after


async def retry_unacked(clients, ledger):
    for (user, target, cid), body in list(ledger.unacked.items()):
        where = {"conv": target} if target.startswith("c") else {"user": target}
        ok = await clients[user].insist("message.send", **where, cid=cid, content=parley.text(body))
        ledger.ack(user, target, cid, body, ok)


async def run(args):
    rng = random.Random(args.seed)
    data = tempfile.mkdtemp(prefix="parley-crash-")
    server = parley.Server(data=data, memtable="1m", segment="4m")
    ledger = Ledger()
    passed = failed = 0
    await server.start()
    try:
        people = await server.users(*[f"user{i}" for i in range(8)])
        targets = {p.id: [people[i ^ 1].id] for i, p in enumerate(people)}
        for g in range(2):
            owner = people[g]
            made = await owner.http_ok("POST", "/v1/groups", {"title": f"group {g}", "cid": f"g{g}",
                                                             "members": [p.id for p in people if p is not owner]})
            for p in people:
                targets[p.id].append(made["conv"])
        for n in range(args.rounds):
            clients = {p.id: await p.connect() for p in people}
            stop = asyncio.Event()
            writers = [asyncio.ensure_future(write(clients[p.id], p, targets[p.id], ledger, rng, stop)) for p in people]
            await asyncio.sleep(rng.uniform(0.02, args.longest))  # the moment of the kill, not a wait for an effect
            await server.kill()
            stop.set()
            await asyncio.gather(*writers)
            await asyncio.gather(*[drain_events(c, ledger) for c in clients.values()])
            before = len(ledger.faults)
            await server.start()
            clients = {p.id: await p.connect() for p in people}
            convs = {c for c, _ in list(ledger.acked) + list(ledger.seen)}
            left = len(ledger.unacked)
            for conv in convs:
                for p in people:
                    reply = await clients[p.id].request("history", conv=conv, limit=1)
                    if "ok" in reply:
                        await check(clients[p.id], conv, ledger)
                        break
                else:
                    ledger.faults.append(f"{conv} is gone")
            await retry_unacked(clients, ledger)
            for c in clients.values():
                await c.close()
            good = len(ledger.faults) == before
            passed, failed = passed + good, failed + (not good)
            print(f"round {n + 1}: {len(ledger.acked)} acknowledged, {len(ledger.seen)} seen, {left} sent again"
                  + ("" if good else ", FAILED"), flush=True)
            if not good:
                print("\n".join(ledger.faults[before:before + 10]))
        # Once more from the first entry, in a server that was ended in good order.
        await server.restart()
        ledger.checked.clear()
        before = len(ledger.faults)
        for p in people:
            c = await p.connect()
            for conv in {c for c, _ in ledger.acked}:
                if "ok" in await c.request("history", conv=conv, limit=1):
                    await check(c, conv, ledger)
            await c.close()
        good = len(ledger.faults) == before
        passed, failed = passed + good, failed + (not good)
        if not good:
            print("\n".join(ledger.faults[before:before + 10]))
    except BaseException:
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
    p.add_argument("--longest", type=float, default=1.0, help="seconds of load before a kill, at most")
    p.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    args = p.parse_args()
    os.environ["PARLEY_BUILD"] = os.path.abspath(args.build)
    sys.exit(asyncio.run(run(args)))


if __name__ == "__main__":
    main()
