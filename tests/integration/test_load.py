"""parley-load against a real server: every scenario verifies, and what a server loses or repeats is found and named."""
import asyncio
import json
import os
import shutil
import struct
import tempfile
import unittest

from parley import Server, build_dir

FAULTS = {"missing", "repeats", "disorder", "wrong", "strays", "resyncs", "refused", "unacked", "lost", "garbled", "workers"}
LATENCY = {"p50", "p90", "p99", "p99.9", "max", "mean", "samples"}


class Meddler:
    """A proxy that hands on frames from the server; `meddle(text)` says how often each is."""

    def __init__(self, port, meddle):
        self.to, self.meddle = port, meddle

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def serve(self, reader, writer):
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.to)
        there = asyncio.create_task(self.pump(reader, up_writer))
        try:
            writer.write(await up_reader.readuntil(b"\r\n\r\n"))
            while True:
                head = await up_reader.readexactly(2)
                length = head[1]
                if length == 126:
                    head += await up_reader.readexactly(2)
                    length = struct.unpack(">H", head[2:])[0]
                elif length == 127:
                    head += await up_reader.readexactly(8)
                    length = struct.unpack(">Q", head[2:])[0]
                body = await up_reader.readexactly(length)
                writer.write((head + body) * self.meddle(body.decode(errors="replace")))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            there.cancel()
            writer.close()
            up_writer.close()

    async def pump(self, reader, writer):
        while data := await reader.read(65536):
            writer.write(data)


