"""Who may try how often to log in, and whom that keeps out."""
import asyncio
import http.client
import json
import time

from parley import DEADLINE, Case

PASSWORD = "correct horse"
A_MINUTE = 10  # tries of one name from one address


class Limits(Case):
    options = {"rate_limit": "on", "threads": 2, "stores": 1}

    async def post(self, path, body, address="127.0.0.1"):
        """From an address of the loopback network: (status, body)."""
        def call():
            c = http.client.HTTPConnection("127.0.0.1", self.server.port, DEADLINE, source_address=(address, 0))
            try:
                c.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
                r = c.getresponse()
                return r.status, json.loads(r.read())
            finally:
                c.close()
        return await asyncio.to_thread(call)

    async def sign_up(self, name, address="127.0.0.1"):
        return await self.post("/v1/accounts", {"username": name, "password": PASSWORD}, address)

    async def log_in(self, name, password, address="127.0.0.1"):
        return await self.post("/v1/sessions", {"username": name, "password": password}, address)

    async def until_limited(self, attempt, want, least):
        """Tries until it is told to wait: `least` times at once, and then as often as the time allows that it took."""
        begun, passed = time.monotonic(), 0
        while (answer := await attempt(passed))[0] != 429:
            self.assertEqual(answer[0], want)
            passed += 1
            self.assertLessEqual(passed, least + 1 + (time.monotonic() - begun) * A_MINUTE / 60)
        self.assertGreaterEqual(passed, least)
        self.assertEqual(answer[1]["code"], "rate_limited")
        self.assertGreater(answer[1]["retry_after_ms"], 0)

    async def test_who_guesses_at_a_name_is_stopped_and_its_owner_elsewhere_is_not(self):
        self.assertEqual((await self.sign_up("alice", "127.0.0.9"))[0], 201)
        await self.until_limited(lambda n: self.log_in(("alice", "ALICE")[n % 2], "wrong guess", "127.0.0.2"), 401, A_MINUTE)
        self.assertEqual((await self.log_in("bob", "wrong guess", "127.0.0.2"))[0], 401)
        self.assertEqual((await self.log_in("alice", PASSWORD, "127.0.0.3"))[0], 201)

    async def test_logins_that_succeed_do_not_use_up_a_name(self):
        self.assertEqual((await self.sign_up("alice"))[0], 201)
        for _ in range(15):
            self.assertEqual((await self.log_in("alice", PASSWORD))[0], 201)

    async def test_sign_ups_for_a_name_do_not_keep_its_owner_out(self):
        self.assertEqual((await self.sign_up("alice"))[0], 201)
        await self.until_limited(lambda n: self.sign_up("alice"), 409, A_MINUTE - 1)
        self.assertEqual((await self.log_in("alice", PASSWORD))[0], 201)

    async def test_an_address_has_one_limit_whichever_core_it_meets(self):
        begun, passed = time.monotonic(), 0
        for n in range(75):  # each on a connection of its own
            passed += (await self.log_in(f"name{n}", "wrong guess"))[0] == 401
        self.assertGreaterEqual(passed, 30)
        self.assertLessEqual(passed, 31 + (time.monotonic() - begun))

    async def test_an_address_has_few_places_in_the_queue_and_others_get_in(self):
        crowd = [asyncio.ensure_future(self.log_in(f"name{n}", "wrong guess", "127.0.0.2")) for n in range(28)]
        other = await self.log_in("somebody", "wrong guess", "127.0.0.3")
        self.assertEqual(other[0], 401)
        answers = await asyncio.gather(*crowd)
        self.assertEqual({status for status, _ in answers}, {401, 429})
        for status, body in answers:
            if status == 429:
                self.assertEqual((body["code"], body["retry_after_ms"]), ("rate_limited", 1000))
