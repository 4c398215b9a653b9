"""Backups: made while a server runs under load, restored, verified, interrupted, built on each other."""
import asyncio
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile

from parley import DEADLINE, Case, Server, build_dir, cid, text
from test_lifecycle import entries, run
from test_verify import files, flip, noise


class Backups(Case):
    options = {"threads": 2, "stores": 2, "memtable": "1m", "segment": "4m"}

    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.dir = tempfile.mkdtemp(prefix="parley-test-backups-")
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.acked = {}  # conv -> {seq: cid}

    async def backup(self, *args, data=None):
        """(name, line)"""
        status, out, err = await run("parley", "backup", self.dir, "--data", data or self.server.data, *(args or ("--rate", "0")))
        self.assertEqual((status, err), (0, ""), self.server.tail())
        return out.split(":")[0], out

    async def listed(self):
        status, out, _ = await run("parley", "backup", "list", self.dir)
        self.assertEqual(status, 0)
        return [line.split()[0] for line in out.splitlines()]

    async def restore(self, name):
        """A server on what was restored."""
        data = os.path.join(self.dir, f"restored-{cid()}")
        status, out, err = await run("parley", "restore", os.path.join(self.dir, name), "--data", data)
        self.assertEqual((status, err), (0, ""), out)
        status, out, _ = await run("parley", "verify", "--data", data)
        self.assertEqual(status, 0, out)
        server = Server(data=data, rate_limit="off")
        await server.start()
        self.addAsyncCleanup(server.stop)
        return server

    async def write(self, client, to, stop, rng):
        """Writes on and on, a few at a time."""
        async def one():
            content = text(noise(rng, rng.choice([10, 500, 4000])))
            mark = cid()
            where = {"conv": to} if isinstance(to, str) else {"user": to.id}
            ok = await client.ok("message.send", **where, cid=mark, content=content)
            self.acked.setdefault(ok["conv"], {})[ok["seq"]] = mark
        while not stop.is_set():
            await asyncio.gather(*[one() for _ in range(4)])

    async def loaded(self):
        """Two pairs and a group that write; the people, and how to end it."""
        people = await self.server.users("ana", "ben", "cat", "dan")
        clients = [await p.connect() for p in people]
        group = (await clients[0].ok("group.create", title="g", members=[p.id for p in people[1:]], cid="g"))["conv"]
        self.acked[group] = {}
        stop = asyncio.Event()
        rng = random.Random(1)
        writers = [asyncio.ensure_future(self.write(clients[i], to, stop, rng))
                   for i, to in ((0, people[1]), (1, people[0]), (2, people[3]), (0, group), (3, group))]

        async def end():
            stop.set()
            await asyncio.gather(*writers)
            for c in clients:
                await c.close()
        return people, end

    async def reaches(self, n):
        while sum(map(len, self.acked.values())) < n:
            await asyncio.sleep(0.01)  # for the load to be there, not for an effect

    async def holds(self, server, people, acked):
        """Everything acknowledged is there, and no conversation has a gap."""
        for conv, marks in acked.items():
            for p in people:
                c = await (p_on(server, p)).connect()
                if "ok" in await c.request("history", conv=conv, limit=1):
                    break
                await c.close()
            got = await entries(c, conv)
            self.assertEqual([e["seq"] for e in got], list(range(1, len(got) + 1)))
            have = {e["seq"]: e["cid"] for e in got}
            self.assertEqual({s: have.get(s) for s in marks}, marks)
            await c.close()

    async def test_a_loaded_servers_backup_has_everything_acknowledged_before_it_and_another_epoch(self):
        people, end = await self.loaded()
        await self.reaches(600)
        before = {conv: dict(marks) for conv, marks in self.acked.items()}
        name, _ = await self.backup()
        await self.reaches(sum(map(len, before.values())) + 100)  # nobody was held up
        await end()
        self.assertEqual(await self.listed(), [name])
        status, out, _ = await run("parley", "verify", os.path.join(self.dir, name))
        self.assertEqual(status, 0, out)
        server = await self.restore(name)
        await self.holds(server, people, before)
        old, new = await people[0].connect(), await p_on(server, people[0]).connect()
        self.assertNotEqual(old.hello["epoch"], new.hello["epoch"])
        self.assertRegex(new.hello["epoch"], r"^[a-z0-9]{16}$")
        await self.refused("conflict", new.ok("sync", since={}, epoch=old.hello["epoch"]))
        await new.ok("sync", since={}, epoch=new.hello["epoch"])
        # It goes on from there, as any server does.
        conv = next(iter(before))  # the group: made first
        writer = new
        last = (await writer.ok("history", conv=conv, limit=1))["entries"][0]["seq"]
        self.assertEqual((await writer.send(conv, "on we go"))["seq"], last + 1)

    async def test_tables_that_are_merged_away_meanwhile_stay_until_they_are_copied(self):
        people, end = await self.loaded()
        await self.reaches(300)
        slow = asyncio.ensure_future(run("parley", "backup", self.dir, "--data", self.server.data, "--rate", "3m", "--copy"))
        await self.reaches(6000)
        status, out, err = await slow
        await end()
        self.assertEqual((status, err), (0, ""))
        name = out.split(":")[0]
        status, out, _ = await run("parley", "verify", os.path.join(self.dir, name))
        self.assertEqual(status, 0, out)
        self.assertEqual(self.server.tail(200).count("hold_ended"), 1)

    async def test_the_next_backup_links_what_the_last_one_has(self):
        people, end = await self.loaded()
        await self.reaches(1500)
        await end()
        first, line = await self.backup()
        self.assertIn("new since the beginning", line)
        c = await people[0].connect()
        await c.send(people[1], "one more")
        await c.close()
        second, line = await self.backup()
        self.assertIn(f"new since {first}", line)
        new = int(re.search(r"\((\d+) bytes\)", line).group(1))
        tables = [{os.path.basename(p): os.stat(p) for p in files(os.path.join(self.dir, n, "files", "stores"), ".sst")}
                  for n in (first, second)]
        shared = [s for n, s in tables[0].items() if n in tables[1] and tables[1][n].st_ino == s.st_ino]
        self.assertTrue(shared)
        whole = sum(os.path.getsize(p) for p in files(os.path.join(self.dir, second), ""))
        self.assertLess(new, whole - sum(s.st_size for s in shared) + 1)
        # Each stands for itself: without the first the second is whole.
        shutil.rmtree(os.path.join(self.dir, first))
        self.assertEqual(await self.listed(), [second])
        status, out, _ = await run("parley", "verify", os.path.join(self.dir, second))
        self.assertEqual(status, 0, out)
        await self.holds(await self.restore(second), people, self.acked)

    async def test_a_backup_that_was_killed_is_none_and_the_next_one_works(self):
        people, end = await self.loaded()
        await self.reaches(600)
        p = await asyncio.create_subprocess_exec(
            os.path.join(build_dir(), "parley"), "backup", self.dir, "--data", self.server.data, "--rate", "20k", "--copy")
        async with asyncio.timeout(DEADLINE):
            while not any(n.endswith(".part") for n in os.listdir(self.dir)):
                await asyncio.sleep(0.01)
        status, _, err = await run("parley", "backup", self.dir + "-other", "--data", self.server.data)
        self.addCleanup(shutil.rmtree, self.dir + "-other", True)
        self.assertEqual(status, 1)
        self.assertIn("another backup", err)
        p.send_signal(signal.SIGKILL)
        await p.wait()
        self.assertEqual(await self.listed(), [])
        half = [n for n in os.listdir(self.dir) if n.endswith(".part")]
        status, _, err = await run("parley", "restore", os.path.join(self.dir, half[0]), "--data", self.dir + "/x")
        self.assertEqual(status, 1)
        self.assertIn("never finished", err)
        async with asyncio.timeout(DEADLINE):
            while "hold_ended" not in self.server.tail(50):
                await asyncio.sleep(0.01)
        name, _ = await self.backup()
        await end()
        self.assertEqual(await self.listed(), [name])
        self.assertEqual(sorted(n for n in os.listdir(self.dir) if n != "x"), sorted([name, "lock"]))
        await run("parley", "verify", os.path.join(self.dir, name))

    async def test_a_server_that_ends_in_the_middle_leaves_no_backup(self):
        people, end = await self.loaded()
        await self.reaches(600)
        slow = asyncio.ensure_future(run("parley", "backup", self.dir, "--data", self.server.data, "--rate", "500k", "--copy"))
        async with asyncio.timeout(DEADLINE):
            while not any(n.endswith(".part") for n in os.listdir(self.dir)):
                await asyncio.sleep(0.01)
        await end()
        await self.server.kill()
        status, _, err = await slow
        self.assertEqual(status, 1)
        self.assertIn("no backup was made", err)
        self.assertEqual((await self.listed(), os.listdir(self.dir)), ([], ["lock"]))

    async def test_a_stopped_and_a_killed_servers_folder_is_backed_up_too(self):
        people, end = await self.loaded()
        await self.reaches(600)
        await end()
        for stop in (self.server.kill, self.server.stop):
            await stop()
            name, _ = await self.backup()
            await self.holds(await self.restore(name), people, self.acked)
            await self.server.start()
        self.assertEqual(len(await self.listed()), 2)

    async def test_a_damaged_backup_is_named_and_not_restored(self):
        people, end = await self.loaded()
        await self.reaches(600)
        await end()
        name, _ = await self.backup("--copy", "--rate", "0")
        folder = os.path.join(self.dir, name)
        table = max(files(folder, ".sst"), key=os.path.getsize)
        database = os.path.join(folder, "files", "tables.db")
        flip(table, os.path.getsize(table) // 2)
        flip(database, os.path.getsize(database) // 2)
        status, out, _ = await run("parley", "verify", folder)
        self.assertEqual(status, 1)
        for path in (table, database):
            self.assertIn(f"damaged: file {path} offset 0: it is not what was backed up", out)
        self.assertRegex(out, rf"damaged: file {re.escape(table)} offset [1-9]\d*: a block is not what was written")
        status, out, err = await run("parley", "restore", folder, "--data", os.path.join(self.dir, "new"))
        self.assertEqual(status, 1)
        self.assertIn("nothing was restored", err)
        self.assertEqual(os.listdir(os.path.join(self.dir, "new")), [])
        flip(table, os.path.getsize(table) // 2)
        flip(database, os.path.getsize(database) // 2)
        flip(os.path.join(folder, "BACKUP"), 40)
        self.assertEqual((await run("parley", "backup", "list", self.dir))[0], 1)
        self.assertEqual((await run("parley", "restore", folder, "--data", os.path.join(self.dir, "new")))[0], 1)

    async def test_without_space_no_backup_is_made_and_nothing_is_left(self):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", self.dir], capture_output=True)
        if done.returncode != 0:
            self.skipTest("no right to mount a small file system")
        self.addCleanup(subprocess.run, ["umount", "-l", self.dir], check=False)
        people, end = await self.loaded()
        await self.reaches(1500)
        status, _, err = await run("parley", "backup", self.dir, "--data", self.server.data)
        await end()
        self.assertEqual(status, 1)
        self.assertIn("no space left", err)
        self.assertEqual((await self.listed(), os.listdir(self.dir)), ([], ["lock"]))

    async def test_only_an_empty_folder_is_restored_into(self):
        name, _ = await self.backup()
        status, _, err = await run("parley", "restore", os.path.join(self.dir, name), "--data", self.server.data)
        self.assertEqual(status, 1)
        self.assertIn("not empty", err)
        await self.server.user("ana")  # and the server is none the worse


def p_on(server, user):
    """The same user and token, on another server."""
    other = object.__new__(type(user))
    other.__dict__.update(user.__dict__, server=server)
    return other
