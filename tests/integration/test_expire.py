"""Messages that expire: shown to nobody from their moment on, and soon nowhere in the files; and erasing by age and by author."""
import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest
from unittest import mock

from parley import Refused, Server, cid, text
from test_erase import Files, files_with, secret
from test_lifecycle import run


HERE = os.path.dirname(os.path.abspath(__file__))


class Expiring(Files):
    """The server and the tools have a clock that the test moves: no message expires before it does."""

    async def asyncSetUp(self):
        folder = tempfile.mkdtemp(prefix="parley-test-")
        self.addCleanup(shutil.rmtree, folder, True)
        self.shift, self.clock, shim = 0, os.path.join(folder, "shift"), os.path.join(folder, "clockshift.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, os.path.join(HERE, "clockshift.c")], check=True)
        asan = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
        env = mock.patch.dict(os.environ, {"LD_PRELOAD": shim, "CLOCKSHIFT": self.clock, "ASAN_OPTIONS": asan})
        env.start()
        self.addCleanup(env.stop)
        await super().asyncSetUp()

    def pass_time(self, seconds):
        self.shift += seconds
        with open(self.clock + ".new", "w") as f:
            f.write(str(self.shift))
        os.rename(self.clock + ".new", self.clock)

    def now_ms(self):
        return int((time.time() + self.shift) * 1000)

    async def expired(self):
        """How many lost their content since the start."""
        _, _, body = await self.server.http("GET", "/metrics", raw=True)
        return next(int(line.split()[1]) for line in body.decode().splitlines()
                    if line.startswith("parley_expired_total "))

    async def until_expired(self, n):
        async with asyncio.timeout(60):
            while await self.expired() < n:
                await asyncio.sleep(0.1)
        self.assertEqual(await self.expired(), n)

    async def page(self, client, conv):
        """All entries; none that has expired has its content."""
        asked = self.now_ms()
        page = (await client.ok("history", conv=conv, limit=200))["entries"]
        for e in page:
            if e.get("expires_at", asked + 1) <= asked:
                self.fail(f"served {asked - e['expires_at']} ms too late")
        return page

    async def stores(self, *args):
        status, out, err = await run("parley", "stores", *args, "--data", self.server.data)
        self.assertEqual(status, 0, out + err)
        async with asyncio.timeout(120):
            while "left 0" not in (await run("parley", "stores", "status", "--data", self.server.data))[1]:
                await asyncio.sleep(0.1)
        return out

    async def verified(self):
        await self.server.stop()
        status, out, err = await run("parley", "verify", "--data", self.server.data)
        self.assertEqual(status, 0, out + err)


class Expire(Expiring):
    async def test_expired_messages_are_stubs_and_leave_every_file(self):
        ann, ben, cat, a, conv, secrets, cids = await self.make(expires_in=3600)
        b = await ben.connect()
        page = await self.page(b, conv)
        self.assertEqual([e["expires_at"] - e["ts"] for e in page], [3600000] * 8)
        kept = secret()
        await a.send(ben, kept, expires_in=7200)
        self.assertEqual(sum("content" in e for e in await self.page(b, conv)), 9)
        self.pass_time(3601)
        page = await self.page(b, conv)
        self.assertEqual([e.get("expired") for e in page], [True] * 8 + [None])
        self.assertEqual([e["cid"] for e in page[:8]], cids)
        self.assertEqual(page[8]["content"]["text"], kept)
        again = await a.send(ben, secrets[2], cid=cids[2], expires_in=3600)
        self.assertEqual((again["seq"], again["dup"]), (3, True))
        synced = next(c for c in (await b.ok("sync"))["conversations"] if c["conv"] == conv)
        self.assertEqual([e.get("expired") for e in synced["entries"]], [True] * 8 + [None])
        self.assertEqual(synced["unread"], 9)
        await self.until_expired(8)
        await self.until_nothing_is_left()
        self.assertEqual(files_with(self.server.data, secrets), set())
        self.assertTrue(files_with(self.server.data, [kept]))
        await self.verified()

    async def test_kills_before_and_after_the_erasing_spare_nothing(self):
        ann, ben = await self.server.users("ann", "ben")
        a, secrets = await ann.connect(), [secret() for _ in range(20)]
        for s in secrets:
            conv = (await a.send(ben, s, expires_in=3600))["conv"]
        await self.server.kill()  # before any of them expires
        self.assertTrue(files_with(self.server.data, secrets))
        self.pass_time(3601)
        await self.server.start()
        a = await ann.connect()
        self.assertEqual([e.get("expired") for e in await self.page(a, conv)], [True] * 20)
        await self.until_expired(20)
        await self.server.kill()  # the log and the tables have it all yet
        self.assertTrue(files_with(self.server.data, secrets))
        await self.server.start()
        await self.until_nothing_is_left()
        self.assertEqual(files_with(self.server.data, secrets), set())
        self.assertEqual(await self.expired(), 0)  # once was enough
        a = await ann.connect()
        self.assertEqual([e.get("expired") for e in await self.page(a, conv)], [True] * 20)
        await self.verified()

    async def test_a_dead_letter_loses_what_expired(self):
        ann, ben = await self.server.users("ann", "ben")
        a, words = await ann.connect(), secret()
        self.sql("CREATE TRIGGER poison BEFORE INSERT ON chats BEGIN SELECT RAISE(ABORT, 'poison'); END")
        conv = (await a.send(ben, words, expires_in=60))["conv"]
        self.assertEqual((await a.ok("conversation.list"))["conversations"], [])  # by then the letter is made
        self.sql("DROP TRIGGER poison")
        self.assertTrue([p for p in files_with(self.server.data, [words]) if p.startswith("tables.db")])
        self.pass_time(61)
        await self.until_expired(1)
        await self.until_nothing_is_left()
        self.assertEqual(files_with(self.server.data, [words]), set())
        await self.tool("dead", "replay", "all")
        listed = (await a.ok("conversation.list"))["conversations"]
        self.assertEqual([(c["conv"], c["last"].get("expired")) for c in listed], [(conv, True)])

    async def test_a_group_with_its_list_and_its_mentions_is_as_after_any_erasing(self):
        ann, ben = await self.server.users("ann", "ben")
        a, b = await ann.connect(), await ben.connect()
        conv = (await a.ok("group.create", cid=cid(), title="t", members=[ben.id]))["conv"]
        await a.send(conv, "gone soon", expires_in=60, mentions=[ben.id])
        event = await b.event("message")
        self.assertEqual(event["expires_at"], event["ts"] + 60000)
        self.pass_time(61)
        await self.until_expired(1)
        listed = next(c for c in (await b.ok("conversation.list"))["conversations"] if c["conv"] == conv)
        self.assertEqual((listed["unread"], listed["mentions"]), (1, 1))
        self.assertEqual(listed["last"], {k: v for k, v in event.items()
                                          if k not in ("content", "expires_at", "mentions")} | {"expired": True})

    async def test_what_is_no_time_to_live_is_refused(self):
        ann, ben = await self.server.users("ann", "ben")
        a = await ann.connect()
        for wrong in (0, -1, 315360001, 1.5, "60", None):
            with self.assertRaisesRegex(Refused, "expires_in"):
                await a.send(ben, "x", expires_in=wrong)
        sent = await a.send(ben, "x", expires_in=315360000)
        page = await self.page(a, sent["conv"])
        self.assertEqual(page[0]["expires_at"], sent["ts"] + 315360000 * 1000)
        status, _, answer = await self.server.http(
            "POST", f"/v1/users/{ben.id}/messages",
            {"content": text("y"), "expires_in": 60, "cid": cid()}, token=ann.token)
        self.assertEqual(status, 201, answer)
        self.assertEqual((await self.page(a, sent["conv"]))[1]["expires_at"] - answer["ts"], 60000)

    async def test_the_index_moves_with_its_shard(self):
        people = await self.server.users(*[f"user{i}" for i in range(30)])
        a = await people[0].connect()

        async def send(seconds):
            return [(await a.insist("message.send", user=p.id, cid=cid(), content=text(secret()), expires_in=seconds))["conv"]
                    for p in people]

        convs = await send(7200)
        await self.stores("add", "late")
        self.assertRegex(await self.stores("list"), r"late +active +[1-9]")
        await send(3600)  # to where they are now: where they were nobody knows of it
        await self.stores("drain", "late")
        self.assertNotRegex(await self.stores("list"), r"late +\S+ +[1-9]")
        self.pass_time(3601)
        await self.until_expired(30)
        for conv in convs:
            self.assertEqual([e.get("expired") for e in await self.page(a, conv)], [None, True])
        await self.verified()

    async def test_export_and_import_keep_the_time_and_never_what_has_expired(self):
        ann, ben = await self.server.users("ann", "ben")
        a, words = await ann.connect(), [secret() for _ in range(3)]
        await a.send(ben, words[0], expires_in=7200)
        await a.send(ben, words[1], expires_in=60)
        conv = (await a.send(ben, words[2]))["conv"]
        late = secret()
        soon = (await self.page(a, conv))[0]["ts"]
        await a.send(ben, late, expires_in=600)
        status, with_late, err = await run("parley", "export", "--data", self.server.data)
        self.assertEqual((status, err), (0, ""))
        self.assertIn(late, with_late)
        self.pass_time(61)
        await self.until_expired(1)
        status, out, err = await run("parley", "export", "--data", self.server.data)
        lines = [e for e in map(json.loads, out.splitlines()) if e["type"] == "entry"]
        self.assertEqual([e.get("expired") for e in lines[:3]], [None, True, None])
        self.assertEqual(lines[0]["expires_at"] - lines[0]["ts"], 7200000)
        self.pass_time(600)
        self.assertTrue((await self.page(a, conv))[3].get("expired"))
        folder = tempfile.mkdtemp(prefix="parley-test-")
        self.addCleanup(shutil.rmtree, folder, True)
        path = os.path.join(folder, "export")
        with open(path, "w") as f:
            f.write(with_late)  # whose last message has expired since
        data = os.path.join(folder, "data")
        status, out, err = await run("parley", "import", path, "--data", data)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(files_with(data, [late]), set())
        server = Server(data=data, **self.options)
        await server.start()
        try:
            status, _, answer = await server.http("POST", "/v1/accounts", {"username": "eve", "password": "correct horse"})
            self.assertEqual(status, 201)
        finally:
            await server.stop()
        status, out, err = await run("parley", "verify", "--data", data)
        self.assertEqual(status, 0, out + err)  # which finds the index as it should be
        status, out, err = await run("parley", "export", "--data", data)
        lines = [e for e in map(json.loads, out.splitlines()) if e["type"] == "entry"]
        self.assertEqual([e.get("expired") for e in lines], [None, True, None, True])
        self.assertEqual((lines[0]["expires_at"], lines[0]["content"]["text"]), (soon + 7200000, words[0]))


class EraseMore(Expiring):
    async def contents(self, client, conv):
        return [e.get("content", {}).get("text") for e in await self.page(client, conv) if e["ev"] == "message"]

    async def test_all_before_a_moment(self):
        ann, ben = await self.server.users("ann", "ben")
        a = await ann.connect()
        for i in range(600):  # more than two pages
            sent = await a.send(ben, f"m{i}")
        conv, moment = sent["conv"], sent["ts"]
        self.pass_time(1)
        await a.send(ben, "after")
        self.assertIn("0 messages", await self.tool("erase", conv, "--before", "1h"))
        self.assertIn("0 messages", await self.tool("erase", conv, "--before", "1m"))
        border = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment // 1000 + 1))
        self.assertIn("600 messages", await self.tool("erase", conv, "--before", border))
        self.assertIn("0 messages", await self.tool("erase", conv, "--before", border))
        self.assertEqual((await self.contents(a, conv))[-2:], [None, "after"])

    async def test_all_that_a_user_sent_where_they_are_and_were(self):
        ann, ben, cat = await self.server.users("ann", "ben", "cat")
        a, b, words = await ann.connect(), await ben.connect(), [secret() for _ in range(4)]
        pair = (await a.send(ben, words[0]))["conv"]
        await b.send(ann, "ben answers")
        alone = (await a.send(ann, words[1]))["conv"]
        left = (await b.ok("group.create", cid=cid(), title="left", members=[ann.id, cat.id]))["conv"]
        await a.send(left, words[2])
        await a.ok("group.leave", conv=left, cid=cid())
        stays = (await a.ok("group.create", cid=cid(), title="stays", members=[ben.id]))["conv"]
        await a.send(stays, words[3])
        await b.send(stays, "ben's")
        self.assertIn("0 messages", await self.tool("erase", "--user", "ann", "--before", "1h"))
        self.assertIn("4 messages", await self.tool("erase", "--user", "Ann"))
        self.assertIn("0 messages", await self.tool("erase", "--user", ann.id))
        self.assertEqual(await self.contents(b, pair), [None, "ben answers"])
        self.assertEqual(await self.contents(a, alone), [None])
        self.assertEqual(await self.contents(b, left), [None])
        self.assertEqual(await self.contents(b, stays), [None, "ben's"])
        await self.tool("erase", "--user", "ann", "--wait", "on")
        self.assertEqual(files_with(self.server.data, words), set())

    async def test_it_goes_on_where_it_was_interrupted(self):
        ann, ben, *others = await self.server.users("ann", "ben", *[f"user{i}" for i in range(20)])
        a = await ann.connect()
        for p in others:
            for _ in range(5):
                await a.insist("message.send", user=p.id, cid=cid(), content=text("x"))
        reader, writer = await asyncio.open_unix_connection(os.path.join(self.server.data, "admin.sock"))
        writer.write(b"erase-user ann 0\n")
        await writer.drain()
        self.assertRegex((await reader.readline()).decode(), r"^progress 0 20 0$")
        await self.server.kill()
        writer.close()
        await self.server.start()
        done = int((await self.tool("erase", "--user", "ann")).split()[0])
        self.assertLessEqual(done, 100)
        self.assertIn("0 messages", await self.tool("erase", "--user", "ann"))

    async def test_what_is_not_meant_is_refused(self):
        ann, ben = await self.server.users("ann", "ben")
        conv = (await (await ann.connect()).send(ben, "x"))["conv"]
        for wrong in ((conv,), (conv, "1", "--before", "1h"), (conv, "--before", "yesterday"), ("--user", "ann", conv),
                      ("--before", "1h"), ("--user", "no name"), ("--user", "ann", "--before", "30")):
            await self.tool("erase", *wrong, want=2)
        await self.tool("erase", "--user", "nobody", want=1)
        await self.tool("erase", "--user", "u" + "0" * 13, want=1)


if __name__ == "__main__":
    unittest.main()
