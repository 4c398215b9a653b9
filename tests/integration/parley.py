"""What the integration tests stand on: a real server, a real WebSocket client (Python's websockets), real HTTP.

    async with Server() as server:
        ana = await server.user("ana")          signed up, not connected
        phone = await ana.connect()             a Client on a WebSocket, authenticated
        sent = await phone.ok("message.send", user=ben.id, cid=cid(), content=text("hello"))
        event = await phone_of_ben.event("message")

Nothing here sleeps to wait for an effect: calls wait for the reply or event they name, with a deadline that fails the test.
"""
import asyncio
import collections
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

import websockets

DEADLINE = 20.0
_counter = itertools.count(1)


def build_dir():
    here = os.path.dirname(os.path.abspath(__file__))
    return os.environ.get("PARLEY_BUILD", os.path.join(here, "..", "..", "build", "release"))


def cid():
    return f"c{os.getpid()}-{next(_counter)}"


def text(s):
    return {"type": "text", "text": s}


class Refused(Exception):
    """An error reply: .code, .message, .body."""

    def __init__(self, body):
        super().__init__(f"{body.get('code')}: {body.get('message', body.get('detail'))}")
        self.code, self.body = body.get("code"), body
        self.message = body.get("message", body.get("detail"))


class Server:
    """parleyd on a free port and a temporary data folder. Options: parleyd's, `_` for `-`: Server(stores=2)."""

    def __init__(self, data=None, rate_limit="off", **options):
        self.own_data = data is None
        self.data = data or tempfile.mkdtemp(prefix="parley-test-")
        self.options = dict(rate_limit=rate_limit, **options)
        self.process = None
        self.port = None
        self.log_path = os.path.join(self.data + ".log")

    def command(self):
        args = [os.path.join(build_dir(), "parleyd"), "--listen", "127.0.0.1:0", "--data", self.data]
        for name, value in self.options.items():
            args += [f"--{name.replace('_', '-')}", str(value)]
        return args

    async def start(self, env=None, prefix=()):
        self.log = open(self.log_path, "ab")
        self.process = await asyncio.create_subprocess_exec(
            *prefix, *self.command(), stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})})
        line = (await asyncio.wait_for(self.process.stdout.readline(), DEADLINE * 3)).decode()
        if "listening on " not in line:
            await self.process.wait()
            raise AssertionError(f"the server did not start: {line!r}\n{self.tail()}")
        self.port = int(line.split("listening on ")[1].split()[0].rsplit(":", 1)[1])
        return self

    def tail(self, lines=40):
        with open(self.log_path, errors="replace") as f:
            return "".join(f.readlines()[-lines:])

    async def stop(self, sig=signal.SIGTERM):
        """Returns the exit status."""
        if self.process is None:
            return None
        if self.process.returncode is None:
            self.process.send_signal(sig)
        status = await asyncio.wait_for(self.process.wait(), DEADLINE)
        self.process = None
        self.log.close()
        return status

    async def kill(self):
        return await self.stop(signal.SIGKILL)

    async def restart(self, sig=signal.SIGTERM, **options):
        await self.stop(sig)
        self.options.update(options)
        return await self.start()

    async def __aenter__(self):
        return await self.start()

    async def __aexit__(self, kind, value, trace):
        if kind is not None:
            sys.stdout.write(self.tail())
        status = await self.stop()
        if kind is None:
            assert status in (0, None), f"the server ended with {status}\n{self.tail()}"
        if self.own_data:
            shutil.rmtree(self.data, ignore_errors=True)
            os.unlink(self.log_path)

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))

    # HTTP

    async def http(self, method, path, body=None, token=None, headers=None, raw=False):
        """(status, headers, parsed JSON or None). `body` is JSON unless it is bytes."""
        def call():
            c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
            h = dict(headers or {})
            if token:
                h["Authorization"] = f"Bearer {token}"
            data = body
            if body is not None and not isinstance(body, bytes):
                data = json.dumps(body).encode()
                h.setdefault("Content-Type", "application/json")
            c.request(method, path, data, h)
            r = c.getresponse()
            content = r.read()
            c.close()
            if raw:
                return r.status, r.headers, content
            return r.status, r.headers, json.loads(content) if content else None
        return await asyncio.get_running_loop().run_in_executor(None, call)

    async def http_ok(self, method, path, body=None, token=None, **more):
        status, _, answer = await self.http(method, path, body, token, **more)
        if status >= 300:
            raise Refused(answer or {"code": str(status)})
        return answer

    async def user(self, name, password="correct horse battery"):
        return User(self, await self.http_ok("POST", "/v1/accounts", {"username": name, "password": password}), password)

    async def users(self, *names):
        return [await self.user(n) for n in names]


