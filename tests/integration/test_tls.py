"""TLS of the server's own: wss and https, a certificate changed while it runs, sessions resumed, and what is refused."""
import asyncio
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import unittest

import websockets

from parley import Client, Server, build_dir, cid, text


def make(folder, name):
    """A self-signed certificate for 127.0.0.1: (cert, key)."""
    cert, key = os.path.join(folder, name + ".pem"), os.path.join(folder, name + ".key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out",
                    cert, "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return cert, key


class Tls(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="parley-tls-")
        self.data = os.path.join(self.folder, "data")
        self.cert, self.key = make(self.folder, "first")
        self.users = os.path.join(self.folder, "users")
        subprocess.run([os.path.join(build_dir(), "parley"), "users", "seed", "--data", self.data, "--count", "20", "--prefix", "load-",
                        "--out", self.users], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def tearDown(self):
        shutil.rmtree(self.folder)

    def server(self, **more):
        return Server(data=self.data, tls_cert=self.cert, tls_key=self.key, **more)

    def trusting(self, cert, version=None):
        c = ssl.create_default_context(cafile=cert)
        if version:
            c.minimum_version = c.maximum_version = version
        return c

    def user(self, n):
        with open(self.users) as f:
            name, user, device, token = f.read().splitlines()[n].split("\t")
        return user, token

    async def connect(self, server, n, context):
        socket_ = await websockets.connect(f"wss://127.0.0.1:{server.port}/v1/ws", ssl=context, subprotocols=["parley.v1"],
                                           ping_interval=None, max_size=None, compression=None, close_timeout=2)
        c = Client(socket_)
        await c.ok("auth", token=self.user(n)[1])
        return c

    def handshake(self, server, context, session=None):
        """(the session, resumed, the certificate's bytes); reads an answer, so that tickets have come."""
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as s, \
                context.wrap_socket(s, server_hostname="127.0.0.1", session=session) as t:
            t.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            got = b""
            while data := t.recv(4096):
                got += data
            self.assertTrue(got.startswith(b"HTTP/1.1 200 "), got)
            return t.session, t.session_reused, t.getpeercert(binary_form=True)

    async def test_messages_pages_and_large_answers_go_through(self):
        async with self.server() as server:
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                context = self.trusting(self.cert, version)
                a, b = await self.connect(server, 0, context), await self.connect(server, 1, context)
                size = 15000  # several reads of the server, and its answers take several records
                for i in range(30):
                    await a.ok("message.send", user=self.user(1)[0], cid=cid(), content=text("x" * size))
                    event = await b.event("message")
                    self.assertEqual(len(event["content"]["text"]), size)
                page = await b.ok("history", conv=event["conv"], limit=50)
                self.assertGreaterEqual(len(page["entries"]), 30)
                await a.close()
                await b.close()

    async def test_a_session_is_resumed_at_any_reactor(self):
        async with self.server(threads=2) as server:
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                context = self.trusting(self.cert, version)
                run = lambda s: asyncio.get_running_loop().run_in_executor(None, self.handshake, server, context, s)
                session, resumed, _ = await run(None)
                self.assertFalse(resumed)
                for _ in range(16):  # which reactor accepts is the kernel's choice
                    session, resumed, _ = await run(session)
                    self.assertTrue(resumed)

    async def test_hup_takes_another_certificate_and_keeps_connections_and_a_bad_one_changes_nothing(self):
        async with self.server() as server:
            old = self.trusting(self.cert)
            a = await self.connect(server, 0, old)
            cert, key = make(self.folder, "second")
            first = ssl.PEM_cert_to_DER_cert(open(self.cert).read())
            second = ssl.PEM_cert_to_DER_cert(open(cert).read())
            shutil.copy(cert, self.cert)
            await self.hup(server, "reload_refused")  # its key is the first one's
            blind = ssl._create_unverified_context()
            run = lambda: asyncio.get_running_loop().run_in_executor(None, self.handshake, server, blind)
            self.assertEqual((await run())[2], first)
            shutil.copy(key, self.key)
            await self.hup(server, "reloaded")
            await self.until(run, second)
            await a.ok("message.send", user=self.user(1)[0], cid=cid(), content=text("still here"))
            await a.close()

    async def hup(self, server, word):
        before = self.count(server, word)
        server.process.send_signal(signal.SIGHUP)
        while self.count(server, word) == before:
            await asyncio.sleep(0.01)

    async def until(self, run, cert):
        for _ in range(4):  # each reactor takes it when its turn comes
            while (await run())[2] != cert:
                await asyncio.sleep(0.01)

    def count(self, server, word):
        with open(server.log_path) as f:
            return f.read().count(word + " ")

    async def test_plain_text_and_old_versions_are_hung_up_on(self):
        async with self.server() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            try:
                answer = await asyncio.wait_for(reader.read(), 20)
            except ConnectionResetError:
                answer = b""
            self.assertFalse(answer.startswith(b"HTTP/"), answer)
            writer.close()
            old = ssl._create_unverified_context()
            old.set_ciphers("ALL:@SECLEVEL=0")
            old.minimum_version = ssl.TLSVersion.TLSv1
            old.maximum_version = ssl.TLSVersion.TLSv1_1
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                await asyncio.get_running_loop().run_in_executor(None, self.handshake, server, old)

    def shaken_in_pieces(self, server, version, split):
        """A handshake of which every byte comes by itself, and a request in records of a byte each: (socket, its TLS)."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.trusting(self.cert, version).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        s = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                tls.do_handshake()
                is_done = True
            except ssl.SSLWantReadError:
                is_done = False
            for piece in split(outgoing.read()):
                s.sendall(piece)
            if is_done:
                return s, tls, incoming, outgoing
            incoming.write(s.recv(65536))

    def ask_in_pieces(self, server, version, split):
        s, tls, incoming, outgoing = self.shaken_in_pieces(server, version, split)
        with s:
            for byte in b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":
                tls.write(bytes([byte]))
                s.sendall(outgoing.read())
            got = b""
            while True:
                try:
                    got += tls.read(4096)
                    if b"\r\n\r\n" in got:
                        return got
                except ssl.SSLWantReadError:
                    incoming.write(s.recv(65536))

    async def test_a_handshake_that_comes_byte_by_byte_is_one_like_any_other(self):
        def bytes_of(data):
            return [data[i:i + 1] for i in range(len(data))]

        def records_of(data):
            """What is not encrypted in records of a byte each."""
            if data[:1] != b"\x16":
                return [data]
            n, rest = int.from_bytes(data[3:5], "big"), data[5:]
            return [data[:3] + b"\x00\x01" + rest[i:i + 1] for i in range(n)] + [rest[n:]]
        async with self.server() as server:
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                for split in (bytes_of, records_of):
                    with self.subTest(version=version, split=split.__name__):
                        got = await asyncio.get_running_loop().run_in_executor(None, self.ask_in_pieces, server, version, split)
                        self.assertTrue(got.startswith(b"HTTP/1.1 200 "), got)

    async def test_what_cannot_be_served_stops_the_start_and_is_named(self):
        other = make(self.folder, "other")
        for args, why in (([self.cert, other[1]], "tls-key"), (["/nowhere", self.key], "tls-cert /nowhere cannot be used"),
                          ([self.key, self.key], "tls-cert"), ([self.cert, ""], "both are needed")):
            p = await asyncio.create_subprocess_exec(
                os.path.join(build_dir(), "parleyd"), "--listen", "127.0.0.1:0", "--data", os.path.join(self.folder, "never"), "--tls-cert",
                args[0], "--tls-key", args[1], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
            _, err = await asyncio.wait_for(p.communicate(), 30)
            self.assertNotEqual(p.returncode, 0)
            self.assertIn(why, err.decode())
        self.assertFalse(os.path.exists(os.path.join(self.folder, "never")))

    async def load(self, server, *args):
        p = await asyncio.create_subprocess_exec(
            os.path.join(build_dir(), "parley-load"), "--url", f"wss://127.0.0.1:{server.port}/v1/ws", "--users", self.users, "--warmup",
            "100ms", "--duration", "1s", "--json", "-", *args, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        out, err = await asyncio.wait_for(p.communicate(), 60)
        return p.returncode, out.decode(), err.decode()

    async def test_the_load_generator_speaks_it_and_trusts_only_whom_it_may(self):
        async with self.server() as server:
            for args in (["--scenario", "pairs"], ["--scenario", "groups", "--group-size", "10", "--size", "4000"], ["--scenario", "login"],
                         ["--scenario", "reconnect", "--group-size", "10"], ["--scenario", "pairs", "--workers", "2"]):
                with self.subTest(args=args):
                    status, out, err = await self.load(server, "--insecure", *args)
                    self.assertEqual((status, err), (0, ""), out)
                    result = json.loads(out)
                    self.assertTrue(result["verified"])
                    self.assertGreaterEqual(result["tls"]["handshakes"], 20)
                    if "login" in args:
                        self.assertEqual(result["tls"]["handshakes"] - result["tls"]["resumed"], 20)
            status, _, err = await self.load(server)
            self.assertEqual(status, 2)
            self.assertIn("certificate", err)


if __name__ == "__main__":
    unittest.main()
