"""`parley verify`: what is whole is called whole; what is damaged is named, by file, offset and conversation."""
import os
import random
import re
import sqlite3
import struct

from parley import Case
from test_lifecycle import run


def files(folder, suffix):
    return sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names if name.endswith(suffix))


def flip(path, at):
    """Changes a byte in the middle of a file."""
    with open(path, "r+b") as f:
        f.seek(at)
        old = f.read(1)
        f.seek(at)
        f.write(bytes([old[0] ^ 0x55]))


def noise(rng, n):
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", k=n))


class Verify(Case):
    options = {"threads": 1, "stores": 1, "memtable": "1m", "segment": "4m"}

    async def fill(self, entries=160, size=12000):
        """A chat of one whose first part is in tables and whose last part is in the log alone."""
        rng = random.Random(7)
        self.ana = await self.server.user("ana")
        a = await self.ana.connect()
        for i in range(1, entries + 1):
            self.conv = (await a.send(self.ana, f"marker-{i}-end " + noise(rng, size)))["conv"]
        await a.close()

    async def verify(self, *args):
        status, out, err = await run("parley", "verify", *(args or ("--data", self.server.data)))
        return status, out, err

    async def test_a_whole_folder_is_called_whole_after_a_kill_and_after_an_end(self):
        await self.fill()
        await self.server.kill()
        status, out, err = await self.verify()
        self.assertEqual((status, err), (0, ""), out)
        self.assertIn("\nwhole\n", out)
        self.assertRegex(out, r" [1-9]\d* tables, [1-9]\d* blocks")
        self.assertIn("1 conversations", out)
        await self.server.start()
        await self.server.stop()
        self.assertEqual((await self.verify())[0], 0)
        before = {p: open(p, "rb").read() for p in files(self.server.data, "")}
        self.assertEqual((await self.verify())[0], 0)
        self.assertEqual(before, {p: open(p, "rb").read() for p in files(self.server.data, "")})

    async def test_a_running_servers_folder_and_what_is_none_are_refused(self):
        status, out, err = await self.verify()
        self.assertEqual((status, out), (2, ""))
        self.assertIn("using this data folder", err)
        self.assertEqual((await self.verify("--data", "/nonexistent"))[0], 2)
        self.assertEqual((await self.verify("--nonsense"))[0], 2)

    async def test_damaged_blocks_of_a_table_are_named_with_what_they_held(self):
        await self.fill()
        await self.server.kill()
        table = max(files(self.server.data, ".sst"), key=os.path.getsize)
        places = [os.path.getsize(table) // 4, os.path.getsize(table) // 2]
        for at in places:
            flip(table, at)
        status, out, _ = await self.verify()
        self.assertEqual(status, 1, out)
        found = re.findall(rf"damaged: file {re.escape(table)} offset (\d+): a block is not what was written.*{self.conv}", out)
        self.assertEqual(len(found), 2, out)  # it did not stop at the first
        for at, offset in zip(places, map(int, found)):
            self.assertTrue(offset <= at < offset + 20000)
        self.assertRegex(out, rf"damaged: conversation {self.conv}: entries \d+ to \d+ are missing")

    async def test_a_damaged_log_is_named_and_the_entries_that_it_held(self):
        await self.fill()
        await self.server.kill()
        for path in reversed(files(os.path.join(self.server.data, "log"), ".seg")):
            with open(path, "rb") as f:
                at = f.read().find(b"marker-155-end")
            if at >= 0 and "ready" not in path:
                flip(path, at)
                break
        status, out, _ = await self.verify()
        self.assertEqual(status, 1, out)
        offset = int(re.search(rf"damaged: file {re.escape(path)} offset (\d+): a record is not", out).group(1))
        self.assertTrue(0 <= at - offset < 300, (at, offset))
        self.assertIn(f"conversation {self.conv}: entries 155 to 155 are missing", out)

    async def test_a_missing_table_a_lost_manifest_and_a_lost_key_are_named(self):
        await self.fill()
        await self.server.kill()
        table = max(files(self.server.data, ".sst"), key=os.path.getsize)
        os.rename(table, table + ".gone")
        status, out, _ = await self.verify()
        self.assertEqual(status, 1)
        self.assertIn(f"damaged: file {table} offset 0", out)
        self.assertRegex(out, rf"conversation {self.conv}: entries \d+ to \d+ are missing")
        os.rename(table + ".gone", table)
        os.unlink(files(self.server.data, "MANIFEST")[0])
        os.unlink(os.path.join(self.server.data, "secret.key"))
        status, out, _ = await self.verify()
        self.assertEqual(status, 1)
        self.assertIn("MANIFEST offset 0: it is missing", out)
        self.assertIn("secret.key is missing", out)
        self.assertNotIn("entries", re.sub("keys", "", "\n".join(
            line for line in out.splitlines() if "conversation" in line and line.startswith("damaged"))))

    async def test_a_damaged_page_of_sqlite_is_named(self):
        await self.server.users(*[f"somebody-{i:03}" for i in range(60)])
        await self.server.stop()
        path = os.path.join(self.server.data, "tables.db")
        with sqlite3.connect(path) as db:
            page = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'devices'").fetchone()[0]
            size = db.execute("PRAGMA page_size").fetchone()[0]
        with open(path, "r+b") as f:
            f.seek((page - 1) * size)
            f.write(struct.pack(">BHHH", 99, 1, 2, 3))
        status, out, _ = await self.verify()
        self.assertEqual(status, 1, out)
        self.assertIn(f"damaged: file {path} offset {(page - 1) * size}", out)
