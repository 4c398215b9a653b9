"""Erased messages are stubs at once, and soon nowhere in the files: neither in their bytes nor in what tables decode to."""
import asyncio
import base64
import os
import random
import sqlite3
import unittest

import tablefile
from parley import Case, build_dir, cid, text

DECODED = " (decoded)"


def secret():
    """Text that no compression shortens: it lies in the files as it is."""
    return base64.b64encode(random.randbytes(600)).decode()


def wordy():
    """Text that compresses well: of a table only the decoded blocks show all of it."""
    words = [base64.b64encode(random.randbytes(6)).decode() for _ in range(6)]
    return " ".join(random.choice(words) for _ in range(80))


def files_with(folder, words):
    """The files that hold any piece of one of these texts, and the tables whose blocks do."""
    pieces = [w[i:i + 16].encode() for w in words for i in range(0, len(w) - 16, 48)]
    found = {os.path.relpath(path, folder) + DECODED
             for path, content in tablefile.of_folder(folder) if any(p in content for p in pieces)}
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            try:
                with open(path, "rb") as f:
                    content = f.read()
            except OSError:  # a socket, or gone meanwhile
                continue
            if any(p in content for p in pieces):
                found.add(os.path.relpath(path, folder))
    return found


class Files(Case):
    """A server and what is found in its files."""
    options = {"erase_within": "10s", "memtable": "64k", "segment": "4m", "threads": 2}

    async def tool(self, *args, want=0):
        p = await asyncio.create_subprocess_exec(os.path.join(build_dir(), "parley"), *args, "--data", self.server.data,
                                                 stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        out, err = await asyncio.wait_for(p.communicate(), 120)
        self.assertEqual(p.returncode, want, (out, err))
        return out.decode()

    async def make(self, **send):
        """Two people, a talk between them, and traffic in other conversations until its store has a table with it."""
        ann, ben, cat = await self.server.users("ann", "ben", "cat")
        a = await ann.connect()
        secrets, cids = [wordy() if i % 2 else secret() for i in range(8)], [cid() for _ in range(8)]
        for s, c in zip(secrets, cids):
            sent = await a.send(ben, s, cid=c, **send)
        conv = sent["conv"]
        for _ in range(100):
            group = await a.ok("group.create", cid=cid(), title="noise", members=[cat.id])
            for _ in range(40):
                await a.insist("message.send", conv=group["conv"], cid=cid(), content=text(secret()))
            if self.places(secrets[-1:]) >= {"log", "decoded"}:
                break
        for s in secrets:  # else their absence would prove nothing
            self.assertGreaterEqual(self.places([s]), {"log", "decoded"})
        return ann, ben, cat, a, conv, secrets, cids

    def places(self, words):
        """In which kinds of files these are."""
        found = files_with(self.server.data, words)
        return {"decoded" if p.endswith(DECODED) else p.split(os.sep)[0] for p in found}

    def sql(self, line):
        db = sqlite3.connect(os.path.join(self.server.data, "tables.db"), timeout=20)
        db.execute(line)
        db.commit()
        db.close()

    async def until_nothing_is_left(self):
        async with asyncio.timeout(60):
            while "nothing" not in await self.tool("erase", "--status", "on"):
                await asyncio.sleep(0.2)

    async def busy(self, a, other, done):
        while not done.is_set():
            await a.insist("message.send", user=other.id, cid=cid(), content=text(secret()))


class Erase(Files):
    async def test_erased_messages_are_stubs_and_leave_every_file(self):
        ann, ben, cat, a, conv, secrets, cids = await self.make()
        done = asyncio.Event()
        traffic = asyncio.create_task(self.busy(await cat.connect(), ann, done))
        self.assertIn("6 messages", await self.tool("erase", conv, "2-5", "6", "7"))
        self.assertIn("0 messages", await self.tool("erase", conv, "2-7"))
        page = await a.ok("history", conv=conv)
        self.assertEqual([e["seq"] for e in page["entries"]], list(range(1, 9)))
        for e in page["entries"]:
            self.assertEqual("content" not in e and e.get("deleted") is True, 2 <= e["seq"] <= 7, e)
        again = await a.send(ben, secrets[2], cid=cids[2])
        self.assertEqual((again["seq"], again["dup"]), (3, True))
        b = await ben.connect()
        synced = (await b.ok("sync"))["conversations"][0]
        self.assertEqual([e.get("deleted") for e in synced["entries"]], [None] + [True] * 6 + [None])
        self.assertEqual(synced["unread"], 8)
        await self.tool("erase", conv, "2", "--wait", "on")
        self.assertEqual(files_with(self.server.data, secrets[1:7]), set())
        self.assertTrue(files_with(self.server.data, [secrets[0], secrets[7]]))
        self.assertIn("nothing", await self.tool("erase", "--status", "on"))
        done.set()
        await traffic

    async def test_kills_between_the_answer_and_the_purge_spare_nothing(self):
        await self.server.restart(erase_within="1h")  # however slow the machine is
        ann, ben, cat, a, conv, secrets, cids = await self.make()
        self.assertIn("8 messages", await self.tool("erase", conv, "1-8"))
        await self.server.kill()
        for s in secrets:
            self.assertGreaterEqual(self.places([s]), {"log", "decoded"})
        await self.server.start()  # and nobody erases anything any more
        await self.server.kill()
        self.assertTrue(files_with(self.server.data, secrets))
        self.server.options["erase_within"] = "10s"
        await self.server.start()
        await self.until_nothing_is_left()
        a = await ann.connect()
        page = await a.ok("history", conv=conv)
        self.assertEqual([e.get("deleted") for e in page["entries"]], [True] * 8)
        self.assertEqual(files_with(self.server.data, secrets), set())
        await self.server.stop()
        self.assertEqual(files_with(self.server.data, secrets), set())

    async def test_a_dead_letter_loses_what_was_erased_and_is_replayed_as_a_stub(self):
        ann, ben = await self.server.users("ann", "ben")
        a, words = await ann.connect(), secret()
        self.sql("CREATE TRIGGER poison BEFORE INSERT ON chats BEGIN SELECT RAISE(ABORT, 'poison'); END")
        conv = (await a.send(ben, words))["conv"]
        listed = await a.ok("conversation.list")  # waits for the tables: by then the letter is made
        self.assertEqual(listed["conversations"], [])
        self.sql("DROP TRIGGER poison")
        self.assertIn(words.encode().hex(), await self.tool("dead", "show", "1"))
        self.assertTrue([p for p in files_with(self.server.data, [words]) if p.startswith("tables.db")])
        await self.tool("erase", conv, "1", "--wait", "on")
        self.assertEqual(files_with(self.server.data, [words]), set())
        self.assertNotIn(words.encode().hex(), await self.tool("dead", "show", "1"))
        await self.tool("dead", "replay", "all")
        listed = await a.ok("conversation.list")
        self.assertEqual([c["conv"] for c in listed["conversations"]], [conv])

    async def test_a_kill_before_the_tables_heard_of_an_erasing_spares_no_letter(self):
        ann, ben = await self.server.users("ann", "ben")
        a, words = await ann.connect(), secret()
        self.sql("CREATE TRIGGER poison BEFORE INSERT ON chats BEGIN SELECT RAISE(ABORT, 'poison'); END")
        conv = (await a.send(ben, words))["conv"]
        await a.ok("conversation.list")
        self.sql("DROP TRIGGER poison")
        await self.tool("erase", conv, "1")
        await self.server.kill()
        await self.server.start()
        await self.until_nothing_is_left()
        self.assertEqual(files_with(self.server.data, [words]), set())
        await self.tool("dead", "replay", "all")

    async def test_a_profiles_old_text_leaves_every_file(self):
        ann = await self.server.user("ann")
        old, new = secret()[:120], secret()[:120]
        for words in (old, new):
            await ann.http_ok("PATCH", "/v1/users/me", {"status": words})
        self.assertGreaterEqual(self.places([old]), {"log", "tables.db-wal"})
        self.assertNotIn("nothing", await self.tool("erase", "--status", "on"))
        await self.until_nothing_is_left()
        self.assertEqual(files_with(self.server.data, [old]), set())
        me = await ann.http_ok("GET", f"/v1/users/{ann.id}")
        self.assertEqual(me["status"], new)
        await self.server.kill()  # its record is in no log any more, but in the tables
        await self.server.start()
        self.assertEqual((await ann.http_ok("GET", f"/v1/users/{ann.id}"))["status"], new)

    async def age(self):
        _, _, body = await self.server.http("GET", "/metrics", raw=True)
        return next(int(line.split()[1]) for line in body.decode().splitlines()
                    if line.startswith("parley_erased_age_seconds "))

    async def test_a_reader_of_the_tables_delays_it_which_is_said_and_heals(self):
        ann, old = await self.server.user("ann"), secret()[:120]
        await ann.http_ok("PATCH", "/v1/users/me", {"status": old})
        reader = sqlite3.connect(os.path.join(self.server.data, "tables.db"), isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM users").fetchone()
        await ann.http_ok("PATCH", "/v1/users/me", {"status": "new"})
        async with asyncio.timeout(60):
            while await self.age() < 6:  # it was due after 2.5 s, and is tried every 2 s
                await asyncio.sleep(0.2)
        self.assertIn("tables.db-wal", self.places([old]))
        reader.execute("COMMIT")
        reader.close()
        await self.until_nothing_is_left()
        self.assertEqual(files_with(self.server.data, [old]), set())

    async def test_what_is_not_there_is_said(self):
        await self.tool("erase", "c" + "A" * 22, "1", want=2)
        ann, ben, cat, a, conv, secrets, cids = await self.make()
        self.assertIn("0 messages", await self.tool("erase", conv, "100-200"))


if __name__ == "__main__":
    unittest.main()
