"""The HTTP API: status codes, problem+json, what paths and methods there are, ETags, gzip, health, and rate limits."""
import asyncio
import gzip
import json
import time

from parley import DEADLINE, Case, cid, open_socket, text


class Http(Case):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.ana, self.ben = await self.server.users("ana", "ben")

    def is_problem(self, answer, status, code):
        got, headers, body = answer
        self.assertEqual((got, body["code"], body["status"]), (status, code, status), body)
        self.assertEqual(headers["Content-Type"], "application/problem+json")
        self.assertTrue(body["title"] and body["detail"])

    async def raw(self, *lines, body=b""):
        """What the server says to these lines, up to the end of the stream."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        answer = await asyncio.wait_for(reader.read(), DEADLINE)
        writer.close()
        return answer

    async def test_every_op_has_its_http_form_and_status(self):
        u, made = self.ana, None
        status, _, made = await u.http("POST", "/v1/groups", {"title": "G", "members": [self.ben.id], "cid": cid()})
        self.assertEqual((status, made["seq"]), (201, 1))
        g = f"/v1/groups/{made['conv']}"
        c = f"/v1/conversations/{made['conv']}"
        cleo = await self.server.user("cleo")
        key = lambda: {"Idempotency-Key": cid()}
        for method, path, body, want in (
                ("POST", f"{c}/messages", {"content": text("hi")}, 201),
                ("POST", f"/v1/users/{self.ben.id}/messages", {"content": text("hi")}, 201),
                ("GET", f"{c}/messages?after=0&limit=2", None, 200), ("GET", c, None, 200),
                ("GET", "/v1/conversations", None, 200),
                ("PUT", f"{c}/receipts", {"read": 1}, 200), ("GET", f"{c}/receipts", None, 200),
                ("PUT", f"{c}/typing", {"on": True}, 200),
                ("PATCH", g, {"title": "H"}, 200), ("POST", f"{g}/members", {"users": [cleo.id]}, 200),
                ("GET", f"{g}/members", None, 200),
                ("PATCH", f"{g}/members/{cleo.id}", {"role": "admin"}, 200),
                ("DELETE", f"{g}/members/{cleo.id}", None, 200),
                ("DELETE", f"{g}/members/me", None, 200), ("POST", "/v1/sync", {}, 200),
                ("GET", "/v1/devices", None, 200),
                ("GET", "/v1/users/me", None, 200), ("GET", f"/v1/users/{self.ben.id}", None, 200),
                ("GET", "/v1/users?username=ben", None, 200)):
            status, headers, answer = await u.http(method, path, body, headers=key() if method != "GET" else None)
            self.assertEqual(status, want, (method, path, answer))
            self.assertEqual(headers["Content-Type"], "application/json")

    async def test_errors_are_problems_with_their_code(self):
        http = self.ana.http
        self.is_problem(await http("POST", "/v1/sync", b"{"), 400, "bad_json")
        self.is_problem(await http("POST", "/v1/sync", {"limit": 0}), 400, "bad_request")
        self.is_problem(await http("GET", "/v1/conversations/nowhere"), 404, "not_found")
        self.is_problem(await http("GET", "/v1/nothing"), 404, "not_found")
        unnamed = await http("POST", f"/v1/users/{self.ben.id}/messages", {"content": text("no name")})
        self.is_problem(unnamed, 400, "bad_request")
        self.is_problem(await self.server.http("GET", "/v1/users/me"), 401, "unauthenticated")
        self.is_problem(await self.server.http("GET", "/v1/users/me", token="nonsense"), 401, "unauthenticated")

    async def test_another_method_is_405_and_says_which_there_are(self):
        for method, path, allow in (("PUT", "/v1/users/me", {"GET", "PATCH"}), ("GET", "/v1/sync", {"POST"}),
                                    ("DELETE", "/healthz", {"GET"}),
                                    ("DELETE", "/v1/accounts", {"POST"})):
            status, headers, answer = await self.ana.http(method, path)
            self.assertEqual(status, 405, path)
            self.assertLessEqual(allow, {m.strip() for m in headers["Allow"].split(",")})

    async def test_a_body_without_a_length_or_too_large_is_refused(self):
        auth = f"Authorization: Bearer {self.ana.token}"
        answer = await self.raw("POST /v1/sync HTTP/1.1", "Host: x", auth, "Transfer-Encoding: chunked",
                                body=b"2\r\n{}\r\n0\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 411 "), answer)
        answer = await self.raw("POST /v1/sync HTTP/1.1", "Host: x", auth, "Content-Length: 10000000")
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "), answer)
        self.assertIn(b'"code":"too_large"', answer)

    async def test_a_body_that_does_not_arrive_is_408_also_when_some_of_it_did(self):
        auth = f"Authorization: Bearer {self.ana.token}"
        some, none = await asyncio.gather(
            self.raw("POST /v1/sync HTTP/1.1", "Host: x", auth, "Content-Length: 10", body=b"{"),
            self.raw("POST /v1/sync HTTP/1.1", "Host: x", auth, "Content-Length: 10"))
        self.assertTrue(some.startswith(b"HTTP/1.1 408 "), some)
        self.assertTrue(none.startswith(b"HTTP/1.1 408 "), none)
        self.assertIn(b"application/problem+json", some)

    async def test_a_profile_that_has_not_changed_is_304(self):
        status, headers, _ = await self.ana.http("GET", "/v1/users/me")
        tag = headers["ETag"]
        status, headers, body = await self.ana.http("GET", "/v1/users/me", headers={"If-None-Match": tag})
        self.assertEqual((status, body, headers["ETag"]), (304, None, tag))
        await self.ana.http_ok("PATCH", "/v1/users/me", {"status": "new"})
        status, headers, _ = await self.ana.http("GET", "/v1/users/me", headers={"If-None-Match": tag})
        self.assertEqual(status, 200)
        self.assertNotEqual(headers["ETag"], tag)

    async def test_large_answers_are_compressed_for_those_who_ask(self):
        asks = {"Accept-Encoding": "gzip"}
        _, headers, packed = await self.server.http("GET", "/v1/openapi.json", headers=asks, raw=True)
        self.assertEqual(headers["Content-Encoding"], "gzip")
        _, headers, plain = await self.server.http("GET", "/v1/openapi.json", raw=True)
        self.assertNotIn("Content-Encoding", headers)
        self.assertEqual(gzip.decompress(packed), plain)
        self.assertLess(len(packed), len(plain))

    ROUTES = """
        /v1/accounts post
        /v1/sessions post
        /v1/sessions/current delete
        /v1/users/me get patch
        /v1/users get
        /v1/users/{user} get
        /v1/devices get
        /v1/devices/{device} delete
        /v1/users/{user}/messages post
        /v1/conversations/{conv}/messages post get
        /v1/conversations/{conv}/receipts put get
        /v1/conversations/{conv}/typing put
        /v1/conversations get
        /v1/conversations/{conv} get
        /v1/sync post
        /v1/groups post
        /v1/groups/{conv} patch
        /v1/groups/{conv}/members get post
        /v1/groups/{conv}/members/me delete
        /v1/groups/{conv}/members/{user} patch delete
    """

    async def test_openapi_describes_every_route(self):
        paths = (await self.server.http_ok("GET", "/v1/openapi.json"))["paths"]
        for line in self.ROUTES.strip().splitlines():
            path, *methods = line.split()
            self.assertLessEqual(set(methods), set(paths.get(path, {})), path)

    async def test_health_readiness_and_metrics_need_no_token(self):
        for path in ("/healthz", "/readyz"):
            self.assertEqual((await self.server.http("GET", path, raw=True))[0], 200)
        c = await self.ana.connect()
        await c.send(self.ben, "counted")
        status, headers, body = await self.server.http("GET", "/metrics", raw=True)
        self.assertEqual(status, 200)
        values = dict(line.rsplit(" ", 1) for line in body.decode().splitlines() if line and not line.startswith("#"))
        self.assertEqual(float(values["parley_entries_total"]), 1)
        self.assertEqual(float(values["parley_sessions"]), 1)

    async def test_requests_on_one_connection_are_answered_in_order(self):
        one = f"GET /v1/users/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.ana.token}\r\n\r\n"
        two = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write((one * 3 + two).encode())
        answer = await asyncio.wait_for(reader.read(), DEADLINE)
        writer.close()
        self.assertEqual(answer.count(b"HTTP/1.1 200 "), 4)
        self.assertTrue(answer.endswith(b"ok\n"))


class Limits(Case):
    options = {"rate_limit": "on"}

    async def test_too_many_logins_to_a_name_from_one_address_wait(self):
        await self.server.user("ana")
        body = {"username": "ana", "password": "wrong horse"}
        begun, passed, status = time.monotonic(), -1, 401
        while status == 401:
            status, headers, answer = await self.server.http("POST", "/v1/sessions", body)
            passed += 1
            self.assertLess(passed, 12 + (time.monotonic() - begun) / 6)  # 10 at once, and 10 a minute
        self.assertGreater(passed, 0)
        self.assertEqual((status, answer["code"]), (429, "rate_limited"))
        self.assertGreater(int(headers["Retry-After"]), 0)
        self.assertGreater(answer["retry_after_ms"], 0)

    async def test_a_flood_of_sends_is_slowed_and_persistent_abuse_closed(self):
        ana = await self.server.user("ana")
        c = await ana.connect()
        sends = [c.send_nowait("message.send", user=ana.id, cid=cid(), content=text("x")) for _ in range(600)]
        replies = await asyncio.wait_for(asyncio.gather(*sends), DEADLINE)
        refused = [r["error"] for r in replies if "error" in r]
        self.assertTrue(refused)
        self.assertEqual({e["code"] for e in refused}, {"rate_limited"})
        self.assertGreater(min(e["retry_after_ms"] for e in refused), 0)
        self.assertGreaterEqual(len(replies) - len(refused), 300)
        s = await open_socket(self.server)
        await s.send(json.dumps({"id": 0, "op": "auth", "token": ana.token}))
        frame = json.dumps({"id": 1, "op": "message.send", "user": ana.id, "cid": "again", "content": text("x")})
        try:
            for _ in range(5000):
                await s.send(frame)
        except Exception:
            pass  # closed under way
        await asyncio.wait_for(s.wait_closed(), DEADLINE)
        self.assertEqual(s.close_code, 4429)
