"""Messages between two people: first contact, order, retries, what is refused, content, history, receipts, typing."""
import asyncio
import json

from parley import DEADLINE, Case, cid, open_socket, text


async def frames_of(user):
    """A WebSocket of `user` whose frames are read as they are: recv() gives the text."""
    s = await open_socket(user.server)
    await s.send(json.dumps({"id": 0, "op": "auth", "token": user.token}))
    await asyncio.wait_for(s.recv(), DEADLINE)
    return s


async def answer_to(frames, frame):
    await frames.send(frame)
    return await asyncio.wait_for(frames.recv(), DEADLINE)


class Two(Case):
    """Ana and Ben, each on one device, who never met."""

    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.ana, self.ben = await self.server.users("ana", "ben")
        self.a, self.b = await self.ana.connect(), await self.ben.connect()

    async def restart(self, sig=9):
        await self.server.restart(sig)
        self.a, self.b = await self.ana.connect(), await self.ben.connect()


class Sending(Two):
    async def test_the_first_message_opens_the_chat_and_arrives_whole(self):
        c = cid()
        sent = await self.a.send(self.ben, "hello", cid=c)
        self.assertEqual(set(sent), {"conv", "seq", "ts"})
        self.assertEqual(sent["seq"], 1)
        event = await self.b.event("message")
        self.assertEqual(event, {"ev": "message", "conv": sent["conv"], "seq": 1, "from": self.ana.id,
                                 "ts": sent["ts"], "cid": c, "content": text("hello")})

    async def test_whoever_writes_first_it_is_the_same_chat(self):
        one = await self.a.send(self.ben, "hello")
        two = await self.b.send(self.ana, "hello back")
        three = await self.a.send(one["conv"], "how are you")
        self.assertEqual([(m["conv"], m["seq"]) for m in (one, two, three)], [(one["conv"], n) for n in (1, 2, 3)])
        self.assertEqual((await self.a.event("message"))["seq"], 2)
        self.assertEqual([e["seq"] for e in await self.b.entries(2)], [1, 3])

    async def test_first_messages_that_cross_land_in_one_chat(self):
        one, two = await asyncio.gather(self.a.send(self.ben, "me first"), self.b.send(self.ana, "no, me"))
        self.assertEqual(one["conv"], two["conv"])
        self.assertEqual({one["seq"], two["seq"]}, {1, 2})

    async def test_notes_to_oneself_are_a_chat_of_one(self):
        tablet = await (await self.ana.login()).connect()
        sent = await self.a.send(self.ana, "milk")
        again = await tablet.send(self.ana, "bread")
        self.assertEqual((again["conv"], again["seq"]), (sent["conv"], 2))
        self.assertEqual((await tablet.event("message"))["seq"], 1)
        self.assertEqual((await self.a.event("message"))["seq"], 2)
        await self.b.fence()
        self.assertFalse(self.b.events)
        self.assertEqual(await self.b.ok("sync"), await self.b.ok("sync", since={}))

    async def test_pipelined_sends_take_effect_in_the_order_sent(self):
        sends = [self.a.send_nowait("message.send", user=self.ben.id, cid=cid(), content=text(str(n)))
                 for n in range(1, 201)]
        replies = await asyncio.wait_for(asyncio.gather(*sends), DEADLINE)
        self.assertEqual([r["ok"]["seq"] for r in replies], list(range(1, 201)))
        seen = await self.b.entries(200)
        self.assertEqual([(e["seq"], e["content"]["text"]) for e in seen], [(n, str(n)) for n in range(1, 201)])

    async def test_two_who_pipeline_at_once_see_one_order(self):
        conv = (await self.a.send(self.ben, "0"))["conv"]
        sends = [w.send_nowait("message.send", conv=conv, cid=cid(), content=text(f"{name}{n}"))
                 for n in range(100) for name, w in (("a", self.a), ("b", self.b))]
        await asyncio.wait_for(asyncio.gather(*sends), DEADLINE)
        entries = (await self.a.ok("history", conv=conv, after=1, limit=200))["entries"]
        self.assertEqual([e["seq"] for e in entries], list(range(2, 202)))
        for own, other, name in ((self.a, self.b, "a"), (self.b, self.a, "b")):
            mine = [e["content"]["text"] for e in entries if e["content"]["text"][0] == name]
            self.assertEqual(mine, [f"{name}{n}" for n in range(100)])
            pushed = [e["content"]["text"] for e in await other.entries(100 + (other is self.b))]
            self.assertEqual([t for t in pushed if t[0] == name], mine)

    async def test_ones_other_devices_get_ones_sends_and_the_sending_one_does_not(self):
        tablet = await (await self.ana.login()).connect()
        sent = await self.a.send(self.ben, "from the phone")
        event = await tablet.event("message")
        self.assertEqual((event["conv"], event["seq"], event["from"]), (sent["conv"], 1, self.ana.id))
        await tablet.send(self.ben, "from the tablet")
        self.assertEqual((await self.a.event("message"))["seq"], 2)
        await self.a.fence()
        await tablet.fence()
        self.assertFalse([e for c in (self.a, tablet) for e in c.events if "seq" in e])

    async def test_both_transports_write_the_same_log(self):
        one = await self.ana.http_ok("POST", f"/v1/users/{self.ben.id}/messages", {"cid": cid(), "content": text("1")})
        two = await self.a.send(self.ben, "2")
        three = await self.ben.http_ok("POST", f"/v1/conversations/{one['conv']}/messages",
                                       {"cid": cid(), "content": text("3")})
        self.assertEqual([(m["conv"], m["seq"]) for m in (one, two, three)], [(one["conv"], n) for n in (1, 2, 3)])
        self.assertEqual([e["seq"] for e in await self.b.entries(2)], [1, 2])
        over_ws = await self.a.ok("history", conv=one["conv"])
        self.assertEqual(await self.ana.http_ok("GET", f"/v1/conversations/{one['conv']}/messages"), over_ws)

    async def test_reply_to_and_mentions_are_delivered_and_kept(self):
        conv = (await self.a.send(self.ben, "lunch?"))["conv"]
        await self.b.send(conv, "yes", reply_to=1, mentions=[self.ana.id])
        event = await self.a.event("message")
        self.assertEqual((event["reply_to"], event["mentions"]), (1, [self.ana.id]))
        self.assertEqual((await self.a.ok("conversation.get", conv=conv))["mentions"], 1)
        await self.restart()
        self.assertEqual((await self.a.ok("history", conv=conv))["entries"][1], event)

    async def test_a_reply_to_nothing_and_a_mention_of_a_stranger_are_bad_requests(self):
        cora = await self.server.user("cora")
        conv = (await self.a.send(self.ben, "1"))["conv"]
        for wrong in ({"reply_to": 2}, {"reply_to": 0}, {"reply_to": -1}, {"reply_to": "1"}, {"mentions": [cora.id]},
                      {"mentions": ["nobody"]}, {"mentions": self.ben.id}, {"mentions": [self.ben.id] * 65}):
            with self.subTest(wrong):
                await self.refused("bad_request", self.a.send(conv, "2", **wrong))
        self.assertEqual((await self.a.send(conv, "2"))["seq"], 2)