class Load(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="parley-load-")
        self.users = os.path.join(self.folder, "users")
        self.data = os.path.join(self.folder, "data")

    def tearDown(self):
        shutil.rmtree(self.folder)

    async def call(self, program, *args):
        p = await asyncio.create_subprocess_exec(os.path.join(build_dir(), program), *map(str, args), stdout=asyncio.subprocess.PIPE,
                                                 stderr=asyncio.subprocess.PIPE)
        out, err = await asyncio.wait_for(p.communicate(), 120)
        return p.returncode, out.decode(), err.decode()

    async def seed(self, count):
        status, _, err = await self.call("parley", "users", "seed", "--data", self.data, "--count", count, "--prefix", "load-",
                                         "--out", self.users)
        self.assertEqual(status, 0, err)

    async def load(self, port, *args):
        status, out, err = await self.call("parley-load", "--url", f"ws://127.0.0.1:{port}/v1/ws", "--users", self.users,
                                           "--warmup", "100ms", "--duration", "1s", "--json", "-", *args)
        self.assertNotEqual(status, 2, err)
        return status, json.loads(out)

    def assert_verified(self, status, result):
        self.assertEqual((status, result["verified"]), (0, True), result)
        self.assertEqual(set(result["faults"]), FAULTS)
        self.assertEqual(set(result["ack_ms"]), LATENCY)
        self.assertEqual(set(result["delivery_ms"]), LATENCY)

    async def test_every_scenario_verifies_and_ends_with_0(self):
        await self.seed(100)
        async with Server(data=self.data) as server:
            for args, did in ((["pairs"], "delivered"), (["pairs", "--rate", 500], "delivered"), (["groups", "--group-size", 20], "delivered"),
                              (["groups", "--spread"], "delivered"), (["mixed", "--rate", 500], "delivered"), (["idle"], None),
                              (["login"], "resume"), (["reconnect", "--group-size", 10], "resume"),
                              (["reconnect", "--group-size", 10, "--resume-rate", 200], "resume"),
                              (["history", "--depth", 120], "history"), (["history", "--depth", 0], "history"),
                              (["slow", "--group-size", 20], "delivered"), (["churn"], "resume")):
                with self.subTest(scenario=args):
                    status, result = await self.load(server.port, "--scenario", *args)
                    self.assert_verified(status, result)
                    if did == "delivered":
                        self.assertGreater(result["delivered"], 0)
                    elif did:
                        self.assertGreater(result["acts"][did]["samples"], 0)

    async def test_the_result_tells_what_the_server_used_and_how_it_went_over_time(self):
        await self.seed(20)
        async with Server(data=self.data) as server:
            status, result = await self.load(server.port, "--scenario", "mixed", "--rate", 500)
        self.assert_verified(status, result)
        self.assertGreater(result["server"]["cpu_us"], 0)
        self.assertGreater(result["server"]["rss_kib"], 1024)
        self.assertGreater(len(result["series"]), 1)
        self.assertEqual(set(result["series"][0]), {"at_s", "acked_per_s", "delivered_per_s", "p50", "p99", "p99.9"})
        self.assertGreater(sum(s["delivered_per_s"] for s in result["series"]), 0)
        self.assertGreater(result["acts"]["receipt"]["per_s"], 0)

    async def test_who_was_away_gets_by_sync_what_was_sent_meanwhile(self):
        await self.seed(100)
        async with Server(data=self.data) as server:
            status, result = await self.load(server.port, "--scenario", "reconnect", "--group-size", 10, "--resume-rate", 500, "--rate",
                                             2000, "--connecting", 4)
            self.assert_verified(status, result)
            self.assertGreater(result["caught_up"], 0)

    async def test_a_page_is_written_that_needs_nothing_else(self):
        await self.seed(20)
        page = os.path.join(self.folder, "page.html")
        file = os.path.join(self.folder, "result.json")
        async with Server(data=self.data) as server:
            status, out, err = await self.call("parley-load", "--url", f"ws://127.0.0.1:{server.port}/v1/ws", "--users", self.users,
                                               "--warmup", "100ms", "--duration", "1s", "--html", page, "--json", file)
        self.assertEqual((status, err), (0, ""))
        self.assertIn("verified", out)
        with open(file) as f:
            self.assertTrue(json.load(f)["verified"])
        with open(page) as f:
            text = f.read()
        self.assertEqual(text.count("<polyline"), 5)
        for outside in ("http:", "https:", "src=", "href=", "url(", "@import"):
            self.assertNotIn(outside, text)

    async def test_who_stops_reading_is_told_to_sync_and_gets_everything(self):
        await self.seed(8)
        async with Server(data=self.data, threads=1) as server:  # with two, one that gets no processor drops what is for those who read
            # More than sockets and queues hold of one conversation, however long that takes.
            status, result = await self.load(server.port, "--scenario", "slow", "--group-size", 8, "--size", 15000, "--senders", 2,
                                             "--window", 4, "--max-entries", 2000, "--duration", "100s")
            self.assert_verified(status, result)
            self.assertGreater(result["resyncs_wanted"], 0)
            self.assertGreater(result["caught_up"], 0)

    async def meddled(self, meddle, *args):
        await self.seed(20)
        async with Server(data=self.data) as server, Meddler(server.port, meddle) as proxy:
            return await self.load(proxy.port, "--max-entries", 2000, "--drain-timeout", "1s", *args)

    def nth_message(self, n, times):
        """A meddle that treats the n-th message event in its own way."""
        seen = 0

        def meddle(body):
            nonlocal seen
            seen += body.startswith('{"ev":"message"')
            return times if body.startswith('{"ev":"message"') and seen == n else 1
        return meddle

    async def test_an_event_that_is_lost_is_counted_as_missing(self):
        status, result = await self.meddled(self.nth_message(200, 0))
        self.assertEqual((status, result["verified"], result["faults"]["missing"]), (1, False, 1), result)
        self.assertIn("never came", result["first_fault"])

    async def test_an_event_that_comes_twice_is_counted_as_a_repeat(self):
        status, result = await self.meddled(self.nth_message(200, 2))
        self.assertEqual((status, result["verified"], result["faults"]["repeats"]), (1, False, 1), result)
        self.assertIn("repeated", result["first_fault"])

    async def test_an_ack_that_is_lost_is_counted(self):
        acks = 0

        def meddle(body):
            nonlocal acks
            is_ack = body.startswith('{"re"') and '"seq"' in body
            acks += is_ack
            return 0 if is_ack and acks == 200 else 1
        status, result = await self.meddled(meddle)
        self.assertEqual((status, result["verified"], result["faults"]["unacked"]), (1, False, 1), result)


if __name__ == "__main__":
    unittest.main()
