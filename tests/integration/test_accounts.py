"""Sign-up, login, logout, devices and profiles: what is granted, what is refused, and when a token is dead."""
import asyncio
import json
import re

from parley import Case, Client, Refused, cid, open_socket, text

ID = re.compile(r"^[A-Za-z0-9._:-]{1,64}$")
PASSWORD = "correct horse battery"


class SignUp(Case):
    async def create(self, **body):
        return await self.server.http("POST", "/v1/accounts", body)

    async def test_answers_user_device_and_token(self):
        status, headers, answer = await self.create(username="ana", password=PASSWORD, name="Ana Müller")
        self.assertEqual(status, 201)
        self.assertEqual(set(answer), {"user", "device", "token"})
        self.assertEqual(answer["user"], {"id": answer["user"]["id"], "username": "ana", "name": "Ana Müller"})
        self.assertRegex(answer["user"]["id"], ID)
        self.assertRegex(answer["device"], ID)
        self.assertRegex(answer["token"], r"^[A-Za-z0-9_-]{43}$")

    async def test_who_gave_no_name_has_none_in_any_answer(self):
        _, _, answer = await self.create(username="ana", password=PASSWORD)
        nameless = {"id": answer["user"]["id"], "username": "ana"}
        self.assertEqual(answer["user"], nameless)
        again = await self.server.http_ok("POST", "/v1/sessions", {"username": "ana", "password": PASSWORD})
        self.assertEqual(again["user"], nameless)

    async def test_usernames_are_folded_and_unique(self):
        ana = await self.server.user("Ana.B-c_1")
        self.assertEqual(ana.name, "ana.b-c_1")
        for name in ("ana.b-c_1", "ANA.B-C_1"):
            status, _, answer = await self.create(username=name, password=PASSWORD)
            self.assertEqual((status, answer["code"]), (409, "conflict"))
        self.assertEqual((await ana.login()).id, ana.id)

    async def test_one_of_many_who_want_a_name_at_once_gets_it(self):
        answers = await asyncio.gather(*(self.create(username="wanted", password=PASSWORD) for _ in range(6)))
        self.assertEqual(sorted(status for status, _, _ in answers), [201] + [409] * 5)

    async def test_bad_names_are_refused(self):
        for name in ("", "ab", "a" * 33, "with space", "slash/es", "ümlaut", "ana\u0000", "a@b", 7, None, ["ana"]):
            status, _, answer = await self.create(username=name, password=PASSWORD)
            self.assertEqual((status, answer["code"]), (400, "bad_request"), name)
            self.assertIn("username", answer["detail"])
        for name in ("abc", "a" * 32, "...", "0-_"):
            self.assertEqual((await self.create(username=name, password=PASSWORD))[0], 201, name)

    async def test_bad_passwords_are_refused(self):
        for password in ("", "1234567", "p" * 257, "ü" * 129, "1234\u00005678", 12345678, None):
            status, _, answer = await self.create(username="ana", password=password)
            self.assertEqual((status, answer["code"]), (400, "bad_request"), password)
            self.assertIn("password", answer["detail"])
        for name, password in (("short", "12345678"), ("long", "p" * 256), ("bytes", "ü" * 128)):
            status, _, answer = await self.create(username=name, password=password)
            self.assertEqual(status, 201, (name, answer))
            status, _, _ = await self.server.http("POST", "/v1/sessions", {"username": name, "password": password})
            self.assertEqual(status, 201, name)

    async def test_what_is_missing_is_named(self):
        for body, missing in (({"password": PASSWORD}, "username"), ({"username": "ana"}, "password")):
            status, _, answer = await self.create(**body)
            self.assertEqual((status, answer["code"]), (400, "bad_request"))
            self.assertIn(missing, answer["detail"])

    async def test_the_phone_is_private(self):
        answer = await self.server.http_ok("POST", "/v1/accounts",
                                           {"username": "ana", "password": PASSWORD, "phone": "+49 30 123456"})
        ben = await self.server.user("ben")
        self.assertNotIn("phone", answer["user"])
        self.assertNotIn("phone", await ben.http_ok("GET", f"/v1/users/{answer['user']['id']}"))
        self.assertNotIn("phone", await ben.http_ok("GET", "/v1/users?username=ana"))
        status, _, refused = await self.create(username="cleo", password=PASSWORD, phone="no number")
        self.assertEqual((status, refused["code"]), (400, "bad_request"))

    async def test_it_survives_a_crash(self):
        ana = await self.server.user("ana")
        await self.server.restart(9)
        self.assertEqual((await ana.http_ok("GET", "/v1/users/me"))["id"], ana.id)
        self.assertEqual((await ana.login()).id, ana.id)
        status, _, _ = await self.create(username="ana", password=PASSWORD)
        self.assertEqual(status, 409)