class Retries(Two):
    def message(self, c, content="hello"):
        return {"user": self.ben.id, "cid": c, "content": text(content)}

    async def test_a_repeat_gets_the_first_answer_and_makes_no_second_entry(self):
        first = await self.a.ok("message.send", **self.message("once"))
        self.assertNotIn("dup", first)
        self.assertEqual(await self.a.ok("message.send", **self.message("once")), {**first, "dup": True})
        self.assertEqual(await self.a.ok("message.send", conv=first["conv"], cid="once", content=text("hello")),
                         {**first, "dup": True})
        await self.b.event("message", seq=1)
        await self.b.fence()
        self.assertFalse([e for e in self.b.events if "seq" in e])
        self.assertEqual((await self.a.ok("conversation.get", conv=first["conv"]))["last_seq"], 1)

    async def test_a_repeat_in_flight_waits_for_the_first(self):
        replies = await asyncio.gather(*(self.a.send_nowait("message.send", **self.message("once")) for _ in range(20)))
        answers = [r["ok"] for r in replies]
        firsts = [x for x in answers if "dup" not in x]
        self.assertEqual(len(firsts), 1)
        self.assertEqual([x for x in answers if "dup" in x], [{**firsts[0], "dup": True}] * 19)
        self.assertEqual(len((await self.a.ok("history", conv=firsts[0]["conv"]))["entries"]), 1)

    async def test_a_repeat_after_a_crash_gets_the_first_answer(self):
        first = await self.a.ok("message.send", **self.message("once"))
        await self.restart()
        self.assertEqual(await self.a.ok("message.send", **self.message("once")), {**first, "dup": True})
        await self.restart()
        self.assertEqual(await self.a.ok("message.send", **self.message("once")), {**first, "dup": True})
        self.assertEqual((await self.a.send(self.ben, "next"))["seq"], 2)

    async def test_the_same_cid_with_something_else_is_a_conflict(self):
        conv = (await self.a.ok("message.send", **self.message("once")))["conv"]
        await self.a.send(conv, "two")
        for other in ({"content": text("hellO")}, {"content": {"text": "hello", "type": "text"}},
                      {"content": text("hello"), "reply_to": 1}, {"content": text("hello"), "mentions": [self.ben.id]}):
            with self.subTest(other):
                await self.refused("conflict", self.a.ok("message.send", conv=conv, cid="once", **other))
        await self.restart()
        await self.refused("conflict", self.a.ok("message.send", **self.message("once", "other")))
        self.assertEqual((await self.a.ok("conversation.get", conv=conv))["last_seq"], 2)

    async def test_a_cid_is_known_on_all_devices_and_belongs_to_one_user_and_conversation(self):
        tablet = await (await self.ana.login()).connect()
        first = await self.a.ok("message.send", **self.message("once"))
        self.assertEqual(await tablet.ok("message.send", **self.message("once")), {**first, "dup": True})
        theirs = await self.b.ok("message.send", user=self.ana.id, cid="once", content=text("hello"))
        self.assertEqual((theirs["seq"], "dup" in theirs), (2, False))
        note = await self.a.ok("message.send", user=self.ana.id, cid="once", content=text("hello"))
        self.assertEqual((note["seq"], "dup" in note), (1, False))

    async def test_idempotency_key_and_cid_are_one_namespace(self):
        path, body = f"/v1/users/{self.ben.id}/messages", {"content": text("hello")}
        first = await self.ana.http_ok("POST", path, body, headers={"Idempotency-Key": "once"})
        dup = {**first, "dup": True}
        self.assertEqual((await self.ana.http("POST", path, body, headers={"Idempotency-Key": "once"}))[::2], (201, dup))
        self.assertEqual(await self.ana.http_ok("POST", path, {"cid": "once", **body}), dup)
        self.assertEqual(
            await self.ana.http_ok("POST", path, {"cid": "once", **body}, headers={"Idempotency-Key": "once"}), dup)
        self.assertEqual(await self.a.ok("message.send", **self.message("once")), dup)
        first = await self.a.ok("message.send", **self.message("twice"))
        self.assertEqual(await self.ana.http_ok("POST", path, body, headers={"Idempotency-Key": "twice"}),
                         {**first, "dup": True})
        status, _, answer = await self.ana.http("POST", path, {"content": text("other")},
                                                headers={"Idempotency-Key": "twice"})
        self.assertEqual((status, answer["code"]), (409, "conflict"))

    async def test_two_different_names_for_one_write_are_a_bad_request(self):
        path = f"/v1/users/{self.ben.id}/messages"
        status, _, answer = await self.ana.http("POST", path, {"cid": "one", "content": text("hello")},
                                                headers={"Idempotency-Key": "two"})
        self.assertEqual((status, answer["code"]), (400, "bad_request"))
        status, _, answer = await self.ana.http("POST", path, {"content": text("hello")})
        self.assertEqual((status, answer["code"]), (400, "bad_request"))
        for c in ("one", "two"):
            self.assertNotIn("dup", await self.a.ok("message.send", **self.message(c)))

    async def test_what_was_refused_has_used_up_no_cid(self):
        await self.refused("bad_request", self.a.ok("message.send", user=self.ben.id, cid="once", content={"no": "type"}))
        await self.refused("bad_request", self.a.ok("message.send", **self.message("once"), reply_to=7))
        await self.refused("not_found", self.a.ok("message.send", user="nobody", cid="once", content=text("hello")))
        answer = await self.a.ok("message.send", **self.message("once"))
        self.assertEqual((answer["seq"], "dup" in answer), (1, False))


