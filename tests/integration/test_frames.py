"""Frames: what is no request is answered or closed as the contract says, and nothing from a peer stops the server."""
import asyncio
import base64
import json
import os
import struct

from parley import DEADLINE, Case, cid, open_socket, text

TEXT, BINARY, CONTINUE, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


class Wire:
    """A WebSocket whose every bit is ours."""

    @classmethod
    async def open(cls, server, token=None):
        w = cls()
        w.reader, w.writer = await asyncio.open_connection("127.0.0.1", server.port)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = ["GET /v1/ws HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: parley.v1"]
        w.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = await asyncio.wait_for(w.reader.readuntil(b"\r\n\r\n"), DEADLINE)
        assert head.startswith(b"HTTP/1.1 101"), head
        if token:
            w.frame(TEXT, json.dumps({"id": 0, "op": "auth", "token": token}).encode())
            assert "ok" in json.loads((await w.receive())[1])
        return w

    def frame(self, opcode, payload=b"", fin=True, masked=True, length=None, rsv=0):
        n = len(payload) if length is None else length
        first = (0x80 if fin else 0) | rsv | opcode
        bit = 0x80 if masked else 0
        if n < 126:
            head = struct.pack("!BB", first, bit | n)
        elif n < 65536:
            head = struct.pack("!BBH", first, bit | 126, n)
        else:
            head = struct.pack("!BBQ", first, bit | 127, n)
        mask = b"\x01\x02\x03\x04" if masked else b""
        if masked:
            payload = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
        self.writer.write(head + mask + payload)

    async def receive(self):
        async def one():
            first, n = await self.reader.readexactly(2)
            if n == 126:
                n, = struct.unpack("!H", await self.reader.readexactly(2))
            elif n == 127:
                n, = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 15, await self.reader.readexactly(n)
        return await asyncio.wait_for(one(), DEADLINE)

    async def reply(self):
        opcode, payload = await self.receive()
        assert opcode == TEXT, (opcode, payload)
        return json.loads(payload)

    async def close_code(self):
        """Reads up to the server's Close; None when the connection just ends."""
        try:
            while True:
                opcode, payload = await self.receive()
                if opcode == CLOSE:
                    return struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1005
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        finally:
            self.writer.close()


class Malformed(Case):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.ana = await self.server.user("ana")

    async def answers(self, cases, code):
        """Each frame is answered with `code` and its id, on a connection that goes on; a few to a connection (4400)."""
        for at in range(0, len(cases), 8):
            w = await Wire.open(self.server, (await self.ana.login()).token)
            for frame, re in cases[at:at + 8]:
                w.frame(TEXT, frame if isinstance(frame, bytes) else frame.encode())
                got = await w.reply()
                self.assertEqual((got.get("re"), got.get("error", {}).get("code")), (re, code), frame)
            w.frame(TEXT, b'{"id":"after","op":"ping"}')
            self.assertEqual(await w.reply(), {"re": "after", "ok": {}})
            w.writer.close()

    async def test_what_is_no_json_is_bad_json(self):
        deep = "[" * 40 + "]" * 40
        await self.answers([(f, None) for f in ("{", "nonsense", "{}x", "{'id':1}", "", " ", "nul", '"a', "{]")]
                           + [(f'{{"id":7,"op":"ping","x":{v}}}', 7) for v in
                              ("1e400", "-1e400", "9223372036854775808", '"\\ud800"', '"\\udc00x"', deep, '{"a":1,"a":2}',
                               "01", "1.", "+1", '"\t"', "NaN", "Infinity")]
                           + [('{"id":7,}', 7), ('{"id":7,"op":"ping"}{}', 7),
                              ('{"id":7,"op":"ping","op":"ping"}', 7)], "bad_json")

    async def test_what_is_json_and_no_request_is_a_bad_request(self):
        await self.answers([("{}", None), ('{"op":"ping"}', None), ('{"id":null,"op":"ping"}', None),
                            ('{"id":1.5,"op":"ping"}', None),
                            ('{"id":true,"op":"ping"}', None), ('{"id":[],"op":"ping"}', None),
                            (json.dumps({"id": "x" * 65, "op": "ping"}), None), ('{"id":3}', 3), ('{"id":3,"op":7}', 3),
                            ('[{"id":1,"op":"ping"}]', None)], "bad_request")

    async def test_an_unknown_op_is_said_to_be_unknown(self):
        await self.answers([('{"id":3,"op":"nothing"}', 3), ('{"id":"s","op":"Ping"}', "s"), ('{"id":4,"op":""}', 4),
                            ('{"id":5,"op":"account.create","username":"x","password":"y"}', 5)], "unknown_op")

    async def test_ids_come_back_as_they_were(self):
        w = await Wire.open(self.server, self.ana.token)
        for i in (0, -1, 2 ** 53, 9223372036854775807, "", "x" * 64, "ü\n\"\\"):
            w.frame(TEXT, json.dumps({"op": "ping", "id": i}).encode())
            self.assertEqual(await w.reply(), {"re": i, "ok": {}})
        w.writer.close()

    async def test_too_many_of_them_close_with_4400(self):
        w = await Wire.open(self.server, self.ana.token)
        for _ in range(200):
            w.frame(TEXT, b"nonsense")
        self.assertEqual(await w.close_code(), 4400)

    async def test_batches_are_for_those_who_said_so(self):
        c = await self.ana.connect(batch=True)
        f = [c.replies.setdefault(i, asyncio.get_running_loop().create_future()) for i in ("a", "b", "c")]
        await c.raw(json.dumps([{"id": "a", "op": "ping"}, {"id": "b", "op": "no"}, {"id": "c", "op": "device.list"}]))
        a, b, d = await asyncio.wait_for(asyncio.gather(*f), DEADLINE)
        self.assertEqual((a["ok"], b["error"]["code"], len(d["ok"]["devices"])), ({}, "unknown_op", 1))
        c.replies.clear()
        await c.raw(json.dumps([{"id": n, "op": "ping"} for n in range(257)]))
        self.assertEqual((await c.stray())["error"]["code"], "bad_request")
        await c.raw("[[]]")
        self.assertIsNone((await c.stray())["re"])
        await c.raw("[]")
        self.assertIsNone((await c.stray())["re"])
        await c.ok("ping")

    async def test_sends_of_one_batch_keep_their_order(self):
        c = await self.ana.connect(batch=True)
        loop = asyncio.get_running_loop()
        f = [c.replies.setdefault(f"m{n}", loop.create_future()) for n in range(100)]
        send = {"op": "message.send", "user": self.ana.id}
        await c.raw(json.dumps([{**send, "id": f"m{n}", "cid": cid(), "content": text(str(n))} for n in range(100)]))
        replies = await asyncio.wait_for(asyncio.gather(*f), DEADLINE)
        self.assertEqual([r["ok"]["seq"] for r in replies], list(range(1, 101)))


