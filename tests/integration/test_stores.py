"""Stores: which there are and what they hold, of a running and of a stopped server."""
import asyncio
import os
import random
import re
import shutil
import tempfile

from parley import Case, cid, text
from test_lifecycle import entries, run


class Stores(Case):
    options = {"threads": 2, "stores": 3}

    async def list(self):
        status, out, err = await run("parley", "stores", "list", "--data", self.server.data)
        self.assertEqual((status, err), (0, ""), out)
        return re.findall(r"^(\S+) +(\S+) +(\d+) shards$", out, re.M)

    async def test_each_shard_has_one_store_whether_the_server_runs_or_not(self):
        running = await self.list()
        self.assertEqual([(name, state) for name, state, _ in running],
                         [(f"store{i}", "active") for i in range(3)])
        self.assertEqual(sum(int(n) for _, _, n in running), 256)
        await self.server.stop()
        self.assertEqual(await self.list(), running)

    async def test_a_lost_placement_is_named_and_the_server_does_not_start(self):
        await self.server.stop()
        os.rename(os.path.join(self.server.data, "placement"), os.path.join(self.server.data, "kept"))
        status, _, err = await run("parleyd", "--data", self.server.data, "--listen", "127.0.0.1:0")
        self.assertNotEqual(status, 0)
        self.assertIn("placement is missing", err)
        self.assertFalse(os.path.exists(os.path.join(self.server.data, "placement")))
        status, _, err = await run("parley", "stores", "list", "--data", self.server.data)
        self.assertEqual(status, 1)
        self.assertIn("placement is missing", err)
        os.rename(os.path.join(self.server.data, "kept"), os.path.join(self.server.data, "placement"))
        await self.server.start()
        await self.server.user("ana")