class Hidden(Two):
    async def test_an_invisible_conversation_looks_like_none_byte_for_byte(self):
        cora = await self.server.user("cora")
        conv = (await self.a.send(self.ben, "private"))["conv"]
        frames = await frames_of(cora)
        nowhere = [conv[:-1] + ("0" if conv[-1] != "0" else "1"), "nowhere", "c" * 64]
        for args in ({"op": "message.send", "cid": "x", "content": text("let me in")}, {"op": "history"},
                     {"op": "receipt", "read": 1}, {"op": "receipt", "read": 99}, {"op": "receipt.list"},
                     {"op": "typing", "on": True}, {"op": "conversation.get"},
                     {"op": "message.send", "cid": "x", "content": text("hm"), "reply_to": 1}):
            there = await answer_to(frames, json.dumps({"id": 1, **args, "conv": conv}))
            self.assertEqual(json.loads(there)["error"]["code"], "not_found", args)
            for other in nowhere:
                self.assertEqual(await answer_to(frames, json.dumps({"id": 1, **args, "conv": other})), there, args)
        for path in ("", "/messages", "/receipts"):
            there = await cora.http("GET", f"/v1/conversations/{conv}{path}", raw=True)
            self.assertEqual(there[0], 404)
            for other in nowhere:
                none = await cora.http("GET", f"/v1/conversations/{other}{path}", raw=True)
                self.assertEqual((none[0], dict(none[1]), none[2]), (there[0], dict(there[1]), there[2]), path)
        await frames.close()
        self.assertEqual((await self.a.ok("conversation.get", conv=conv))["last_seq"], 1)

    async def test_nobody_can_be_written_to_where_nobody_is(self):
        for user in ("nobody", "u" + "0" * 13, "x" * 64):
            await self.refused("not_found", self.a.ok("message.send", user=user, cid=cid(), content=text("?")))
        self.assertEqual((await self.a.ok("sync"))["conversations"], [])

    async def test_a_message_goes_to_exactly_one_place(self):
        conv = (await self.a.send(self.ben, "1"))["conv"]
        for where in ({}, {"conv": conv, "user": self.ben.id}, {"conv": "not an id!"}, {"user": 7}):
            await self.refused("bad_request", self.a.ok("message.send", **where, cid=cid(), content=text("2")))