class Login(Case):
    async def login(self, **body):
        return await self.server.http("POST", "/v1/sessions", body)

    async def test_each_login_is_another_device(self):
        ana = await self.server.user("ana")
        again = await ana.login()
        self.assertEqual(again.id, ana.id)
        self.assertNotEqual(again.device, ana.device)
        self.assertNotEqual(again.token, ana.token)
        for one in (ana, again):
            self.assertEqual((await one.http_ok("GET", "/v1/users/me"))["id"], ana.id)

    async def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(self):
        await self.server.user("ana")
        known = await self.server.http("POST", "/v1/sessions", {"username": "ana", "password": "wrong horse"}, raw=True)
        unknown = await self.server.http("POST", "/v1/sessions", {"username": "nobody", "password": "wrong horse"}, raw=True)
        impossible = await self.server.http("POST", "/v1/sessions", {"username": "no body!", "password": "wrong horse"},
                                            raw=True)
        self.assertEqual(known[0], 401)
        self.assertEqual(known[2], unknown[2])
        self.assertEqual(known[2], impossible[2])
        self.assertEqual(dict(known[1]), dict(unknown[1]))

    async def test_a_named_device_gets_a_new_token_and_the_old_one_dies(self):
        ana = await self.server.user("ana")
        phone = await ana.connect()
        again = await ana.login(device=ana.device)
        self.assertEqual(again.device, ana.device)
        self.assertEqual(await phone.closed(), 4409)
        status, _, answer = await ana.http("GET", "/v1/users/me")
        self.assertEqual((status, answer["code"]), (401, "unauthenticated"))
        await (await again.connect()).ok("ping")

    async def test_only_ones_own_device_can_be_named(self):
        ana, ben = await self.server.users("ana", "ben")
        for device in (ben.device, "d" + "x" * 20, "nothing"):
            status, _, answer = await self.login(username="ana", password=PASSWORD, device=device)
            self.assertEqual((status, answer["code"]), (404, "not_found"), device)
        status, _, answer = await self.login(username="ana", password=PASSWORD, device="not an id!")
        self.assertEqual((status, answer["code"]), (400, "bad_request"))
        await ben.http_ok("GET", "/v1/users/me")

    async def test_a_revoked_device_cannot_be_named(self):
        ana = await self.server.user("ana")
        tablet = await ana.login()
        await ana.http_ok("DELETE", f"/v1/devices/{tablet.device}")
        status, _, answer = await self.login(username="ana", password=PASSWORD, device=tablet.device)
        self.assertEqual((status, answer["code"]), (404, "not_found"))

    async def test_a_second_connection_of_a_device_replaces_the_first(self):
        ana = await self.server.user("ana")
        first = await ana.connect()
        second = await ana.connect()
        self.assertEqual(await first.closed(), 4409)
        await second.ok("ping")
        third = await ana.connect(auth=False, headers={"Authorization": f"Bearer {ana.token}"})
        self.assertEqual(await second.closed(), 4409)
        await third.ok("ping")

    async def test_devices_of_one_user_live_side_by_side(self):
        ana = await self.server.user("ana")
        phone, tablet = await ana.connect(), await (await ana.login()).connect()
        await phone.ok("ping")
        await tablet.ok("ping")


class Logout(Case):
    async def test_the_token_is_dead_at_once_and_its_socket_closes(self):
        ana = await self.server.user("ana")
        tablet = await ana.login()
        phone, other = await ana.connect(), await tablet.connect()
        status, _, answer = await ana.http("DELETE", "/v1/sessions/current")
        self.assertEqual((status, answer), (204, None))
        status, headers, answer = await ana.http("GET", "/v1/users/me")
        self.assertEqual((status, answer["code"]), (401, "unauthenticated"))
        self.assertIn("Bearer", headers["WWW-Authenticate"])
        self.assertEqual(await phone.closed(), 4401)
        await other.ok("ping")

    async def test_a_dead_token_stays_dead_after_a_crash(self):
        ana = await self.server.user("ana")
        await ana.http("DELETE", "/v1/sessions/current")
        await self.server.restart(9)
        self.assertEqual((await ana.http("GET", "/v1/users/me"))[0], 401)

    async def test_an_offered_dead_token_is_refused_in_both_ways(self):
        ana = await self.server.user("ana")
        await ana.http("DELETE", "/v1/sessions/current")
        c = await ana.connect(auth=False)
        await self.refused("unauthenticated", c.ok("auth", token=ana.token))
        self.assertEqual(await c.closed(), 4401)
        for token in (ana.token, "nonsense", ""):
            with self.assertRaises(Exception) as caught:
                await open_socket(self.server, {"Authorization": f"Bearer {token}"})
            self.assertEqual(getattr(caught.exception, "status_code", None), 401, caught.exception)


