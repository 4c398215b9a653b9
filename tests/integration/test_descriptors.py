"""Connections that say nothing and take every descriptor they can get."""
import asyncio
import re
import resource
import unittest

from parley import DEADLINE, Case, Server, text
from test_lifecycle import run


class Silent:
    """Connections from one address of the loopback network; `open` counts those that the server did not close at once."""

    def __init__(self, server, address):
        self.server, self.address, self.streams = server, address, []

    async def connect(self, n):
        for _ in range(n):
            try:
                self.streams.append(await asyncio.open_connection("127.0.0.1", self.server.port,
                                                                  local_addr=(self.address, 0)))
            except OSError:
                pass
        return self

    async def open(self, before):
        """How many are still there when those that are refused have been told. The server had met `before` connections."""
        asked = 1
        while await met(self.server) < before + len(self.streams) + asked:
            asked += 1
        told = [asyncio.ensure_future(reader.read(1)) for reader, _ in self.streams]
        _, left = await asyncio.wait(told, timeout=1)
        for f in left:
            f.cancel()
        await asyncio.gather(*told, return_exceptions=True)
        return len(left)

    async def leave(self):
        for _, writer in self.streams:
            writer.transport.abort()
        self.streams.clear()


async def metric(server, name):
    _, _, body = await server.http("GET", "/metrics", raw=True)
    return int(re.search(rf"^{name} (\d+)$", body.decode(), re.M)[1])


async def met(server):
    """Connections that it took or refused so far, the one that asks among them."""
    _, _, body = await server.http("GET", "/metrics", raw=True)
    return sum(map(int, re.findall(r"^parley_accepts(?:_refused)?_total (\d+)$", body.decode(), re.M)))


class Few(Case):
    """A server that may have LIMIT descriptors."""
    LIMIT = 400

    async def asyncSetUp(self):
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if raised < 2000:
            self.skipTest("this process may not have the descriptors that it needs")
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, raised))
        self.server = Server(**self.options)
        await self.server.start(prefix=("prlimit", f"--nofile={self.LIMIT}:{self.LIMIT}"))
        self.addAsyncCleanup(self._stop)


class Silence(Few):
    options = {"threads": 2, "stores": 1, "segment": "4m", "memtable": "1m"}

    async def test_silent_connections_take_none_from_the_files_and_do_not_restart_the_server(self):
        ana, ben = await self.server.users("ana", "ben")
        phone = await ana.connect()
        most = await metric(self.server, "parley_sockets_max")
        self.assertLess(most, self.LIMIT - 100)
        silent = await Silent(self.server, "127.0.0.2").connect(600)
        first = await phone.send(ben, "first")
        for n in range(900):  # some 13 MB: several segments, and tables
            await phone.send(ben, text("y" * 15000))
        log = self.server.tail(10000)
        for word in ("restarting", "failed", "log_disk_full", "accept_paused"):
            self.assertNotIn(word, log)
        await silent.leave()
        for _ in range(100):
            if await sockets(self.server) < 10:
                break
            await asyncio.sleep(0.1)
        self.assertGreater(await metric(self.server, "parley_accepts_refused_total"), 100)
        other = await ben.connect()
        page = await other.ok("history", conv=first["conv"], limit=1)
        self.assertEqual(page["entries"][0]["seq"], 901)
        await phone.close()
        await other.close()


class Strangers(Few):
    options = {"threads": 2, "stores": 1, "rate_limit": "on"}

    async def test_an_address_full_of_strangers_leaves_room_for_others(self):
        most = await metric(self.server, "parley_sockets_max")
        before = await met(self.server)
        one = await Silent(self.server, "127.0.0.2").connect(most)
        self.assertLessEqual(await one.open(before), most // 8)
        ana = await asyncio.wait_for(self.server.user("ana"), DEADLINE)
        phone = await ana.connect()
        for n in range(3, 8):
            await Silent(self.server, f"127.0.0.{n}").connect(most // 4)
        await phone.ok("ping")
        self.assertLessEqual(await sockets(self.server), most // 4 + 2)
        await phone.close()


class Late(Few):
    """A store that comes takes its descriptors from the connections."""
    options = {"threads": 1, "stores": 1}

    async def until_most(self, most):
        async with asyncio.timeout(120):
            while await metric(self.server, "parley_sockets_max") != most:
                await asyncio.sleep(0.1)

    async def test_a_late_store_takes_from_the_connections_and_gives_back(self):
        most = await metric(self.server, "parley_sockets_max")
        for verb, left in (("add", most - 72), ("drain", most)):
            status, out, err = await run("parley", "stores", verb, "late", "--data", self.server.data)
            self.assertEqual((status, err), (0, ""), out)
            await self.until_most(left)


class LateAndFew(Few):
    LIMIT = 64 + 72 + 3 * 16 + 64 + 20
    options = {"threads": 1, "stores": 1}

    async def test_a_store_that_finds_no_descriptors_is_not_opened_and_that_is_said(self):
        most = await metric(self.server, "parley_sockets_max")
        status, out, err = await run("parley", "stores", "add", "late", "--data", self.server.data)
        self.assertEqual((status, err), (0, ""), out)
        async with asyncio.timeout(60):
            while "no descriptors are left for it" not in self.server.tail(1000):
                await asyncio.sleep(0.1)
        self.assertEqual(await metric(self.server, "parley_sockets_max"), most)
        _, out, _ = await run("parley", "stores", "status", "--data", self.server.data)
        self.assertIn("could not be opened", out)
        ana, ben = await self.server.users("ana", "ben")
        await (await ana.connect()).send(ben, "all else goes on")


async def sockets(server):
    """Asked for until there is a place to ask from: silent strangers are closed after ten seconds."""
    for _ in range(300):
        try:
            return await metric(server, "parley_sockets")
        except OSError:
            await asyncio.sleep(0.1)
    raise AssertionError("there was no place any more")


class TooFew(unittest.IsolatedAsyncioTestCase):
    async def test_a_server_with_too_few_descriptors_says_how_many_it_needs(self):
        server = Server(stores=1, threads=1)
        with self.assertRaises(AssertionError) as caught:
            await server.start(prefix=("prlimit", "--nofile=100:100"))
        self.assertIn("did not start", str(caught.exception))
        self.assertRegex(server.tail(), r"100 descriptors are allowed .* at least \d+ are needed")