class User:
    def __init__(self, server, answer, password):
        self.server, self.password = server, password
        self.name, self.id = answer["user"]["username"], answer["user"]["id"]
        self.device, self.token = answer["device"], answer["token"]

    async def login(self, device=None):
        """Another device (or a named one again) of the same user, as a User."""
        body = {"username": self.name, "password": self.password}
        if device:
            body["device"] = device
        return User(self.server, await self.server.http_ok("POST", "/v1/sessions", body), self.password)

    async def connect(self, **kw):
        return await Client.open(self.server, self, **kw)

    async def http(self, method, path, body=None, **more):
        return await self.server.http(method, path, body, self.token, **more)

    async def http_ok(self, method, path, body=None, **more):
        return await self.server.http_ok(method, path, body, self.token, **more)


async def open_socket(server, headers=None, **kw):
    url = f"ws://127.0.0.1:{server.port}/v1/ws"
    kw.setdefault("ping_interval", None)
    kw.setdefault("max_size", None)
    kw.setdefault("max_queue", None)
    kw.setdefault("compression", None)
    kw.setdefault("open_timeout", DEADLINE)
    kw.setdefault("close_timeout", 2)
    if headers:
        name = "additional_headers" if int(websockets.__version__.split(".")[0]) >= 14 else "extra_headers"
        kw[name] = headers
    return await websockets.connect(url, subprotocols=["parley.v1"], **kw)


