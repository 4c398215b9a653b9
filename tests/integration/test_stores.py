"""Stores: which there are and what they hold, of a running and of a stopped server."""
import os
import re

from parley import Case
from test_lifecycle import run


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