class Auth(Case):
    async def test_the_answer_tells_what_a_client_needs(self):
        ana = await self.server.user("ana")
        c = await ana.connect()
        self.assertEqual(set(c.hello) & {"user", "device", "server_time", "epoch", "heartbeat_ms", "limits"},
                         {"user", "device", "server_time", "epoch", "heartbeat_ms", "limits"})
        self.assertEqual(c.hello["user"]["id"], ana.id)
        self.assertEqual(c.hello["user"]["username"], "ana")
        self.assertEqual(c.hello["device"], ana.device)
        self.assertIsInstance(c.hello["server_time"], int)
        epoch = c.hello["epoch"]
        await self.server.restart()
        self.assertEqual((await ana.connect()).hello["epoch"], epoch)

    async def test_other_ops_before_it_are_unauthenticated(self):
        ana = await self.server.user("ana")
        c = await ana.connect(auth=False)
        for op, args in (("message.send", {"user": ana.id, "cid": cid(), "content": text("x")}),
                         ("sync", {}), ("device.list", {}), ("conversation.list", {})):
            await self.refused("unauthenticated", c.ok(op, **args))
        await c.ok("auth", token=ana.token)
        await c.ok("device.list")

    async def test_a_token_in_the_header_is_enough_and_auth_then_sets_batch(self):
        ana = await self.server.user("ana")
        c = await ana.connect(auth=False, headers={"Authorization": f"Bearer {ana.token}"})
        await c.ok("ping")
        await c.send(ana, "a note")
        hello = await c.ok("auth", batch=True)
        self.assertEqual((hello["user"]["id"], hello["device"]), (ana.id, ana.device))
        await c.raw('[{"id":"b1","op":"ping"}]')
        self.assertEqual(await c.stray(), {"re": "b1", "ok": {}})

    async def test_a_second_auth_is_a_bad_request(self):
        ana = await self.server.user("ana")
        c = await ana.connect()
        await self.refused("bad_request", c.ok("auth", token=ana.token))
        await c.ok("ping")

    async def test_who_says_nothing_is_closed_with_4408(self):
        c = await Client.open(self.server)
        self.assertEqual(await c.closed(), 4408)

    async def test_what_is_committed_before_the_answer_is_not_missed(self):
        """A send answered before auth was sent is in sync; one after the answer is pushed; none is in neither."""
        ana, ben = await self.server.users("ana", "ben")
        a = await ana.connect()
        conv = (await a.send(ben, "0"))["conv"]
        sends = [a.send_nowait("message.send", conv=conv, cid=cid(), content=text(str(n))) for n in range(1, 150)]
        b = await ben.connect()
        history = await b.ok("history", conv=conv, limit=200)
        await asyncio.gather(*sends)
        await b.fence()
        seen = {e["seq"] for e in history["entries"]} | {e["seq"] for e in b.events if "seq" in e}
        self.assertEqual(seen, set(range(1, 151)))