class Client:
    """A WebSocket session. Replies are matched by id; events are kept in order of arrival."""

    def __init__(self, socket_, user=None):
        self.socket, self.user = socket_, user
        self.events = collections.deque()
        self.replies = {}
        self.unmatched = collections.deque()
        self.arrived = asyncio.Condition()
        self.close_code = None
        self.ids = itertools.count(1)
        self.reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, server, user=None, auth=True, batch=None, **kw):
        c = cls(await open_socket(server, **kw), user)
        if user and auth:
            args = {"token": user.token}
            if batch is not None:
                args["batch"] = batch
            c.hello = await c.ok("auth", **args)
        return c

    async def _read(self):
        try:
            async for frame in self.socket:
                parsed = json.loads(frame)
                for message in parsed if isinstance(parsed, list) else [parsed]:
                    async with self.arrived:
                        if "ev" in message:
                            self.events.append(message)
                        elif message.get("re") in self.replies:
                            self.replies[message["re"]].set_result(message)
                        else:
                            self.unmatched.append(message)
                        self.arrived.notify_all()
        except websockets.ConnectionClosed:
            pass
        finally:
            self.close_code = self.socket.close_code
            async with self.arrived:
                for f in self.replies.values():
                    if not f.done():
                        f.set_exception(ConnectionError(f"closed with {self.close_code}"))
                self.arrived.notify_all()

    def send_nowait(self, op, **args):
        """Starts a request: a future of the whole reply. Order of calls is order on the wire."""
        i = next(self.ids)
        f = self.replies[i] = asyncio.get_running_loop().create_future()
        f.add_done_callback(lambda _: self.replies.pop(i, None))
        if self.close_code is not None:
            f.set_exception(ConnectionError(f"closed with {self.close_code}"))
            return f
        write = asyncio.ensure_future(self.socket.send(json.dumps({"id": i, "op": op, **args})))
        write.add_done_callback(lambda w: w.cancelled() or w.exception())  # a dead socket shows in _read
        return f

    async def request(self, op, **args):
        return await asyncio.wait_for(self.send_nowait(op, **args), DEADLINE)

    async def ok(self, op, **args):
        reply = await self.request(op, **args)
        if "error" in reply:
            raise Refused(reply["error"])
        return reply["ok"]

    async def insist(self, op, **args):
        """`ok`, asked for again as a client does while the server is busy."""
        while True:
            reply = await self.request(op, **args)
            if "ok" in reply:
                return reply["ok"]
            if reply["error"]["code"] != "unavailable":
                raise Refused(reply["error"])
            await asyncio.sleep(reply["error"].get("retry_after_ms", 0) / 1000)

    async def send(self, to, content, **more):
        """message.send to a User or a conversation id."""
        where = {"conv": to} if isinstance(to, str) else {"user": to.id}
        if isinstance(content, str):
            content = text(content)
        return await self.ok("message.send", **where, cid=more.pop("cid", None) or cid(), content=content, **more)

    async def raw(self, frame):
        await self.socket.send(frame)

    async def _wait(self, find):
        async def wait():
            async with self.arrived:
                while True:
                    found = find()
                    if found is not None:
                        return found
                    if self.close_code is not None:
                        raise ConnectionError(f"closed with {self.close_code}")
                    await self.arrived.wait()
        return await asyncio.wait_for(wait(), DEADLINE)

    async def event(self, name=None, **match):
        """Takes the first waiting or coming event of this name (and fields); others stay."""
        def find():
            for e in self.events:
                if (name is None or e["ev"] == name) and all(e.get(k) == v for k, v in match.items()):
                    self.events.remove(e)
                    return e
            return None
        return await self._wait(find)

    async def entries(self, n):
        """The next n events that are entries, in order of arrival."""
        def find():
            got = [e for e in self.events if "seq" in e]
            if len(got) < n:
                return None
            for e in got[:n]:
                self.events.remove(e)
            return got[:n]
        return await self._wait(find)

    async def stray(self):
        """The next reply that matches no request (`"re":null`, say)."""
        return await self._wait(lambda: self.unmatched.popleft() if self.unmatched else None)

    async def fence(self):
        """When this returns, everything that was on its way to this session before has arrived."""
        await self.ok("ping")

    async def closed(self):
        """Waits for the server to close: the code."""
        await asyncio.wait_for(asyncio.shield(self.reader), DEADLINE)
        return self.close_code

    async def close(self):
        await self.socket.close()
        await asyncio.wait_for(self.reader, DEADLINE)


class Case(unittest.IsolatedAsyncioTestCase):
    """A test with one server (self.server) of its own; `options` are parleyd's."""
    options = {}

    async def asyncSetUp(self):
        self.server = await Server(**self.options).start()
        self.addAsyncCleanup(self._stop)

    async def _stop(self):
        failed = any(error for _, error in getattr(getattr(self, "_outcome", None), "errors", None) or [])
        if failed:
            sys.stdout.write(self.server.tail())
        status = await self.server.stop()
        shutil.rmtree(self.server.data, ignore_errors=True)
        if os.path.exists(self.server.log_path):
            os.unlink(self.server.log_path)
        self.assertIn(status, (0, None))

    def flip(self, marker):
        """Changes a byte of the record that holds `marker`: the file's name."""
        for folder, _, files in os.walk(self.server.data):
            for name in files:
                path = os.path.join(folder, name)
                if not name.endswith(".seg"):
                    continue
                with open(path, "r+b") as f:
                    at = f.read().find(marker)
                    if at >= 0:
                        f.seek(at)
                        f.write(b"M")
                        return path
        self.fail(f"{marker} is in no segment")

    async def refused(self, code, awaitable):
        with self.assertRaises(Refused) as caught:
            await awaitable
        self.assertEqual(caught.exception.code, code, caught.exception.body)
        return caught.exception


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
