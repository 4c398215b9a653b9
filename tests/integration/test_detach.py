"""A view that lags is detached: it holds neither the log nor an erasing, and is made anew from the conversations.

Stuck for good are tables that may pass over no more records: their dead letters are full. A trigger in SQLite plays the
constraint that a record breaks.
"""
import asyncio
import os
import random
import sqlite3
import unittest

from parley import Case, Refused, build_dir, cid, text
from test_erase import files_with, secret


class Detach(Case):
    options = {"erase_within": "10s", "memtable": "64k", "segment": "4m", "threads": 2, "max_lag": "1m"}

    async def tool(self, *args, want=0):
        p = await asyncio.create_subprocess_exec(os.path.join(build_dir(), "parley"), *args, "--data", self.server.data,
                                                 stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        out, err = await asyncio.wait_for(p.communicate(), 120)
        self.assertEqual(p.returncode, want, (out, err))
        return out.decode()

    def sql(self, *lines):
        db = sqlite3.connect(os.path.join(self.server.data, "tables.db"), timeout=20)
        for line in lines:
            db.execute(line)
        db.commit()
        db.close()

    async def metric(self, name):
        _, _, body = await self.server.http("GET", "/metrics", raw=True)
        return next(int(line.split()[1]) for line in body.decode().splitlines() if line.startswith(name + " "))

    async def until(self, name, is_it):
        async with asyncio.timeout(120):
            while not is_it(await self.metric(name)):
                await asyncio.sleep(0.1)

    async def stick(self, client, other):
        """From the next group on the tables take nothing of its log. Letters of the directory's are not dropped."""
        await self.server.stop()
        self.sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) INSERT INTO letters"
                 " (log_id, pos, kind, shard, subject, kept, attempts, why, sum, body)"
                 " SELECT 1, i, 64, 256, zeroblob(8), 1, 1, 'w', 0, x'00' FROM n")
        await self.server.start()
        self.sql("CREATE TRIGGER poison BEFORE INSERT ON groups BEGIN SELECT RAISE(ABORT, 'poison'); END")
        groups = set()
        a = await client.connect()
        for _ in range(16):  # on both reactors' logs
            groups.add((await a.ok("group.create", cid=cid(), title="stuck", members=[other.id]))["conv"])
        return a, groups

    def heal(self):
        self.sql("DROP TRIGGER poison", "DELETE FROM letters")

    async def listed(self, user):
        client = await user.connect()
        convs, more = set(), {}
        while True:
            page = await client.insist("conversation.list", limit=200, **more)
            convs |= {c["conv"] for c in page["conversations"]}
            if "cursor" not in page:
                break
            more = {"cursor": page["cursor"]}
        await client.close()
        return convs

    async def test_a_consumer_that_stands_still_holds_no_erasing(self):
        ann, ben = await self.server.users("ann", "ben")
        a, groups = await self.stick(ann, ben)
        secrets = [secret() for _ in range(8)]
        for s in secrets:
            conv = (await a.send(ben, s))["conv"]
        self.assertTrue(files_with(self.server.data, secrets))
        self.assertIn("8 messages", await self.tool("erase", conv, "1-8", "--wait", "on"))
        self.assertEqual(files_with(self.server.data, secrets), set())
        self.assertIn("view_detached view=tables", self.server.tail(1000))
        self.assertGreater(await self.metric("parley_rebuild_shards"), 0)  # the consumer is as stuck as ever
        self.assertIn("made anew from the conversations", await self.tool("doctor", want=1))
        with self.assertRaises(Refused) as caught:
            await a.ok("conversation.list")
        self.assertEqual(caught.exception.code, "unavailable")
        await a.send(next(iter(groups)), "messages need no table")
        self.heal()
        await self.until("parley_rebuild_shards", lambda n: n == 0)
        for user in (ann, ben):
            self.assertEqual(await self.listed(user), groups | {conv})
        await self.server.restart()  # it counted the letters that were deleted behind its back
        self.assertIn("all is well", await self.tool("doctor"))
        for user in (ann, ben):
            self.assertEqual(await self.listed(user), groups | {conv})

    async def test_kills_while_rows_are_made_anew_lose_none(self):
        ann, ben, cat = await self.server.users("ann", "ben", "cat")
        a, of = await ann.connect(), {u.id: set() for u in (ann, ben, cat)}

        async def group(client):
            other = random.choice((ben, cat))
            conv = (await client.insist("group.create", cid=cid(), title="g", members=[other.id]))["conv"]
            for u in (ann, other):
                of[u.id].add(conv)
        for _ in range(300):
            await group(a)
        a, groups = await self.stick(ann, ben)
        for u in (ann, ben):
            of[u.id] |= groups
        for conv in 15 * sorted(groups):  # of a log with half of them or more, over the bound
            await a.insist("message.send", conv=conv, cid=cid(), content=text("x" * 16000))
        await self.until("parley_views_detached_total", lambda n: n > 0)
        await self.server.kill()
        self.heal()
        self.sql("CREATE TRIGGER now_and_then BEFORE INSERT ON groups WHEN abs(random()) % 30 = 0"
                 " BEGIN SELECT RAISE(ABORT, 'now and then'); END")  # so that it stops on its way
        kills = 0
        await self.server.start()
        while await self.metric("parley_rebuild_shards") and kills < 8:
            client = await ann.connect()
            for _ in range(random.randrange(20)):
                await group(client)
            await self.server.kill()
            await self.server.start()
            kills += 1
        self.assertGreater(kills, 0)
        self.sql("DROP TRIGGER now_and_then")
        await self.until("parley_rebuild_shards", lambda n: n == 0)
        await self.tool("dead", "replay", "all")  # a start tries a record once; the trigger may have met it there
        for u in (ann, ben, cat):
            self.assertEqual(await self.listed(u), of[u.id])
        await self.server.stop()
        self.assertIn("all is well", await self.tool("doctor"))
        await self.tool("verify")


if __name__ == "__main__":
    unittest.main()
