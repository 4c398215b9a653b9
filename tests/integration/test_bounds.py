"""What the frames' and HTTP's tests leave open."""
import asyncio
import json
import re

from parley import DEADLINE, Case, Server, cid, open_socket, text
from test_frames import TEXT, Wire


class Arguments(Case):
    async def test_the_argument_at_fault_is_named_and_the_connection_stays(self):
        ana = await self.server.user("ana")
        send = {"op": "message.send", "user": ana.id, "cid": "c", "content": text("x")}
        hist = {"op": "history", "conv": "x"}
        without = lambda d, k: {n: v for n, v in d.items() if n != k}
        cases = [("cid", without(send, "cid")), ("content", without(send, "content")), ("cid", {**send, "cid": ""}),
                 ("cid", {**send, "cid": "c" * 65}), ("cid", {**send, "cid": "a b"}), ("cid", {**send, "cid": 7}),
                 ("content", {**send, "content": "x"}), ("type", {**send, "content": {}}),
                 ("reply_to", {**send, "reply_to": "1"}), ("reply_to", {**send, "reply_to": -1}),
                 ("reply_to", {**send, "reply_to": 1.5}), ("mentions", {**send, "mentions": ana.id}),
                 ("mentions", {**send, "mentions": [ana.id] * 65}), ("conv", without(hist, "conv")),
                 ("conv", {**hist, "conv": "c" * 65}), ("limit", {**hist, "limit": 0}),
                 ("limit", {**hist, "limit": 201}),
                 ("limit", {**hist, "limit": "5"}), ("before", {**hist, "before": True}),
                 ("after", {**hist, "after": 2 ** 63 - 1}), ("on", {"op": "typing", "conv": "x"}),
                 ("on", {"op": "typing", "conv": "x", "on": 1}), ("since", {"op": "sync", "since": []}),
                 ("title", {"op": "group.create", "members": [], "cid": "c"}),
                 ("members", {"op": "group.create", "title": "t", "cid": "c"})]
        c = await ana.connect()
        for name, request in cases:
            request = dict(request)
            reply = await c.request(request.pop("op"), **request)
            self.assertEqual(reply.get("error", {}).get("code"), "bad_request", (name, request, reply))
            self.assertRegex(reply["error"]["message"], rf"\b{name}\b", request)
        await c.fence()

    async def test_the_bounds_of_depth_and_batch_are_32_and_256(self):
        ana = await self.server.user("ana")
        w = await Wire.open(self.server, ana.token)
        for inner, ok in ((31, True), (32, False)):
            w.frame(TEXT, b'{"id":1,"op":"ping","x":' + b"[" * inner + b"]" * inner + b"}")
            self.assertEqual("ok" in await w.reply(), ok, inner)
        w.writer.close()
        c = await ana.connect(batch=True)
        f = [c.replies.setdefault(n, asyncio.get_running_loop().create_future()) for n in range(1000, 1256)]
        await c.raw(json.dumps([{"id": n, "op": "ping"} for n in range(1000, 1256)]))
        self.assertTrue(all(r["ok"] == {} for r in await asyncio.wait_for(asyncio.gather(*f), DEADLINE)))