class Content(Two):
    async def send_raw(self, frames, content, c=None):
        frame = f'{{"id":1,"op":"message.send","user":"{self.ben.id}","cid":"{c or cid()}","content":{content}}}'
        return json.loads(await answer_to(frames, frame))

    async def test_it_is_handed_on_byte_for_byte(self):
        contents = ['{"type":"text","text":"plain"}',
                    '{ "type" :\t"text" ,  "text":"odd  spacing" \n}',
                    r'{"type":"text","text":"\u0041\/\ud83d\ude00 \u0000 \n\"\\"}',
                    '{"type":"text","text":"ünïcödé 🏃\u2028"}',
                    '{"type":"x.n","big":9223372036854775807,"small":-9223372036854775808,"d":1.50e+2,"z":-0.0,"e":0.1E-7}',
                    '{"z":1,"a":2,"type":"x.order","nested":{"b":[ ],"a":[1, 2,{}]},"n":null,"t":true}']
        sender, receiver = await frames_of(self.ana), await frames_of(await self.ben.login())
        for n, content in enumerate(contents, 1):
            reply = await self.send_raw(sender, content)
            self.assertEqual(reply["ok"]["seq"], n, content)
            pushed = await asyncio.wait_for(receiver.recv(), DEADLINE)
            self.assertIn(f'"content":{content}', pushed)
        conv = reply["ok"]["conv"]

        async def kept():
            page = (await self.ben.http("GET", f"/v1/conversations/{conv}/messages", raw=True))[2].decode()
            synced = (await self.ben.http("POST", "/v1/sync", {"since": {}}, raw=True))[2].decode()
            for content in contents:
                self.assertIn(f'"content":{content}', page)
                self.assertIn(f'"content":{content}', synced)
        await kept()
        await sender.close()
        await receiver.close()
        await self.restart()
        await kept()

    async def test_64_kib_of_content_and_16_kib_of_text_are_the_bounds(self):
        frames = await frames_of(await self.ana.login())

        def of_size(n):
            head, tail = '{"type":"blob","b":"', '"}'
            return head + "b" * (n - len(head) - len(tail)) + tail
        largest = of_size(65536)
        self.assertEqual((await self.send_raw(frames, largest))["ok"]["seq"], 1)
        self.assertEqual((await self.b.event("message"))["content"], json.loads(largest))
        self.assertEqual((await self.send_raw(frames, of_size(65537)))["error"]["code"], "too_large")
        await self.a.send(self.ben, "t" * 16384)
        await self.refused("too_large", self.a.send(self.ben, "t" * 16385))
        status, _, answer = await self.ana.http("POST", f"/v1/users/{self.ben.id}/messages",
                                                {"cid": cid(), "content": text("t" * 16385)})
        self.assertEqual((status, answer["code"]), (413, "too_large"))
        self.assertEqual((await self.a.send(self.ben, "next"))["seq"], 3)
        await frames.close()

    async def test_without_a_type_or_a_text_it_is_a_bad_request(self):
        for content in ({}, {"text": "no type"}, {"type": 7}, {"type": "text"}, {"type": "text", "text": 7}, [], "hi", None):
            with self.subTest(content):
                await self.refused("bad_request", self.a.ok("message.send", user=self.ben.id, cid=cid(), content=content))
        self.assertEqual((await self.a.ok("sync"))["conversations"], [])


