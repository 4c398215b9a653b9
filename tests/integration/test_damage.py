"""Files of the log that are not as they were written: a torn tail is cut and said, damage is named and refused."""
import asyncio
import os
import subprocess

from parley import DEADLINE, Case


class Damage(Case):
    options = {"threads": 1}

    async def fill(self, n=20):
        """n messages, each durable before the next is sent, then a kill: nothing is in a table yet."""
        self.ana = await self.server.user("ana")
        a = await self.ana.connect()
        for i in range(1, n + 1):
            self.conv = (await a.send(self.ana, f"marker-{i}-end"))["conv"]
        await self.server.kill()

    async def refusal(self):
        """What a server that does not start says."""
        p = await asyncio.create_subprocess_exec(*self.server.command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = await asyncio.wait_for(p.communicate(), DEADLINE)
        self.assertNotEqual(p.returncode, 0)
        self.assertNotIn(b"listening", out)
        return err

    async def test_a_damaged_record_is_named_and_the_server_does_not_start(self):
        await self.fill()
        path = self.flip(b"marker-3-end")
        err = await self.refusal()
        self.assertIn(os.path.basename(path).encode(), err)
        self.assertIn(b"offset", err)

    async def test_what_is_lost_is_named_and_not_made_anew(self):
        await self.fill()
        for name in ("tables.db", "stores/store1/MANIFEST"):
            path = os.path.join(self.server.data, name)
            os.rename(path, path + ".away")
            self.assertIn(f"{path} is missing".encode(), await self.refusal())
            os.rename(path + ".away", path)
        await self.server.start()
        a = await self.ana.connect()
        self.assertEqual((await a.send(self.ana, "again"))["seq"], 21)
        await a.close()

    async def test_a_torn_tail_is_cut_said_and_written_over(self):
        await self.fill()
        self.flip(b"marker-20-end")
        await self.server.start()
        self.assertIn("log_tail_cut", self.server.tail(200))
        a = await self.ana.connect()
        self.assertEqual([e["seq"] for e in (await a.ok("history", conv=self.conv))["entries"]], list(range(1, 20)))
        self.assertEqual((await a.send(self.ana, "again"))["seq"], 20)
        await self.server.restart(9)
        a = await self.ana.connect()
        entries = (await a.ok("history", conv=self.conv))["entries"]
        self.assertEqual([e["seq"] for e in entries], list(range(1, 21)))
        self.assertEqual(entries[-1]["content"]["text"], "again")
