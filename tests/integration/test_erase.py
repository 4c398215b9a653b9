"""Erased messages are stubs at once, and soon nowhere in the files."""
import asyncio
import base64
import os
import random
import signal
import unittest

from parley import Case, build_dir, cid, text


def secret():
    """Text that no compression shortens."""
    return base64.b64encode(random.randbytes(600)).decode()


def files_with(folder, words):
    """The files that hold any piece of one of these texts."""
    pieces = [w[i:i + 16].encode() for w in words for i in range(0, len(w) - 16, 48)]
    found = set()
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


class Erase(Case):
    options = {"erase_within": "10s", "memtable": "64k", "segment": "4m", "threads": 2}

    async def tool(self, *args, want=0):
        p = await asyncio.create_subprocess_exec(os.path.join(build_dir(), "parley"), *args, "--data", self.server.data,
                                                 stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        out, err = await asyncio.wait_for(p.communicate(), 120)
        self.assertEqual(p.returncode, want, (out, err))
        return out.decode()

    async def make(self):
        """Two people, a talk between them, and traffic to others until the secrets are in tables, too."""
        ann, ben, cat = await self.server.users("ann", "ben", "cat")
        a = await ann.connect()
        secrets, cids = [secret() for _ in range(8)], [cid() for _ in range(8)]
        for s, c in zip(secrets, cids):
            sent = await a.send(ben, s, cid=c)
        conv = sent["conv"]
        for _ in range(150):
            await a.send(cat, secret())
        return ann, ben, cat, a, conv, secrets, cids

    async def busy(self, a, other, done):
        while not done.is_set():
            await a.insist("message.send", user=other.id, cid=cid(), content=text(secret()))

    async def test_erased_messages_are_stubs_and_leave_every_file(self):
        ann, ben, cat, a, conv, secrets, cids = await self.make()
        self.assertTrue(files_with(self.server.data, secrets[1:7]))
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

    async def test_a_kill_before_the_purge_does_not_spare_them(self):
        ann, ben, cat, a, conv, secrets, cids = await self.make()
        await self.tool("erase", conv, "1-8")
        await self.server.restart(signal.SIGKILL)
        await self.tool("erase", conv, "1", "--wait", "on")
        a = await ann.connect()
        page = await a.ok("history", conv=conv)
        self.assertEqual([e.get("deleted") for e in page["entries"]], [True] * 8)
        self.assertEqual(files_with(self.server.data, secrets), set())
        await self.server.stop()
        self.assertEqual(files_with(self.server.data, secrets), set())

    async def test_what_is_not_there_is_said(self):
        await self.tool("erase", "c" + "A" * 22, "1", want=2)
        ann, ben, cat, a, conv, secrets, cids = await self.make()
        self.assertIn("0 messages", await self.tool("erase", conv, "100-200"))


if __name__ == "__main__":
    unittest.main()
