"""`parley doctor`: what is well is called well; what needs an operator is named with the command that goes on."""
import os
import re
import sqlite3
import time

from parley import DEADLINE, Case, cid
from test_lifecycle import run


class Doctor(Case):
    options = {"threads": 2, "stores": 2}

    async def doctor(self):
        return await run("parley", "doctor", "--data", self.server.data)

    async def chat(self, n=5):
        self.ana, self.ben = await self.server.users("ana", "ben")
        phone = await self.ana.connect()
        for i in range(n):
            self.conv = (await phone.send(self.ben, f"marker-{i}-end"))["conv"]

    async def test_a_running_server_says_how_each_view_stands_and_that_all_is_well(self):
        await self.chat()
        status, out, err = await self.doctor()
        self.assertEqual((status, err), (0, ""), out)
        self.assertTrue(out.startswith("the server runs\nlog "), out)
        for name in ("the message stores", "the tables", "what is owed to offline members"):
            self.assertEqual(out.count(f"  {name}: "), 2, out)
        self.assertTrue(out.endswith("no dead letters wait\nall is well\n"), out)

    async def test_on_a_quiet_server_the_tables_and_what_is_owed_come_to_have_everything(self):
        await self.chat()
        begun, is_waiting = time.monotonic(), True
        while is_waiting and time.monotonic() - begun < DEADLINE:
            _, out, _ = await self.doctor()
            is_seen = "the message stores: lacks" in out  # what was sent stands in the log by now, and in memory
            is_waiting = not is_seen or re.search(r"(the tables|what is owed to offline members): lacks", out)
        self.assertFalse(is_waiting, out)
        _, _, body = await self.server.http("GET", "/metrics", raw=True)
        rows = dict(line.rsplit(" ", 1) for line in body.decode().splitlines() if not line.startswith("#"))
        self.assertEqual(rows['parley_view_lag_seconds{view="tables"}'], "0")
        self.assertEqual(rows['parley_view_lag_seconds{view="owed"}'], "0")
        self.assertEqual(rows["parley_tables_unapplied_bytes"], "0")
        self.assertRegex(out, r"the log is trimmed up to \d+ of \d+; the message stores hold the rest")

    async def test_a_stopped_and_a_killed_servers_folder_is_well_and_stays_as_it_is(self):
        await self.chat()
        await self.server.kill()
        status, out, err = await self.doctor()
        self.assertEqual((status, err), (0, ""), out)
        self.assertIn("the server does not run\n", out)
        self.assertRegex(out, r"the message stores: lacks \d")
        await self.server.start()
        phone = await self.ana.connect()
        self.assertEqual((await phone.send(self.ben, "again"))["seq"], 6)
        await self.server.stop()
        self.assertEqual((await self.doctor())[0], 0)

    async def test_letters_are_a_finding_while_it_runs_and_when_it_is_stopped(self):
        await self.chat()
        self.sql("CREATE TRIGGER poison BEFORE INSERT ON groups BEGIN SELECT RAISE(ABORT, 'poison'); END")
        phone = await self.ana.connect()
        await phone.ok("group.create", cid=cid(), title="poisoned", members=[self.ben.id])
        await phone.ok("conversation.list")  # waits for what was committed: by then the letter is made
        for stopped in (False, True):
            if stopped:
                await self.server.stop()
            status, out, err = await self.doctor()
            self.assertEqual((status, err), (1, ""), out)
            self.assertIn("needs you: 1 dead letter (", out)
            self.assertIn(f"`parley dead list --data {self.server.data}`", out)
            self.assertTrue(out.endswith("1 thing for you to do\n"), out)

    def sql(self, text):
        db = sqlite3.connect(os.path.join(self.server.data, "tables.db"), timeout=20)
        db.execute(text)
        db.commit()
        db.close()

    async def test_a_damaged_log_is_named_by_file_and_offset(self):
        await self.chat(20)
        await self.server.kill()
        path = self.flip(b"marker-3-end")
        status, out, _ = await self.doctor()
        self.assertEqual(status, 1, out)
        self.assertRegex(out, rf"needs you: file {path} is damaged at offset \d+: .*`parley verify --data")
        self.assertIn("`parley restore`", out)

    async def test_what_a_start_would_miss_is_named(self):
        await self.chat()
        await self.server.kill()
        for name, said in (("tables.db", "tables.db is missing"), ("stores/store1/MANIFEST", "MANIFEST is missing"),
                           ("secret.key", "secret.key")):
            path = os.path.join(self.server.data, name)
            os.rename(path, path + ".away")
            status, out, _ = await self.doctor()
            self.assertEqual(status, 1, out)
            self.assertIn("needs you: ", out)
            self.assertIn(said, out)
            self.assertFalse(os.path.exists(path), "it changes nothing")
            os.rename(path + ".away", path)
        self.assertEqual((await self.doctor())[0], 0)

    async def test_what_cannot_be_looked_at_ends_with_two(self):
        self.assertEqual((await run("parley", "doctor", "--data", self.server.data + "/nothing"))[0], 2)
        self.assertEqual((await run("parley", "doctor", "more"))[0], 2)