class Moving(Case):
    """Stores come and go while clients send: nothing is lost, doubled, moved or refused."""
    options = {"threads": 2}
    PEOPLE, BUSY = 40, 12

    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.people = await self.server.users(*[f"user{i}" for i in range(self.PEOPLE)])
        self.acked = {}  # conversation: {cid: seq}
        self.sent = 0
        self.groups = {}  # group: (its owner, who is in)

    async def stores(self, *args):
        status, out, err = await run("parley", "stores", *args, "--data", self.server.data)
        self.assertEqual((status, err), (0, ""), out)
        return out

    async def status(self):
        return dict(line.split(" ", 1) for line in (await self.stores("status")).splitlines()
                    if not line.startswith("store "))

    async def settled(self, seconds=180):
        """Waits until nothing is left to move."""
        async def wait():
            while (await self.status())["left"] != "0":
                await asyncio.sleep(0.1)
        await asyncio.wait_for(wait(), seconds)

    async def shards(self):
        out = await self.stores("list")
        return {name: int(n) for name, _, n in re.findall(r"^(\S+) +(\S+) +(\d+) shards$", out, re.M)}

    async def send(self, client, to):
        """Two at a time without waiting: they keep their order. None is refused."""
        names = [cid(), cid()]
        futures = [client.send_nowait("message.send", user=to.id, cid=n, content=text(n)) for n in names]
        got = []
        for name, reply in zip(names, await asyncio.wait_for(asyncio.gather(*futures), 30)):
            self.assertIn("ok", reply)
            got.append(reply["ok"]["seq"])
            self.acked.setdefault(reply["ok"]["conv"], {})[name] = reply["ok"]["seq"]
        self.assertLess(got[0], got[1])
        self.sent += 2
        return reply["ok"]["conv"], got[1]

    async def change_groups(self, client, i, new):
        """Makes a group, or lets somebody in or out of one's own; what is unanswered is unknown."""
        me = self.people[i]
        if new:
            members = {self.people[(i + k) % self.PEOPLE].id for k in (1, 2)}
            made = await client.ok("group.create", title="some", members=list(members), cid=cid())
            self.groups[made["conv"]] = (me, members | {me.id})
            return
        conv, (_, members) = random.choice([g for g in self.groups.items() if g[1][0] is me])
        other = self.people[(i + 3) % self.PEOPLE].id
        del self.groups[conv]
        if other in members:
            await client.ok("group.remove", conv=conv, users=[other], cid=cid())
        else:
            await client.ok("group.add", conv=conv, users=[other], cid=cid())
        self.groups[conv] = (me, members ^ {other})

    async def check_groups(self):
        """The store and the tables agree on who is in."""
        lists = {}
        for person in self.people:
            client = await person.connect()
            lists[person.id] = set(await conversations(client))
            for conv, (owner, members) in self.groups.items():
                if owner is person:
                    answer = await client.ok("group.members", conv=conv)
                    self.assertEqual({m["user"] for m in answer["members"]}, members)
            await client.close()
        for conv, (_, members) in self.groups.items():
            for user in members:
                self.assertIn(conv, lists[user])

    def open_in(self, store):
        """What the server has open of a store."""
        fds, found = f"/proc/{self.server.process.pid}/fd", []
        for fd in os.listdir(fds):
            try:
                path = os.readlink(os.path.join(fds, fd))
            except FileNotFoundError:
                continue
            if f"/stores/{store}/" in path:
                found.append(path)
        return found

    async def keep_sending(self, i, until):
        client = await self.people[i].connect()
        await self.change_groups(client, i, new=True)
        n = 0
        while not until.is_set():
            n += 1
            conv, seq = await self.send(client, self.people[(i + 1 + n) % self.PEOPLE])
            if n % 3 == 0:
                await client.ok("receipt", conv=conv, read=seq)
                await client.ok("typing", conv=conv, on=True)
            if n % 4 == 0:
                await self.change_groups(client, i, new=n % 40 == 0)
            if n % 5 == 0:
                await client.ok("conversation.list", limit=50)
            if n % 7 == 0:
                await client.ok("sync", since={})
        await client.close()

    async def check(self):
        """Every acked entry is there once, in order, and repeats are told so."""
        clients = {}
        members = {}
        for person in self.people:
            client = clients[person.id] = await person.connect()
            for c in await conversations(client):
                members.setdefault(c, person.id)
        for conv, acked in self.acked.items():
            got = await entries(clients[members[conv]], conv)
            self.assertEqual([e["seq"] for e in got], list(range(1, len(got) + 1)))
            found = [e["content"]["text"] for e in got]
            self.assertEqual(len(set(found)), len(found))
            self.assertLessEqual(set(acked), set(found))
            for e in got:
                if e["content"]["text"] in acked:
                    self.assertEqual(e["seq"], acked[e["content"]["text"]])
            e = got[-1]
            again = await clients[e["from"]].ok("message.send", conv=conv, cid=e["cid"], content=e["content"])
            self.assertEqual((again["seq"], again["dup"]), (e["seq"], True))
        for client in clients.values():
            await client.close()
        await self.check_groups()

    async def verified(self):
        await self.server.stop()
        status, out, err = await run("parley", "verify", "--data", self.server.data)
        self.assertEqual(status, 0, out + err)

    async def test_a_store_comes_and_another_goes_while_clients_send(self):
        before = await self.shards()
        until = asyncio.Event()
        senders = [asyncio.create_task(self.keep_sending(i, until)) for i in range(self.BUSY)]
        await self.stores("add", "late")
        await self.settled()
        after = await self.shards()
        self.assertGreater(after["late"], 0)
        self.assertLessEqual(after["late"], 256 * 11 // 50)
        self.assertEqual(sum(after.values()), 256)
        moved = int((await self.status())["moved"])
        self.assertLess(moved, 256 * 2 // 5)  # its share, and few for the bound on each
        self.assertGreaterEqual(moved, after["late"])
        self.assertEqual(len(before) + 1, len(after))
        await self.stores("drain", "store0")
        await self.settled()
        self.assertNotIn("store0", await self.shards())
        self.assertFalse(os.path.exists(os.path.join(self.server.data, "stores", "store0")))
        self.assertEqual(self.open_in("store0"), [])
        until.set()
        await asyncio.gather(*senders)
        self.assertGreater(self.sent, 100)
        await self.check()
        await self.server.restart()
        await self.check()
        await self.verified()
        await self.server.start()
        await self.settled()
        self.assertFalse(os.path.exists(os.path.join(self.server.data, "stores", "store0", "MANIFEST")))
        await self.check()

    async def test_a_server_killed_while_shards_move_loses_nothing_and_goes_on(self):
        await self.stores("add", "late")
        for _ in range(4):
            until = asyncio.Event()
            senders = [asyncio.create_task(self.keep_sending(i, until)) for i in range(self.BUSY)]
            moved = 0
            while moved < 3:
                moved = int((await self.status())["moved"])
                for s in senders:
                    if s.done():
                        s.result()
            await self.server.kill()
            until.set()
            for done in await asyncio.gather(*senders, return_exceptions=True):
                self.assertIsInstance(done, (ConnectionError, type(None)), repr(done))
            await self.server.start()
            await self.check()
        await self.settled()
        self.assertEqual(sum((await self.shards()).values()), 256)
        await self.check()
        await self.verified()
        await self.server.start()
        await self.check()

    async def test_a_backup_made_while_shards_move_is_whole(self):
        folder = tempfile.mkdtemp(prefix="parley-test-")
        self.addCleanup(shutil.rmtree, folder, True)
        until = asyncio.Event()
        senders = [asyncio.create_task(self.keep_sending(i, until)) for i in range(self.BUSY)]
        await self.stores("add", "late")
        while int((await self.status())["moved"]) < 2:
            pass
        acked = {conv: dict(seqs) for conv, seqs in self.acked.items()}
        status, out, err = await run("parley", "backup", folder, "--data", self.server.data, "--rate", "0")
        self.assertEqual(status, 0, out + err)
        until.set()
        await asyncio.gather(*senders)
        await self.settled()
        await self.check()
        await self.server.stop()
        status, out, _ = await run("parley", "backup", "list", folder)
        name = next(n for n in os.listdir(folder) if n in out)
        status, out, err = await run("parley", "restore", os.path.join(folder, name), "--data", folder + "/restored")
        self.assertEqual(status, 0, out + err)
        self.server.data, self.acked, self.groups = folder + "/restored", acked, {}
        await self.server.start()
        await self.check()
        await self.settled()
        await self.check()
        await self.verified()

    async def test_what_cannot_be_is_refused_with_a_reason(self):
        async def refused(*args):
            status, _, err = await run("parley", "stores", *args, "--data", self.server.data)
            self.assertEqual(status, 1)
            return err
        self.assertIn("there is a store of this name", await refused("add", "store0"))
        self.assertIn("a-z", await refused("add", "No"))
        self.assertIn("no store of this name", await refused("drain", "nowhere"))
        await self.server.stop()
        self.assertIn("no server runs", await refused("add", "late"))


async def conversations(client):
    """All of a user's conversations, by pages."""
    got, cursor = [], {}
    while True:
        page = await client.ok("conversation.list", limit=100, **cursor)
        got += [c["conv"] for c in page["conversations"]]
        if not page["more"]:
            return got
        cursor = {"cursor": page["cursor"]}