class History(Two):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        sends = [self.a.send_nowait("message.send", user=self.ben.id, cid=cid(), content=text(str(n))) for n in range(1, 121)]
        self.conv = (await asyncio.gather(*sends))[0]["ok"]["conv"]

    async def page(self, **args):
        answer = await self.b.ok("history", conv=self.conv, **args)
        self.assertTrue(all(e["content"]["text"] == str(e["seq"]) for e in answer["entries"]))
        return [e["seq"] for e in answer["entries"]], answer["more"]

    async def test_pages_are_ascending_exclusive_and_say_if_there_is_more(self):
        for args, first, last, more in (({}, 71, 120, True), ({"limit": 200}, 1, 120, False),
                                        ({"limit": 120}, 1, 120, False), ({"limit": 119}, 2, 120, True),
                                        ({"before": 71}, 21, 70, True), ({"before": 21}, 1, 20, False),
                                        ({"before": 21, "limit": 20}, 1, 20, False), ({"before": 1}, 1, 0, False),
                                        ({"after": 0}, 1, 50, True), ({"after": 50, "limit": 3}, 51, 53, True),
                                        ({"after": 70}, 71, 120, False), ({"after": 120}, 1, 0, False),
                                        ({"after": 5000}, 1, 0, False), ({"before": 5000, "limit": 1}, 120, 120, True),
                                        ({"after": 10, "before": 15}, 11, 14, False),
                                        ({"after": 10, "before": 100, "limit": 10}, 11, 20, True)):
            with self.subTest(args):
                self.assertEqual(await self.page(**args), (list(range(first, last + 1)), more))

    async def test_paging_either_way_reads_everything_once(self):
        back, before = [], {}
        more = True
        while more:
            seqs, more = await self.page(limit=7, **before)
            back = seqs + back
            before = {"before": seqs[0]}
        forth, after, more = [], 0, True
        while more:
            seqs, more = await self.page(limit=11, after=after)
            forth += seqs
            after = seqs[-1]
        self.assertEqual(back, list(range(1, 121)))
        self.assertEqual(forth, back)

    async def test_limits_out_of_bounds_are_bad_requests(self):
        for args in ({"limit": 0}, {"limit": -1}, {"limit": 201}, {"limit": "5"}, {"before": -1}, {"after": -1},
                     {"after": "x"}):
            with self.subTest(args):
                await self.refused("bad_request", self.b.ok("history", conv=self.conv, **args))

    async def test_pages_are_the_same_after_a_crash(self):
        whole = await self.b.ok("history", conv=self.conv, limit=200)
        await self.restart()
        self.assertEqual(await self.b.ok("history", conv=self.conv, limit=200), whole)

    async def test_a_page_of_large_messages_ends_early_and_loses_nothing(self):
        sends = [self.a.send_nowait("message.send", conv=self.conv, cid=cid(), content={"type": "b", "text": str(n), "b": "b" * 60000})
                 for n in range(121, 141)]
        await asyncio.gather(*sends)
        seen, after, more, pages = [], 120, True, 0
        while more:
            seqs, more = await self.page(after=after, limit=200)
            seen, after, pages = seen + seqs, seqs[-1], pages + 1
        self.assertEqual(seen, list(range(121, 141)))
        self.assertGreater(pages, 1)


