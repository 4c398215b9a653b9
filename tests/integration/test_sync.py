"""sync: what a device has missed, from its own cursors or from given positions, in pages, exactly once."""
import asyncio

from parley import Case, cid, text


class Sync(Case):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.ana, self.ben, self.cleo = await self.server.users("ana", "ben", "cleo")
        self.a = await self.ana.connect()
        self.c = await self.cleo.connect()

    async def fill(self, n=10, client=None):
        client = client or self.a
        sends = [client.send_nowait("message.send", user=self.ben.id, cid=cid(), content=text(str(i)))
                 for i in range(n)]
        return (await asyncio.gather(*sends))[0]["ok"]["conv"]

    @staticmethod
    def seqs(answer):
        return {c["conv"]: [e["seq"] for e in c["entries"]] for c in answer["conversations"]}

    async def whole(self, client, **args):
        got, cursor, pages = {}, {}, 0
        while True:
            page = await client.ok("sync", **args, **cursor)
            pages += 1
            for conv in page["conversations"]:
                got.setdefault(conv["conv"], []).extend(e["seq"] for e in conv["entries"])
            if not page["more"]:
                return got, pages
            cursor = {"cursor": page["cursor"]}

    async def test_what_came_while_away_is_there_from_ones_own_cursor(self):
        conv = await self.fill()
        b = await self.ben.connect()
        first = await b.ok("sync")
        self.assertEqual(self.seqs(first), {conv: list(range(1, 11))})
        one, = first["conversations"]
        self.assertEqual((one["kind"], one["first_seq"], one["last_seq"], one["unread"], one["delivered"], one["read"]),
                         (one["kind"], 1, 10, 10, 0, 0))
        self.assertEqual((first["more"], first["epoch"]), (False, b.hello["epoch"]))
        await b.ok("receipt", conv=conv, delivered=7)
        self.assertEqual(self.seqs(await b.ok("sync")), {conv: [8, 9, 10]})
        await b.ok("receipt", conv=conv, delivered=10)
        self.assertEqual((await b.ok("sync"))["conversations"], [])
        await self.server.restart(9)
        self.assertEqual((await (await self.ben.connect()).ok("sync"))["conversations"], [])

    async def test_each_device_has_its_own_cursor(self):
        conv = await self.fill()
        phone, tablet = await self.ben.connect(), await (await self.ben.login()).connect()
        await phone.ok("receipt", conv=conv, delivered=10, read=10)
        self.assertEqual(self.seqs(await tablet.ok("sync")), {conv: list(range(1, 11))})
        self.assertEqual((await phone.ok("sync"))["conversations"], [])

    async def test_since_goes_from_the_given_positions(self):
        conv, other = await self.fill(), await self.fill(3, self.c)
        b = await self.ben.connect()
        self.assertEqual(self.seqs(await b.ok("sync", since={conv: 4})), {conv: list(range(5, 11)), other: [1, 2, 3]})
        self.assertEqual(self.seqs(await b.ok("sync", since={conv: 10, other: 3})), {})
        self.assertEqual(self.seqs(await b.ok("sync", since={})), {conv: list(range(1, 11)), other: [1, 2, 3]})

    async def test_what_is_gone_or_never_was_is_named_alike(self):
        conv = await self.fill()
        answer = await self.c.ok("sync", since={conv: 3, "nowhere": 5})
        self.assertEqual((answer["conversations"], set(answer["gone"])), ([], {conv, "nowhere"}))

    async def test_a_position_from_the_future_is_reset(self):
        conv = await self.fill()
        answer = await (await self.ben.connect()).ok("sync", since={conv: 99})
        one, = answer["conversations"]
        self.assertTrue(one["reset"])
        self.assertEqual([e["seq"] for e in one["entries"]], list(range(1, 11)))

    async def test_a_foreign_epoch_is_a_conflict(self):
        await self.refused("conflict", self.a.ok("sync", epoch="elsewhere"))
        await self.a.ok("sync", epoch=self.a.hello["epoch"])

    async def test_pages_give_everything_once_while_more_is_acknowledged(self):
        conv, other = await self.fill(40), await self.fill(23, self.c)
        b = await self.ben.connect()
        want = {conv: list(range(1, 41)), other: list(range(1, 24))}
        for args in ({}, {"since": {}}):
            got, pages = await self.whole(b, limit=7, **args)
            self.assertEqual(got, want)
            self.assertGreaterEqual(pages, 9)
        got, cursor = {}, {}
        while True:
            page = await b.ok("sync", limit=5, **cursor)
            self.assertLessEqual(sum(len(c["entries"]) for c in page["conversations"]), 5)
            for one in page["conversations"]:
                got.setdefault(one["conv"], []).extend(e["seq"] for e in one["entries"])
                if one["entries"]:
                    await b.ok("receipt", conv=one["conv"], delivered=one["entries"][-1]["seq"])
            if not page["more"]:
                break
            cursor = {"cursor": page["cursor"]}
        self.assertEqual(got, want)
        self.assertEqual((await b.ok("sync"))["conversations"], [])

    async def test_bad_arguments_are_bad_requests(self):
        for args in ({"limit": 0}, {"limit": 1001}, {"cursor": "nonsense"}, {"since": []}, {"since": {"a": -1}},
                     {"since": {"a": "1"}}):
            await self.refused("bad_request", self.a.ok("sync", **args))

    async def test_over_http_it_is_the_same(self):
        conv = await self.fill()
        over_http = await self.ben.http_ok("POST", "/v1/sync", {"since": {conv: 2}})
        self.assertEqual(over_http, await (await self.ben.connect()).ok("sync", since={conv: 2}))

    async def test_the_list_shows_newest_activity_first_with_unread_and_last(self):
        one, two = await self.fill(4), await self.fill(2, self.c)
        b = await self.ben.connect()
        rows = (await b.ok("conversation.list"))["conversations"]
        self.assertEqual([(r["conv"], r["last_seq"], r["unread"]) for r in rows], [(two, 2, 2), (one, 4, 4)])
        await b.ok("receipt", conv=one, read=3)
        await self.a.send(self.ben, "newest")
        rows = (await b.ok("conversation.list"))["conversations"]
        self.assertEqual([(r["conv"], r["last_seq"], r["unread"]) for r in rows], [(one, 5, 2), (two, 2, 2)])
        first = await b.ok("conversation.list", limit=1)
        self.assertEqual((first["conversations"], first["more"]), (rows[:1], True))
        rest = await b.ok("conversation.list", limit=1, cursor=first["cursor"])
        self.assertEqual((rest["conversations"], rest["more"]), (rows[1:], False))

    async def test_another_number_of_threads_keeps_everything(self):
        conv = await self.fill(30)
        before = await self.ben.http_ok("GET", f"/v1/conversations/{conv}/messages?limit=200")
        for threads in (1, 4, 2):
            await self.server.restart(9, threads=threads)
            self.assertEqual(await self.ben.http_ok("GET", f"/v1/conversations/{conv}/messages?limit=200"), before)
        self.assertEqual((await (await self.ana.connect()).send(self.ben, "next"))["seq"], 31)