class Deep(Case):
    options = {"threads": 1, "stores": 1}
    READS = 4060  # with the sixteen, fewer than may be unanswered

    async def asyncSetUp(self):
        self.server = Server(**self.options)
        await self.server.start(prefix=("prlimit", f"--stack={1 << 20}"))  # every thread's, so that depth shows
        self.addAsyncCleanup(self._stop)

    async def test_thousands_of_reads_that_waited_and_are_answered_at_once_do_not_nest(self):
        ana, ben = await self.server.users("ana", "ben")
        a, busy = await ana.connect(batch=True), await ben.connect(batch=True)
        conv = (await a.send(ben, "x"))["conv"]
        alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
        nobody = ["u" + "".join(alphabet[(i << 1) >> 5 * k & 31] for k in reversed(range(13))) for i in range(1, 1001)]
        looks = [busy.send_nowait("group.create", title="x", members=nobody, cid=cid()) for _ in range(200)]
        await asyncio.wait({looks[0]}, timeout=DEADLINE)  # the thread that looks users up has begun
        ids = [range(n, min(n + 250, self.READS)) for n in range(0, self.READS, 250)]
        # All turns are taken, by what that thread is to answer.
        await a.raw(json.dumps([{"id": f"d{n}", "op": "device.list"} for n in range(16)]))
        for some in ids:
            await a.raw(json.dumps([{"id": n, "op": "history", "conv": conv, "limit": 1} for n in some]))
        got = [await a.stray() for _ in range(self.READS + 16)]
        self.assertTrue(all("ok" in r for r in got))
        self.assertEqual(len({r["re"] for r in got}), self.READS + 16)
        await asyncio.wait(looks, timeout=DEADLINE)
        await a.fence()


class Flow(Case):
    options = {"threads": 1, "stores": 1, "memtable": "1m", "cache": "1m"}
    REQUESTS = 6000  # more than the 4,096 that may wait: so many a few reads bring before the first is answered

    async def taken(self):
        _, _, body = await self.server.http("GET", "/metrics", raw=True)
        return int(body.split(b"\nparley_requests_total ")[1].split()[0])

    async def grown(self, ana, conv, reads):
        """KiB the server grew by, at most, while so many pages of history were asked for."""
        w = await Wire.open(self.server, (await ana.login()).token)
        before, taken = self.server.rss_kib(), await self.taken()
        most, got = 0, []

        async def write():
            for n in range(self.REQUESTS):
                w.frame(TEXT, json.dumps({"id": n, "op": "history", "conv": conv, "limit": 20}).encode())
                if n % 50 == 0:
                    await w.writer.drain()
            await w.writer.drain()

        async def read():
            nonlocal most
            while len(got) < self.REQUESTS:
                got.append((await w.reply())["re"])
                if len(got) % 50 == 0:
                    most = max(most, self.server.rss_kib() - before)
        if reads:
            await asyncio.wait_for(asyncio.gather(write(), read()), 3 * DEADLINE)  # all replies, on a busy machine
        else:
            await asyncio.wait_for(write(), DEADLINE)  # requests are small: the sockets' buffers hold the rest
            c = await ana.connect()
            for _ in range(300):
                await c.ok("ping")
                most = max(most, self.server.rss_kib() - before)
            self.assertLess(await self.taken() - taken, self.REQUESTS, "it went on reading")
            await asyncio.wait_for(read(), 3 * DEADLINE)
        w.writer.close()
        return most, got

    async def test_who_reads_no_replies_costs_a_bounded_amount_and_gets_all_of_them_later(self):
        ana = await self.server.user("ana")
        a = await ana.connect()
        for _ in range(20):
            conv = (await a.send(ana, {"type": "x", "b": "b" * 2000}))["conv"]
        await self.grown(ana, conv, True)
        control, _ = await self.grown(ana, conv, True)
        deaf, got = await self.grown(ana, conv, False)
        self.assertEqual(sorted(got), list(range(self.REQUESTS)))
        # All replies together are 240 MiB. Of a bounded amount, an ordinary build keeps 5 MiB; ThreadSanitizer's shadow of it is
        # several times as large, and comes on top.
        self.assertLess(deaf, control + 48 * 1024)