class Receipts(Two):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        for n in range(1, 4):
            self.conv = (await self.a.send(self.ben, str(n)))["conv"]

    async def of(self, client):
        answer = await client.ok("receipt.list", conv=self.conv)
        self.assertFalse(answer["more"])
        return {r["user"]: (r["delivered"], r["read"]) for r in answer["receipts"]}

    async def test_the_other_is_told_and_the_list_shows_it(self):
        self.assertEqual(await self.b.ok("receipt", conv=self.conv, delivered=2), {})
        event = await self.a.event("receipt")
        self.assertEqual((event["conv"], event["user"], event["delivered"], event["read"]), (self.conv, self.ben.id, 2, 0))
        self.assertNotIn("seq", event)
        await self.b.ok("receipt", conv=self.conv, read=3)
        event = await self.a.event("receipt", read=3)
        self.assertEqual(event["delivered"], 3)
        self.assertEqual((await self.of(self.a))[self.ben.id], (3, 3))
        self.assertEqual(await self.of(self.a), await self.of(self.b))

    async def test_they_only_move_forward(self):
        await self.b.ok("receipt", conv=self.conv, delivered=3, read=2)
        self.assertEqual(await self.b.ok("receipt", conv=self.conv, delivered=1, read=1), {})
        self.assertEqual((await self.of(self.a))[self.ben.id], (3, 2))

    async def test_past_the_last_entry_or_about_nothing_is_a_bad_request(self):
        for wrong in ({"delivered": 4}, {"read": 4}, {"delivered": 1, "read": 4}, {}, {"read": -1}, {"read": "1"}):
            with self.subTest(wrong):
                await self.refused("bad_request", self.b.ok("receipt", conv=self.conv, **wrong))
        self.assertEqual((await self.of(self.a))[self.ben.id], (0, 0))

    async def test_they_are_kept_after_a_crash(self):
        await self.b.ok("receipt", conv=self.conv, delivered=3, read=2)
        before = await self.of(self.a)
        await self.restart()
        self.assertEqual(await self.of(self.a), before)
        self.assertEqual(before[self.ben.id], (3, 2))

    async def test_sending_moves_ones_own(self):
        self.assertEqual((await self.of(self.b))[self.ana.id], (3, 3))
        await self.b.send(self.conv, "4")
        self.assertEqual((await self.of(self.a))[self.ben.id], (4, 4))

    async def test_ones_other_devices_learn_what_was_read(self):
        tablet = await (await self.ben.login()).connect()
        await self.b.ok("receipt", conv=self.conv, read=3)
        event = await tablet.event("receipt", user=self.ben.id)
        self.assertEqual((event["read"], event["delivered"]), (3, 3))
        self.assertEqual((await tablet.ok("conversation.get", conv=self.conv))["unread"], 0)

    async def test_a_member_has_what_the_furthest_device_has(self):
        tablet = await (await self.ben.login()).connect()
        await tablet.ok("receipt", conv=self.conv, delivered=3)
        await self.b.ok("receipt", conv=self.conv, delivered=1)
        self.assertEqual((await self.of(self.a))[self.ben.id], (3, 0))

    async def test_over_http_they_are_the_same(self):
        path = f"/v1/conversations/{self.conv}/receipts"
        self.assertEqual(await self.ben.http_ok("PUT", path, {"read": 2}), {})
        await self.a.event("receipt", read=2)
        self.assertEqual(await self.ana.http_ok("GET", path), await self.a.ok("receipt.list", conv=self.conv))
        page = await self.ana.http_ok("GET", path + "?limit=1")
        self.assertEqual((len(page["receipts"]), page["more"]), (1, True))
        rest = await self.ana.http_ok("GET", f"{path}?limit=1&cursor={page['cursor']}")
        self.assertEqual({r["user"] for r in page["receipts"] + rest["receipts"]}, {self.ana.id, self.ben.id})
        self.assertFalse(rest["more"])


class Typing(Two):
    async def test_the_other_sees_it_begin_and_end_and_it_leaves_no_trace(self):
        conv = (await self.a.send(self.ben, "1"))["conv"]
        for on in (True, False):
            self.assertEqual(await self.b.ok("typing", conv=conv, on=on), {})
            self.assertEqual(await self.a.event("typing"), {"ev": "typing", "conv": conv, "user": self.ben.id, "on": on})
        await self.b.fence()
        self.assertFalse([e for e in self.b.events if e["ev"] == "typing"])
        self.assertEqual((await self.a.ok("conversation.get", conv=conv))["last_seq"], 1)
        await self.refused("bad_request", self.b.ok("typing", conv=conv))
