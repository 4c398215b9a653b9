"""What a failing disk does to what was acknowledged."""
import asyncio
import os
import shutil
import subprocess
import tempfile
import unittest

import parley
from parley import DEADLINE, Refused, Server, cid, text

HERE = os.path.dirname(os.path.abspath(__file__))


class FailedSync(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.tmp = tempfile.mkdtemp(prefix="parley-test-")
        self.addCleanup(shutil.rmtree, self.tmp, ignore_errors=True)
        self.shim, self.trigger = os.path.join(self.tmp, "failsync.so"), os.path.join(self.tmp, "fail")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", self.shim, os.path.join(HERE, "failsync.c"), "-ldl"], check=True)

    async def test_the_server_says_so_restarts_itself_and_has_all_that_was_acknowledged(self):
        server = Server(data=os.path.join(self.tmp, "data"), listen=f"127.0.0.1:{parley.free_port()}")
        await server.start(env={"LD_PRELOAD": self.shim, "FAILSYNC": self.trigger,
                                "ASAN_OPTIONS": "verify_asan_link_order=0"})
        self.addAsyncCleanup(server.stop)
        ana, ben = await server.users("ana", "ben")
        phone = await ana.connect()
        sent = [await phone.send(ben, f"m{i}") for i in range(20)]
        open(self.trigger, "w").close()
        last = cid()
        with self.assertRaises((ConnectionError, Refused)):  # not acknowledged, whatever became of it
            await phone.send(ben, "lost?", cid=last)
        line = await asyncio.wait_for(server.process.stdout.readline(), DEADLINE)
        self.assertIn(f"listening on 127.0.0.1:{server.port}", line.decode())
        self.assertEqual(server.tail(1000).count("error restarting"), 1)
        phone = await ana.connect()
        again = await phone.send(ben, "lost?", cid=last)
        self.assertEqual(again["seq"], 21)
        entries = (await phone.ok("history", conv=sent[0]["conv"], limit=200))["entries"]
        self.assertEqual([(e["seq"], e["content"]) for e in entries],
                         [(i + 1, text(f"m{i}")) for i in range(20)] + [(21, text("lost?"))])
        await phone.close()
        self.assertEqual(await server.stop(), 0)


class FullDisk(unittest.IsolatedAsyncioTestCase):
    """On a small file system of its own; needs root for the mount."""

    async def asyncSetUp(self):
        self.tmp = tempfile.mkdtemp(prefix="parley-test-")
        self.addCleanup(shutil.rmtree, self.tmp, ignore_errors=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", self.tmp], capture_output=True)
        if done.returncode != 0:
            self.skipTest("no right to mount a small file system")
        self.addCleanup(subprocess.run, ["umount", "-l", self.tmp], check=False)

    async def test_writes_are_refused_by_name_and_go_on_when_there_is_space(self):
        server = Server(data=os.path.join(self.tmp, "data"), segment="4m", memtable="1m")
        server.log_path = self.tmp + ".log"
        self.addCleanup(lambda: os.path.exists(server.log_path) and os.unlink(server.log_path))
        await server.start()
        self.addAsyncCleanup(server.stop)
        ana, ben = await server.users("ana", "ben")
        phone = await ana.connect()
        filler, acked, refused = os.path.join(self.tmp, "filler"), [await phone.send(ben, "first")], 0
        with open(filler, "wb", buffering=0) as f:  # nothing is left for the close to write
            try:
                while True:
                    f.write(b"x" * 65536)
            except OSError:
                pass
        for _ in range(4000):
            reply = await phone.request("message.send", user=ben.id, cid=cid(), content=text("y" * 15000))
            if "ok" in reply:
                acked.append(reply["ok"])
                continue
            self.assertEqual(reply["error"]["code"], "unavailable")
            refused += 1
            if refused == 20:
                break
        self.assertEqual(refused, 20)
        await server.kill()  # and again while there is no space: what was acknowledged can be read
        await server.start()
        phone = await ana.connect()
        last = await phone.ok("history", conv=acked[0]["conv"], limit=1)
        self.assertEqual(last["entries"][0]["seq"], len(acked))
        os.unlink(filler)
        for _ in range(100):  # space is looked for every second: retry as a client would
            reply = await phone.request("message.send", user=ben.id, cid=cid(), content=text("after"))
            if "ok" in reply:
                acked.append(reply["ok"])
                break
            await asyncio.sleep(reply["error"].get("retry_after_ms", 200) / 1000)
        self.assertIn("ok", reply)
        await server.kill()
        await server.start()
        phone = await ana.connect()
        self.assertEqual([a["seq"] for a in acked], list(range(1, len(acked) + 1)))
        last = await phone.ok("history", conv=acked[0]["conv"], limit=1)
        self.assertEqual(last["entries"][0]["seq"], len(acked))
        await phone.close()
        self.assertEqual(await server.stop(), 0)
