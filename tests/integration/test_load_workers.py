"""parley-load with several processes: one report, a dead worker is named, and a stranger is refused."""
import asyncio
import json
import os
import re
import shutil
import signal
import struct
import tempfile
import unittest

from parley import Server, build_dir
from test_load import Meddler


class Listener:
    """A worker that waits for jobs."""

    def __init__(self, *args, address="127.0.0.1:0"):
        self.args, self.address = args, address

    async def __aenter__(self):
        self.process = await asyncio.create_subprocess_exec(
            os.path.join(build_dir(), "parley-load"), "--worker-listen", self.address, *self.args,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)
        line = (await asyncio.wait_for(self.process.stdout.readline(), 30)).decode()
        self.port = int(re.search(r"listening on 127\.0\.0\.1:(\d+)$", line).group(1))
        return self

    async def __aexit__(self, *_):
        self.process.terminate()
        await asyncio.wait_for(self.process.wait(), 30)


class Workers(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="parley-workers-")
        self.users = os.path.join(self.folder, "users")
        self.data = os.path.join(self.folder, "data")

    def tearDown(self):
        shutil.rmtree(self.folder)

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    async def seed(self, count):
        p = await asyncio.create_subprocess_exec(os.path.join(build_dir(), "parley"), "users", "seed", "--data", self.data, "--count",
                                                 str(count), "--prefix", "load-", "--out", self.users,
                                                 stdout=asyncio.subprocess.DEVNULL)
        self.assertEqual(await asyncio.wait_for(p.wait(), 60), 0)

    async def start(self, port, *args):
        return await asyncio.create_subprocess_exec(
            os.path.join(build_dir(), "parley-load"), "--url", f"ws://127.0.0.1:{port}/v1/ws", "--users", self.users, "--warmup", "100ms",
            "--json", "-", *map(str, args), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)

    async def load(self, port, *args):
        p = await self.start(port, *([] if "--duration" in args else ["--duration", "1s"]), *args)
        out, err = await asyncio.wait_for(p.communicate(), 60)
        return p.returncode, json.loads(out) if out else None, err.decode()

    async def test_several_processes_verify_and_make_one_report(self):
        await self.seed(60)
        async with Server(data=self.data) as server:
            for args, rooms in ((["pairs"], 30), (["groups", "--group-size", 20], 3), (["mixed", "--rate", 300, "--group-size", 8], None),
                                (["login"], 0), (["idle"], 0), (["pairs", "--max-entries", 501], 30)):
                with self.subTest(scenario=args):
                    page = os.path.join(self.folder, "page.html")
                    status, result, err = await self.load(server.port, "--workers", 2, "--html", page, "--scenario", *args)
                    self.assertEqual((status, result and result["verified"]), (0, True), (result, err))
                    self.assertEqual(result["connections"], 60)
                    if rooms is not None:
                        self.assertEqual(result["rooms"], rooms)
                    if rooms:
                        self.assertGreater(result["delivered"] + ("--max-entries" in args), 0)
                        self.assertGreater(result["delivery_ms"]["samples"] + ("--max-entries" in args), 0)
                    if args == ["pairs"]:
                        self.assertGreater(result["server"]["cpu_us"], 0)
                        self.assertGreater(len(result["series"]), 1)
                        self.assertEqual(result["delivery_ms"]["samples"] > 0, True)
                    self.assertTrue(os.path.getsize(page) > 0)

    async def test_who_stays_while_others_drop_has_a_process_of_their_own(self):
        await self.seed(60)
        async with Server(data=self.data) as server:
            for args, rooms, stay, drop in ((["--group-size", 9], 3 + 6, True, True), (["--resume-rate", 100], 3 + 2, True, True),
                                            (["--group-size", 9, "--staying", 50], 15 + 4, True, True),
                                            (["--group-size", 6, "--staying", 0], 12, False, True),
                                            (["--staying", 100], 30, True, False),
                                            (["--group-size", 9, "--max-entries", 60], 9, True, True)):
                with self.subTest(args=args):
                    status, result, err = await self.load(server.port, "--workers", 3, "--scenario", "reconnect", "--rate", 200, *args)
                    self.assertEqual((status, result and result["verified"], result and result["connections"]), (0, True, 60),
                                     (result, err))
                    self.assertEqual(result["rooms"], rooms)
                    self.assertEqual((result["delivery_ms"]["samples"] > 0, "resume" in result["acts"]), (stay, drop))

    async def test_a_group_is_shared_among_processes(self):
        await self.seed(60)
        async with Server(data=self.data) as server:
            for args, rooms, workers in ((["--group-size", 60, "--senders", 3], 1, 3), (["--group-size", 20, "--shared-groups"], 3, 2),
                                         (["--group-size", 30, "--senders", 1, "--shared-groups"], 2, 4),
                                         (["--group-size", 60, "--rate", 100, "--senders", 2], 1, 2)):
                with self.subTest(args=args):
                    status, result, err = await self.load(server.port, "--workers", workers, "--scenario", "groups", "--window", 1, *args)
                    self.assertEqual((status, result and result["verified"]), (0, True), (result, err))
                    self.assertEqual((result["connections"], result["rooms"]), (60, rooms))
                    self.assertGreater(result["delivered"], 0)
                    self.assertGreater(result["reach_ms"]["samples"], 0)
                    # each of 60 may have one under way when measuring begins or ends
                    self.assertLessEqual(result["reach_ms"]["samples"], result["acked"] + 60)
                    self.assertGreaterEqual(result["reach_ms"]["max"], result["delivery_ms"]["p50"])

    async def test_a_large_group_is_made_in_steps(self):
        await self.seed(2200)
        async with Server(data=self.data, group_members=3000) as server:
            status, result, err = await self.load(server.port, "--workers", 2, "--scenario", "groups", "--group-size", 2200, "--senders", 2,
                                                  "--window", 1, "--max-entries", 10)
        self.assertEqual((status, result and result["verified"], result and result["connections"]), (0, True, 2200), (result, err))

    async def meddled(self, meddle, *args):
        await self.seed(20)
        async with Server(data=self.data) as server, Meddler(server.port, meddle) as proxy:
            return await self.load(proxy.port, "--workers", 2, "--scenario", "groups", "--group-size", 20, "--senders", 2, "--window", 1,
                                   "--max-entries", 100, "--duration", "60s", "--drain-timeout", "1s", *args)

    async def test_an_entry_that_no_member_of_one_process_was_given_is_missed_by_each_of_them(self):
        def meddle(body):  # the last entry: the setup's is 1
            return 0 if body.startswith('{"ev":"message"') and '"seq":101,' in body else 1
        status, result, err = await self.meddled(meddle)
        self.assertEqual((status, result["verified"], result["faults"]["missing"]), (1, False, 19), (result, err))

    async def test_another_process_s_entry_that_comes_twice_is_a_repeat(self):
        seen = 0

        def meddle(body):
            nonlocal seen
            seen += body.startswith('{"ev":"message"')
            return 2 if body.startswith('{"ev":"message"') and seen == 200 else 1
        status, result, err = await self.meddled(meddle)
        self.assertEqual((status, result["verified"], result["faults"]["repeats"]), (1, False, 1), (result, err))

    async def test_a_worker_that_is_killed_is_named_and_the_run_fails(self):
        await self.seed(20)
        async with Server(data=self.data) as server:
            p = await self.start(server.port, "--duration", "60s", "--workers", 2)
            while not (children := self.children(p.pid)) or len(children) < 2 or not await self.is_flowing(server):
                await asyncio.sleep(0.02)
            os.kill(children[1], signal.SIGKILL)
            out, err = await asyncio.wait_for(p.communicate(), 50)
        result = json.loads(out)
        self.assertEqual((p.returncode, result["verified"], result["faults"]["workers"]), (1, False, 1), (result, err))
        self.assertEqual(result["first_fault"], f"worker 2 (process {children[1]}) died by signal 9 (Killed)")
        self.assertEqual(sum(result["faults"].values()), 1)
        self.assertEqual(result["connections"], 10)

    async def test_a_signal_ends_the_traffic_and_the_report_comes(self):
        await self.seed(20)
        async with Server(data=self.data) as server:
            p = await self.start(server.port, "--duration", "60s", "--workers", 2)
            while not await self.is_flowing(server):
                await asyncio.sleep(0.02)
            p.send_signal(signal.SIGINT)
            out, err = await asyncio.wait_for(p.communicate(), 50)
        self.assertEqual((p.returncode, out and json.loads(out)["verified"]), (0, True), (out, err))

    def children(self, pid):
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(x) for x in f.read().split()]

    async def is_flowing(self, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        text = (await reader.read()).decode()
        writer.close()
        return int(re.search(r"^parley_entries_total (\d+)$", text, re.M).group(1)) > 200

    async def test_workers_that_wait_elsewhere_are_used_again_and_again(self):
        await self.seed(40)
        secret = self.file("secret", "a secret of the whole team\n")
        async with Server(data=self.data) as server, Listener("--worker-secret-file", secret) as a, \
                Listener("--worker-secret-file", secret) as b:
            where = f"127.0.0.1:{a.port},127.0.0.1:{b.port}"
            for _ in range(2):
                status, result, err = await self.load(server.port, "--workers", where, "--worker-secret-file", secret)
                self.assertEqual((status, result and result["verified"]), (0, True), (result, err))
                self.assertEqual(result["connections"], 40)
                self.assertGreater(result["delivered"], 0)

    async def test_who_does_not_know_the_secret_is_refused(self):
        await self.seed(20)
        secret = self.file("secret", "a secret of the whole team")
        wrong = self.file("wrong", "a secret of the whole tean")
        async with Listener("--worker-secret-file", secret) as a, Listener() as b:
            for args, why in (([a, "--worker-secret-file", wrong], "the secret is wrong"), ([a], "it wants a secret"),
                              ([b, "--worker-secret-file", secret], "it has no secret")):
                where = f"127.0.0.1:{args[0].port}"
                status, _, err = await self.load(1, "--workers", where, *args[1:])
                self.assertEqual(status, 2)
                self.assertIn(f"worker 1 ({where}): {why}", err)

    async def test_what_is_not_a_coordinator_is_closed_and_the_worker_goes_on(self):
        await self.seed(20)
        async with Server(data=self.data) as server, Listener() as worker:
            for bad in (b"GET / HTTP/1.1\r\n\r\n", struct.pack("<IB", 300 << 20, 4), struct.pack("<IB", 64, 2) + bytes(64)):
                reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
                writer.write(bad)
                await asyncio.wait_for(reader.read(), 30)
                writer.close()
            status, result, err = await self.load(server.port, "--workers", f"127.0.0.1:{worker.port}")
            self.assertEqual((status, result and result["verified"]), (0, True), (result, err))

    async def test_without_a_secret_a_worker_listens_on_loopback_only(self):
        p = await asyncio.create_subprocess_exec(os.path.join(build_dir(), "parley-load"), "--worker-listen", "0.0.0.0:0",
                                                 stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        _, err = await asyncio.wait_for(p.communicate(), 30)
        self.assertEqual(p.returncode, 2)
        self.assertIn("--worker-secret-file is needed", err.decode())

    async def test_what_cannot_be_shared_is_said(self):
        await self.seed(20)
        for args, why in ((["--workers", 11], "too few"), (["--workers", 2, "--rate", 1], "at least one for each worker"),
                          (["--workers", 2, "--scenario", "groups", "--group-size", 20, "--senders", 1, "--rate", 10], "each worker needs one"),
                          (["--workers", "127.0.0.1:1,127.0.0.1:2", "--scenario", "groups", "--group-size", 20], "this machine only"),
                          (["--shared-groups"], "only scenario groups"),
                          (["--workers", "nowhere"], "HOST:PORT is wanted"), (["--workers", 65], "HOST:PORT is wanted")):
            status, _, err = await self.load(1, *args)
            self.assertEqual(status, 2)
            self.assertIn(why, err)

    async def test_a_worker_that_cannot_log_in_says_why(self):
        await self.seed(20)
        status, _, err = await self.load(1, "--workers", 2)
        self.assertEqual(status, 2)
        self.assertRegex(err, r"worker \d \(process \d+\): user \d+ cannot log in at ")


if __name__ == "__main__":
    unittest.main()
