"""Start, stop, reload, restart: what the process promises to those who run it."""
import asyncio
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time

from parley import DEADLINE, Case, Refused, User, build_dir, open_socket


async def run(program, *args, env=None):
    """(status, stdout, stderr) of a program that ends by itself."""
    p = await asyncio.create_subprocess_exec(os.path.join(build_dir(), program), *args, stdout=subprocess.PIPE,
                                             stderr=subprocess.PIPE, env={**os.environ, **(env or {})})
    out, err = await asyncio.wait_for(p.communicate(), DEADLINE)
    return p.returncode, out.decode(), err.decode()


async def entries(client, conv):
    """All entries of a conversation, by pages."""
    got = []
    while True:
        page = await client.ok("history", conv=conv, after=got[-1]["seq"] if got else 0, limit=200)
        got += page["entries"]
        if not page["more"]:
            return got


class Stopping(Case):
    async def test_a_drain_closes_with_1001_and_loses_nothing_that_was_acked(self):
        ana, ben = await self.server.users("ana", "ben")
        a, b = await ana.connect(), await ben.connect()
        deaf = await open_socket(self.server)  # logs in, is sent events and never reads
        await deaf.send('{"id":1,"op":"auth","token":"%s"}' % (await ben.login()).token)
        await deaf.recv()
        deaf.transport.pause_reading()
        conv = (await a.send(ben, "first"))["conv"]
        acked, done = [], asyncio.Event()

        async def keep_sending(c):
            while True:
                try:
                    acked.append((await c.send(conv, "x" * 200))["seq"])
                except Refused as refused:
                    self.assertEqual(refused.code, "unavailable")
                except ConnectionError:
                    return
                if len(acked) >= 100:
                    done.set()

        senders = [asyncio.create_task(keep_sending(c)) for c in (a, b) for _ in range(8)]
        await asyncio.wait_for(done.wait(), DEADLINE)
        begun = time.monotonic()
        self.assertEqual(await self.server.stop(), 0)
        self.assertLess(time.monotonic() - begun, 5)
        await asyncio.gather(*senders)
        self.assertEqual((await a.closed(), await b.closed()), (1001, 1001))
        deaf.transport.abort()
        with self.assertRaises(OSError):
            await open_socket(self.server)
        await self.server.start()
        seqs = [e["seq"] for e in await entries(await ana.connect(), conv)]
        self.assertEqual(seqs, list(range(1, len(seqs) + 1)))
        self.assertLessEqual(set(acked), set(seqs))

    async def test_int_ends_it_like_term(self):
        self.assertEqual(await self.server.stop(signal.SIGINT), 0)


class Starting(Case):
    async def test_a_second_server_on_the_folder_is_refused(self):
        status, out, err = await run("parleyd", "--data", self.server.data, "--listen", "127.0.0.1:0")
        self.assertEqual((status, out), (1, ""))
        self.assertIn(os.path.join(self.server.data, "lock"), err)
        self.assertIn("using this data folder", err)
        await self.server.user("ana")  # and the first is none the worse

    async def test_a_second_server_on_the_port_is_refused(self):
        with tempfile.TemporaryDirectory(prefix="parley-test-") as other:
            folder = os.path.join(other, "data")
            status, out, err = await run("parleyd", "--data", folder, "--listen", f"127.0.0.1:{self.server.port}")
            self.assertFalse(os.path.exists(folder), "made for a server that cannot listen")
        self.assertEqual((status, out), (1, ""))
        self.assertIn(f"listening on 127.0.0.1:{self.server.port}: the address is in use", err)
        self.assertIn("--listen", err)

    async def test_starts_that_follow_each_other_quickly_leave_no_trail(self):
        log = os.path.join(self.server.data, "log")
        counts = []
        for _ in range(6):
            await self.server.kill()
            await self.server.start()
            counts.append(len(os.listdir(log)))
        self.assertLessEqual(counts[-1], counts[0], counts)

    async def test_other_thread_numbers_and_kills_keep_everything(self):
        ana, ben = await self.server.users("ana", "ben")
        sent, conv = [], ben
        for threads in (1, 2, 3, 1):
            await self.server.restart(signal.SIGKILL, threads=threads)
            a = await ana.connect()
            for i in range(10):
                answer = await a.send(conv, f"{threads} {i}")
                conv = answer["conv"]
                sent.append((answer["seq"], f"{threads} {i}"))
        await self.server.restart(signal.SIGKILL, threads=2)
        got = await entries(await ben.connect(), conv)
        self.assertEqual([(e["seq"], e["content"]["text"]) for e in got], sent)
        self.assertEqual([seq for seq, _ in sent], list(range(1, 41)))

    async def test_hup_reloads_and_nobody_notices(self):
        ana = await self.server.user("ana")
        a = await ana.connect()
        for _ in range(3):
            self.server.process.send_signal(signal.SIGHUP)
            await a.fence()

        def said():
            return "reloaded" in self.server.tail(100)
        end = time.monotonic() + DEADLINE
        while not said() and time.monotonic() < end:
            await a.fence()
        self.assertTrue(said())
        self.assertIsNone(a.close_code)