class WireFaults(Case):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.ana = await self.server.user("ana")

    async def ends_with(self, codes, *frames):
        w = await Wire.open(self.server, (await self.ana.login()).token)
        for opcode, payload, more in frames:
            w.frame(opcode, payload, **more)
        self.assertIn(await w.close_code(), codes)
        self.assertEqual((await self.server.http("GET", "/healthz", raw=True))[0], 200)

    async def test_a_binary_frame_closes_with_1003(self):
        await self.ends_with({1003}, (BINARY, b'{"id":1,"op":"ping"}', {}))

    async def test_invalid_utf8_closes_with_1007(self):
        for bad in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"):
            await self.ends_with({1007}, (TEXT, b'{"id":1,"op":"ping","x":"' + bad + b'"}', {}))

    async def test_a_frame_over_128_kib_closes_with_1009(self):
        await self.ends_with({1009}, (TEXT, b" " * (128 * 1024 + 1), {}))
        await self.ends_with({1009}, (TEXT, b"{", {"length": 1 << 40}))
        await self.ends_with({1009}, (TEXT, b" " * 100000, {"fin": False}), (CONTINUE, b" " * 100000, {}))

    async def test_an_unmasked_frame_and_reserved_bits_end_the_connection(self):
        await self.ends_with({1002, None}, (TEXT, b'{"id":1,"op":"ping"}', {"masked": False}))
        await self.ends_with({1002, None}, (3, b"x", {}))
        await self.ends_with({1002, None}, (TEXT, b'{"id":1,"op":"ping"}', {"rsv": 0x40}))
        await self.ends_with({1002, None}, (CONTINUE, b"x", {}))

    async def test_a_message_in_pieces_is_put_together_with_pings_between(self):
        w = await Wire.open(self.server, self.ana.token)
        whole = json.dumps({"id": "whole", "op": "ping", "filler": "ü" * 3000}, ensure_ascii=False).encode()
        cuts = [0, 1, 7, 33, 2001, len(whole)]
        for n, (a, b) in enumerate(zip(cuts, cuts[1:])):
            w.frame(TEXT if n == 0 else CONTINUE, whole[a:b], fin=b == len(whole))
            if b != len(whole):
                w.frame(PING, b"are you there")
        pongs = 0
        while True:
            opcode, payload = await w.receive()
            if opcode == TEXT:
                self.assertEqual(json.loads(payload), {"re": "whole", "ok": {}})
                break
            self.assertEqual((opcode, payload), (PONG, b"are you there"))
            pongs += 1
        self.assertGreaterEqual(pongs, 1)
        w.writer.close()

    async def test_a_frame_that_comes_byte_by_byte_is_read(self):
        w = await Wire.open(self.server, self.ana.token)
        payload = b'{"id":1,"op":"ping"}'
        for byte in bytes([0x80 | TEXT, 0x80 | len(payload), 0, 0, 0, 0]) + payload:
            w.writer.write(bytes([byte]))
            await w.writer.drain()
        self.assertEqual(await w.reply(), {"re": 1, "ok": {}})
        w.writer.close()

    async def test_a_connection_cut_in_the_middle_of_a_frame_harms_nobody(self):
        for _ in range(20):
            w = await Wire.open(self.server, (await self.ana.login()).token)
            w.frame(TEXT, b'{"id":1,"op":"message.send"', length=5000)
            w.writer.transport.abort()
        await (await self.ana.connect()).ok("ping")

    async def test_a_peers_close_is_answered(self):
        s = await open_socket(self.server)
        await asyncio.wait_for(s.close(1000), DEADLINE)
        self.assertEqual(s.close_code, 1000)