class Devices(Case):
    async def test_they_are_listed_in_pages(self):
        ana = await self.server.user("ana")
        devices = {ana.device} | {(await ana.login()).device for _ in range(4)}
        await self.server.user("ben")
        c = await ana.connect()
        whole = await c.ok("device.list")
        self.assertEqual({d["device"] for d in whole["devices"]}, devices)
        self.assertFalse(whole["more"])
        seen, cursor = [], None
        while True:
            page = await c.ok("device.list", limit=2, **({"cursor": cursor} if cursor else {}))
            self.assertLessEqual(len(page["devices"]), 2)
            seen += page["devices"]
            if not page["more"]:
                break
            cursor = page["cursor"]
        self.assertEqual(seen, whole["devices"])
        self.assertEqual(await ana.http_ok("GET", "/v1/devices"), whole)
        self.assertNotIn("token", str(whole))

    async def test_revoking_one_kills_its_token_and_closes_its_socket(self):
        ana = await self.server.user("ana")
        tablet = await ana.login()
        phone, other = await ana.connect(), await tablet.connect()
        self.assertEqual(await phone.ok("device.revoke", device=tablet.device), {})
        self.assertEqual(await other.closed(), 4401)
        self.assertEqual((await tablet.http("GET", "/v1/users/me"))[0], 401)
        await phone.ok("ping")

    async def test_revoking_ones_own_device_ends_this_session(self):
        ana = await self.server.user("ana")
        phone = await ana.connect()
        await phone.raw(json.dumps({"id": 1, "op": "device.revoke", "device": ana.device}))
        self.assertEqual(await phone.closed(), 4401)
        self.assertEqual((await ana.http("GET", "/v1/users/me"))[0], 401)

    async def test_other_peoples_devices_look_like_none(self):
        ana, ben = await self.server.users("ana", "ben")
        phone = await ana.connect()
        answers = [await phone.request("device.revoke", device=d) for d in (ben.device, "dAAAAAAAAAAAAAAAAAAAAAA")]
        for a in answers:
            self.assertEqual(a["error"]["code"], "not_found")
        self.assertEqual(answers[0]["error"], answers[1]["error"])
        await ben.http_ok("GET", "/v1/users/me")


    async def test_the_thirty_third_is_refused_and_nobody_is_logged_out_for_it(self):
        ana = await self.server.user("ana")
        phone = await ana.connect()
        self.assertEqual(phone.hello["limits"]["devices"], 32)
        others = [await ana.login() for _ in range(31)]
        refused = await self.refused("conflict", ana.login())
        self.assertIn("device.revoke", refused.message)
        again = await ana.login(device=others[0].device)
        await (await again.connect()).fence()
        await phone.fence()
        await phone.ok("device.revoke", device=others[1].device)
        both = await asyncio.gather(ana.login(), ana.login(), return_exceptions=True)
        self.assertEqual(sorted(isinstance(b, Refused) for b in both), [False, True])
        self.assertEqual(len((await phone.ok("device.list", limit=200))["devices"]), 32)


class Profiles(Case):
    async def test_ones_own_profile_can_be_changed(self):
        ana, ben = await self.server.users("ana", "ben")
        answer = await ana.http_ok("PATCH", "/v1/users/me", {"name": "Ana", "status": "läuft 🏃", "picture": "p1"})
        mine = await ana.http_ok("GET", "/v1/users/me")
        self.assertEqual(answer, mine)
        self.assertEqual((mine["name"], mine["status"], mine["picture"]), ("Ana", "läuft 🏃", "p1"))
        theirs = await ben.http_ok("GET", f"/v1/users/{ana.id}")
        self.assertEqual(theirs, {"id": ana.id, "username": "ana", "name": "Ana", "status": "läuft 🏃", "picture": "p1"})
        self.assertEqual(await ben.http_ok("GET", "/v1/users?username=ANA"), theirs)

    async def test_privacy_is_ones_own(self):
        ana, ben = await self.server.users("ana", "ben")
        await ana.http_ok("PATCH", "/v1/users/me", {"last_seen": "nobody", "read_receipts": False})
        mine = await ana.http_ok("GET", "/v1/users/me")
        self.assertEqual((mine["last_seen"], mine["read_receipts"]), ("nobody", False))
        theirs = await ben.http_ok("GET", f"/v1/users/{ana.id}")
        self.assertNotIn("last_seen", theirs)
        self.assertNotIn("read_receipts", theirs)
        status, _, answer = await ana.http("PATCH", "/v1/users/me", {"last_seen": "sometimes"})
        self.assertEqual((status, answer["code"]), (400, "bad_request"))

    async def test_what_is_not_named_stays(self):
        ana = await self.server.user("ana")
        await ana.http_ok("PATCH", "/v1/users/me", {"name": "Ana", "status": "here"})
        await ana.http_ok("PATCH", "/v1/users/me", {"status": "away"})
        await self.server.restart(9)
        mine = await ana.http_ok("GET", "/v1/users/me")
        self.assertEqual((mine["name"], mine["status"]), ("Ana", "away"))
        await ana.http_ok("PATCH", "/v1/users/me", {"status": ""})
        self.assertFalse((await ana.http_ok("GET", "/v1/users/me")).get("status"))

    async def test_nobody_is_found_where_nobody_is(self):
        ana = await self.server.user("ana")
        for path in ("/v1/users/u1", "/v1/users/" + "x" * 64, "/v1/users?username=nobody", "/v1/users?username=no%20body"):
            status, _, answer = await ana.http("GET", path)
            self.assertEqual((status, answer["code"]), (404, "not_found"), path)
        status, _, answer = await ana.http("GET", "/v1/users")
        self.assertEqual((status, answer["code"]), (400, "bad_request"))
        status, _, _ = await self.server.http("GET", f"/v1/users/{ana.id}")
        self.assertEqual(status, 401)
