"""Dead letters: a record that the tables cannot take is kept, everything else goes on, and a replay mends it.

A trigger in SQLite plays the constraint that a record breaks.
"""
import asyncio
import os
import sqlite3

from parley import Case, Refused, build_dir, cid


class Dead(Case):
    async def tool(self, *args):
        p = await asyncio.create_subprocess_exec(
            os.path.join(build_dir(), "parley"), "dead", *args, "--data", self.server.data,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        out, err = await asyncio.wait_for(p.communicate(), 60)
        return p.returncode, out.decode(), err.decode()

    async def letters(self):
        status, out, err = await self.tool("list")
        self.assertEqual(status, 0, err)
        return [line.split(" ", 7) for line in out.splitlines()[1:]]

    def sql(self, text):
        db = sqlite3.connect(os.path.join(self.server.data, "tables.db"), timeout=20)
        db.execute(text)
        db.commit()
        db.close()

    def poison(self, table):
        self.sql(f"CREATE TRIGGER poison BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'poison'); END")

    async def group_letters(self):
        """A group whose creation the tables do not take, and a change of its members behind it."""
        ana, ben, eva = await self.server.users("ana", "ben", "eva")
        phone = await ana.connect()
        self.poison("groups")
        group = await phone.ok("group.create", cid=cid(), title="poisoned", members=[ben.id])
        await phone.ok("group.add", conv=group["conv"], cid=cid(), users=[eva.id])
        other = await phone.send(ben, "the log goes on")
        # The lists wait for what was committed when they are asked for: by then the letters are made.
        listed = await phone.ok("conversation.list")
        convs = [c["conv"] for c in listed["conversations"]]
        self.assertIn(other["conv"], convs)
        self.assertNotIn(group["conv"], convs)
        await phone.send(group["conv"], "its own reactor needs no table")
        self.sql("DROP TRIGGER poison")
        return ana, eva, group["conv"]

    async def test_what_the_tables_cannot_take_is_kept_in_order_and_a_replay_mends_it(self):
        ana, eva, conv = await self.group_letters()
        letters = await self.letters()
        self.assertEqual([(l[3], l[5]) for l in letters], [("1", "4"), ("1", "0")])
        status, out, _ = await self.tool("show", letters[0][0])
        self.assertEqual(status, 0)
        self.assertIn("poisoned".encode().hex(), out)
        status, _, err = await self.tool("replay", letters[1][0])
        self.assertEqual(status, 1)
        self.assertIn(f"letter {letters[0][0]} is about the same and goes first", err)
        status, _, err = await self.tool("replay", "all")
        self.assertEqual(status, 0, err)
        self.assertEqual(await self.letters(), [])
        for user in (ana, eva):
            listed = await (await user.connect()).ok("conversation.list")
            self.assertIn(conv, [c["conv"] for c in listed["conversations"]])

    async def test_letters_outlive_a_kill_and_are_replayed_into_a_stopped_servers_tables(self):
        ana, eva, conv = await self.group_letters()
        await self.server.kill()
        await self.server.start()
        self.assertEqual(len(await self.letters()), 2)
        await self.server.stop()
        status, _, err = await self.tool("replay", "all")
        self.assertEqual(status, 0, err)
        await self.server.start()
        listed = await (await eva.connect()).ok("conversation.list")
        self.assertIn(conv, [c["conv"] for c in listed["conversations"]])

    async def test_a_sign_up_that_became_a_letter_is_internal_and_others_go_on(self):
        await self.server.user("ana")
        self.poison("users")
        with self.assertRaises(Refused) as caught:
            await self.server.user("ben")
        self.assertEqual(caught.exception.code, "internal")
        self.sql("DROP TRIGGER poison")
        await self.server.user("eva")
        self.assertEqual([l[3] for l in await self.letters()], ["64", "65"])
        status, _, err = await self.tool("drop", "1")
        self.assertEqual(status, 0, err)
        status, _, err = await self.tool("show", "1")
        self.assertEqual(status, 1)
        self.assertIn("there is no letter 1", err)

    async def test_the_metrics_count_letters_and_say_how_far_each_view_is_behind(self):
        await self.group_letters()
        _, _, body = await self.server.http("GET", "/metrics", raw=True)
        rows = dict(line.rsplit(" ", 1) for line in body.decode().splitlines() if not line.startswith("#"))
        self.assertEqual(rows["parley_dead_letters"], "2")
        self.assertEqual(rows["parley_dead_letters_total"], "2")
        for view in ("stores", "tables", "owed"):
            self.assertIn(f'parley_view_lag_bytes{{view="{view}"}}', rows)