class More(Case):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.ana = await self.server.user("ana")

    async def talk(self, data):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write(data)
        return reader, writer

    async def test_expect_100_continue_is_answered_before_the_body(self):
        reader, writer = await self.talk(
            f"POST /v1/sync HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.ana.token}\r\nContent-Length: 2\r\n"
            "Expect: 100-continue\r\nConnection: close\r\n\r\n".encode())
        self.assertTrue((await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE)).startswith(b"HTTP/1.1 100 "))
        writer.write(b"{}")
        self.assertTrue((await asyncio.wait_for(reader.read(), DEADLINE)).startswith(b"HTTP/1.1 200 "))
        writer.close()

    async def test_a_204_has_no_body(self):
        reader, writer = await self.talk(
            f"DELETE /v1/sessions/current HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.ana.token}\r\n"
            "Connection: close\r\n\r\n".encode())
        head, _, body = (await asyncio.wait_for(reader.read(), DEADLINE)).partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 204 "), head)
        self.assertEqual(body, b"")
        self.assertNotRegex(head.lower(), rb"content-length: [1-9]|transfer-encoding")
        writer.close()

    async def test_bad_numbers_and_encoded_bytes_that_are_no_text_are_refused(self):
        sent = await (await self.ana.connect()).send(self.ana, "x")
        for query, name in (("limit=x", "limit"), ("limit=0", "limit"), ("limit=201", "limit"), ("limit=", "limit"),
                            ("after=-1", "after"), ("before=1.5", "before"), ("before=99999999999999999999", "before"),
                            ("limit=5&limit=6", "limit")):
            status, _, body = await self.ana.http("GET", f"/v1/conversations/{sent['conv']}/messages?{query}")
            self.assertEqual((status, body["code"]), (400, "bad_request"), (query, body))
            self.assertIn(name, body["detail"])
        for path in ("/v1/users?username=%ff", "/v1/users/%00", "/v1/users/%ff"):
            status, _, body = await self.ana.http("GET", path)
            self.assertIn(status, (400, 404), (path, body))
            self.assertEqual(status, body["status"], path)
        self.assertEqual((await self.ana.http("GET", "/v1/users?username=%61na"))[0], 200)

    async def test_every_reference_in_openapi_resolves(self):
        doc = await self.server.http_ok("GET", "/v1/openapi.json")
        refs = re.findall(r'"\$ref": "([^"]+)"', json.dumps(doc))
        self.assertTrue(refs)
        for ref in set(refs):
            at = doc
            for key in ref.removeprefix("#/").split("/"):
                at = at[key]
        ids = [op["operationId"] for p in doc["paths"].values() for k, op in p.items() if isinstance(op, dict)]
        self.assertEqual(len(ids), len(set(ids)), sorted(ids))
        for path, methods in doc["paths"].items():
            for m, op in methods.items():
                named = {p["name"] for p in op.get("parameters", []) if p.get("in") == "path"}
                self.assertEqual(named, set(re.findall(r"{(\w+)}", path)), (m, path))

    async def metrics(self):
        _, _, body = await self.server.http("GET", "/metrics", raw=True)
        kinds, values = {}, {}
        for line in body.decode().splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                self.assertNotIn(name, kinds)
                kinds[name] = kind
            elif not line.startswith("# HELP "):
                m = re.fullmatch(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]\w*="[^"\n]*",?)*\})? (\S+)', line)
                self.assertTrue(m, line)
                self.assertIn(re.sub(r"_(bucket|sum|count)$", "", m[1]) if m[1] not in kinds else m[1], kinds, line)
                self.assertNotIn(m[1] + (m[2] or ""), values)
                values[m[1] + (m[2] or "")] = float(m[3])
        self.assertTrue(body.endswith(b"\n"))
        return kinds, values

    async def test_metrics_are_well_formed_and_counters_move(self):
        kinds, before = await self.metrics()
        c = await self.ana.connect()
        again = cid()
        await c.send(self.ana, "x", cid=again)
        await c.send(self.ana, "x", cid=again)
        await c.raw("nonsense")
        await c.stray()
        _, after = await self.metrics()  # the logs' own numbers come a second later
        for name in ("accepts", "frames_in", "frames_out", "bytes_in", "bytes_out", "socket_writes", "requests",
                     "request_errors", "bad_frames", "http_requests", "entries", "duplicate_sends"):
            self.assertGreater(after[f"parley_{name}_total"], before[f"parley_{name}_total"], name)
        for name, kind in kinds.items():
            if kind == "counter":
                self.assertGreaterEqual(after.get(name, 0), before.get(name, 0), name)