class Options(Case):
    async def asyncSetUp(self):
        self.folder = tempfile.mkdtemp(prefix="parley-test-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    async def test_wrong_ones_are_named_and_end_with_2(self):
        for args, word in ((["--nope", "1"], "nope"), (["--threads", "x"], "threads"), (["--threads", "-1"], "threads"),
                           (["--listen", "foo"], "listen"), (["--listen", "127.0.0.1:99999"], "listen"),
                           (["--bus", "kafka"], "bus"), (["--roles", "some"], "roles"), (["word"], "word"),
                           (["--log-level", "loud"], "log-level"), (["--segment", "1"], "segment")):
            status, out, err = await run("parleyd", "--data", self.folder, *args)
            self.assertEqual((status, out), (2, ""), args)
            self.assertIn(word, err)
            self.assertEqual(err.count("\n"), 1, err)
        status, _, err = await run("parleyd", "--data", self.folder, env={"PARLEY_THREADS": "many"})
        self.assertEqual(status, 2)
        self.assertIn("many", err)
        self.assertEqual(os.listdir(self.folder), [])

    async def test_check_and_help_touch_nothing(self):
        data = os.path.join(self.folder, "new")
        status, out, err = await run("parleyd", "--data", data, "--check")
        self.assertEqual((status, err), (0, ""))
        status, out, err = await run("parleyd", "--help")
        self.assertEqual((status, err), (0, ""))
        for name in ("listen", "data", "threads", "rate-limit", "memtable", "check"):
            self.assertIn("--" + name, out)
        self.assertFalse(os.path.exists(data))


class Seeding(Case):
    async def seed(self, prefix):
        out = self.server.data + f".{prefix}"
        self.addCleanup(os.unlink, out)
        status, _, err = await run("parley", "users", "seed", "--data", self.server.data, "--count", "20", "--prefix",
                                   prefix, "--out", out)
        self.assertEqual(status, 0, err)
        self.assertEqual(stat.S_IMODE(os.stat(out).st_mode), 0o600)
        with open(out) as f:
            rows = [line.rstrip("\n").split("\t") for line in f]
        self.assertEqual([row[0] for row in rows], [f"{prefix}{i:06}" for i in range(20)])
        return rows

    async def works(self, rows):
        users = [User(self.server, {"user": {"username": n, "id": u}, "device": d, "token": t}, "")
                 for n, u, d, t in rows]
        first, last = await users[0].connect(), await users[-1].connect()
        sent = await first.send(users[-1], "hello")
        self.assertEqual((await last.event("message"))["conv"], sent["conv"])
        for password in ("", "password", rows[0][3]):
            status, _, _ = await self.server.http("POST", "/v1/sessions", {"username": rows[0][0], "password": password})
            self.assertIn(status, (400, 401))

    async def test_a_running_server_seeds(self):
        await self.works(await self.seed("on"))

    async def test_a_stopped_one_is_seeded_too(self):
        await self.server.stop()
        rows = await self.seed("off")
        await self.server.start()
        await self.works(rows)
