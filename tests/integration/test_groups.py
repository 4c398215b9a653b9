"""Groups: who may do what, who sees what, one order for everybody, and that all of it outlives a crash."""
import asyncio

from parley import Case, cid, text

OK = "ok"
ROLES = ("owner", "admin", "member", "former", "outsider")
ALL_IN = (OK, OK, OK, "forbidden", "not_found")
ADMINS = (OK, OK, "forbidden", "forbidden", "not_found")
OWNERS = (OK, "forbidden", "forbidden", "forbidden", "not_found")
READERS = (OK, OK, OK, OK, "not_found")


def seqs(entries):
    return [e["seq"] for e in entries]


class GroupCase(Case):
    async def people(self, *names):
        """Users with a connection each, as their clients; client.id is the user's."""
        users = await asyncio.gather(*(self.server.user(n) for n in names))
        clients = [await u.connect() for u in users]
        for c in clients:
            c.id = c.user.id
        return clients

    async def reconnect(self, *clients):
        again = [await c.user.connect() for c in clients]
        for c in again:
            c.id = c.user.id
        return again

    async def group(self, owner, *members, **more):
        made = await owner.ok("group.create", title="Lunch", members=[m.id for m in members], cid=cid(), **more)
        return made["conv"]

    async def change(self, who, op, conv, **args):
        return (await who.ok(op, conv=conv, cid=cid(), **args))["seq"]

    async def add(self, who, conv, *users):
        return await self.change(who, "group.add", conv, users=[u.id for u in users])

    async def remove(self, who, conv, *users):
        return await self.change(who, "group.remove", conv, users=[u.id for u in users])

    async def roles(self, who, conv):
        return {m["user"]: m["role"] for m in (await who.ok("group.members", conv=conv))["members"]}

    async def history(self, who, conv, **args):
        return (await who.ok("history", conv=conv, **args))["entries"]


class Create(GroupCase):
    async def test_the_members_get_the_created_event(self):
        ana, ben, cem = await self.people("ana", "ben", "cem")
        key = cid()
        made = await ana.ok("group.create", title="Lunch", description="at noon", members=[ben.id, cem.id], cid=key,
                            locked=True)
        self.assertEqual(made["seq"], 1)
        for c in (ben, cem):
            e = await c.event("created", conv=made["conv"])
            self.assertEqual({(m["user"], m["role"]) for m in e.pop("members")},
                             {(ana.id, "owner"), (ben.id, "member"), (cem.id, "member")})
            self.assertEqual(e, {"ev": "created", "conv": made["conv"], "seq": 1, "from": ana.id, "ts": made["ts"],
                                 "cid": key, "title": "Lunch", "description": "at noon",
                                 "announce": False, "locked": True, "history": "joined"})

    async def test_a_repeat_finds_the_same_group(self):
        ana, ben = await self.people("ana", "ben")
        args = {"title": "Lunch", "members": [ben.id], "cid": cid()}
        first = await ana.ok("group.create", **args)
        self.assertEqual(await ana.ok("group.create", **args), {**first, "dup": True})
        await self.refused("conflict", ana.ok("group.create", **{**args, "title": "Dinner"}))
        await self.server.restart(9)
        ana, ben = await self.reconnect(ana, ben)
        self.assertEqual(await ana.ok("group.create", **args), {**first, "dup": True})
        bens = await ben.ok("group.create", title="Lunch", members=[], cid=args["cid"])
        self.assertNotEqual(bens["conv"], first["conv"])

    async def test_an_unknown_member_is_not_found_and_uses_up_no_cid(self):
        ana, ben = await self.people("ana", "ben")
        key = cid()
        unknown = ben.id[:-1] + ("0" if ben.id[-1] != "0" else "1")
        await self.refused("not_found", ana.ok("group.create", title="Lunch", members=[ben.id, unknown], cid=key))
        made = await ana.ok("group.create", title="Lunch", members=[ben.id], cid=key)
        self.assertEqual(made["seq"], 1)
        self.assertNotIn("dup", made)

    async def test_a_group_of_one_needs_a_title_only(self):
        ana, = await self.people("ana")
        conv = await self.group(ana)
        self.assertEqual(await self.roles(ana, conv), {ana.id: "owner"})
        await self.refused("bad_request", ana.ok("group.create", title="", members=[], cid=cid()))
        await self.refused("bad_request", ana.ok("group.create", members=[], cid=cid()))


class Limit(GroupCase):
    options = {"group_members": 5}

    async def test_more_members_than_the_limit_are_too_large(self):
        people = await self.people("ana", "ben", "cem", "dea", "eli", "fay")
        ana, fay = people[0], people[5]
        await self.refused("too_large", self.group(ana, *people[1:]))
        conv = await self.group(ana, *people[1:5])
        await self.refused("too_large", self.add(ana, conv, fay))
        await self.remove(ana, conv, people[1])
        self.assertEqual(await self.add(ana, conv, fay), 3)


class Rights(GroupCase):
    TABLE = (
        ("message.send", {"content": text("hello")}, ALL_IN),
        ("history", {}, READERS),
        ("conversation.get", {}, READERS),
        ("receipt", {"read": 1}, READERS),
        ("receipt.list", {}, READERS),
        ("typing", {"on": True}, ALL_IN),
        ("group.members", {}, ALL_IN),
        ("group.update", {"title": "Dinner"}, ALL_IN),
        ("group.update", {"picture": "p1"}, ALL_IN),
        ("group.update", {"announce": True}, ADMINS),
        ("group.update", {"locked": True}, ADMINS),
        ("group.update", {"history": "all"}, ADMINS),
        ("group.update", {"title": "Dinner", "locked": True}, ADMINS),
        ("group.add", {"users": ["new"]}, ADMINS),
        ("group.remove", {"users": ["other"]}, ADMINS),
        ("group.remove", {"users": ["owner2"]}, OWNERS),
        ("group.role", {"user": "other", "role": "admin"}, ADMINS),
        ("group.role", {"user": "other", "role": "owner"}, OWNERS),
        ("group.role", {"user": "owner2", "role": "member"}, OWNERS),
        ("group.leave", {}, ALL_IN),
    )
    LOCKED = (
        ("group.update", {"title": "Dinner"}, ADMINS),
        ("group.update", {"description": "late"}, ADMINS),
        ("group.update", {"picture": "p1"}, ADMINS),
        ("message.send", {"content": text("hello")}, ALL_IN),
    )
    ANNOUNCE = (
        ("message.send", {"content": text("hello")}, ADMINS),
        ("typing", {"on": True}, ADMINS),
        ("history", {}, READERS),
        ("receipt", {"read": 1}, READERS),
        ("group.update", {"title": "Dinner"}, ALL_IN),
    )
    WITHOUT_CID = {"history", "conversation.get", "receipt", "receipt.list", "typing", "group.members"}

    async def hold(self, table, **settings):
        who = dict(zip((*ROLES, "other", "owner2", "new"), await self.people(
            "owner", "admin", "member", "former", "outsider", "other", "owner2", "newcomer")))

        def named(v):
            return [named(u) for u in v] if isinstance(v, list) else who[v].id if isinstance(v, str) and v in who else v

        async def cell(op, args, role, expected):
            owner = who["owner"]
            members = [who[n] for n in ("admin", "member", "former", "other", "owner2")]
            conv = await self.group(owner, *members, **settings)
            await self.change(owner, "group.role", conv, user=who["admin"].id, role="admin")
            await self.change(owner, "group.role", conv, user=who["owner2"].id, role="owner")
            await self.remove(owner, conv, who["former"])
            args = {k: named(v) if k in ("users", "user") else v for k, v in args.items()}
            if op not in self.WITHOUT_CID:
                args["cid"] = cid()
            reply = await who[role].request(op, conv=conv, **args)
            self.assertEqual(reply["error"]["code"] if "error" in reply else OK, expected, (op, args, role, reply))
            if role == "outsider":
                nowhere = conv[:-6] + ("000000" if conv[-6:] != "000000" else "111111")
                self.assertEqual((await who[role].request(op, conv=nowhere, **args))["error"], reply["error"])
            last = (await owner.ok("conversation.get", conv=conv))["last_seq"]
            makes_entry = expected == OK and "cid" in args
            self.assertEqual(last, 5 if makes_entry else 4, (op, args, role))
        await asyncio.gather(*(cell(op, args, role, expected) for op, args, row in table
                               for role, expected in zip(ROLES, row)))

    async def test_every_op_is_for_whom_the_table_says(self):
        await self.hold(self.TABLE)

    async def test_a_locked_group_is_changed_by_admins_only(self):
        await self.hold(self.LOCKED, locked=True)

    async def test_in_an_announcing_group_only_admins_write(self):
        await self.hold(self.ANNOUNCE, announce=True)


class Members(GroupCase):
    async def test_each_change_is_one_entry_that_all_see_alike(self):
        ana, ben, cem, dea = await self.people("ana", "ben", "cem", "dea")
        conv = await self.group(ana, ben)
        self.assertEqual(await self.add(ana, conv, cem, dea), 2)
        self.assertEqual(await self.change(ana, "group.role", conv, user=ben.id, role="admin"), 3)
        self.assertEqual(await self.change(ben, "group.update", conv, title="Dinner", announce=True), 4)
        self.assertEqual(await self.remove(ben, conv, cem), 5)
        self.assertEqual(await self.change(dea, "group.leave", conv), 6)
        seen = await self.history(ana, conv)
        added, role, settings, removed, left = seen[1:]
        self.assertEqual({(m["user"], m["role"]) for m in added["added"]}, {(cem.id, "member"), (dea.id, "member")})
        self.assertEqual(role["role"], {"user": ben.id, "role": "admin"})
        self.assertEqual((settings["ev"], settings["title"], settings["announce"]), ("settings", "Dinner", True))
        self.assertFalse({"locked", "history", "description"} & set(settings))
        self.assertEqual((removed["from"], removed["removed"]), (ben.id, [cem.id]))
        self.assertEqual((left["from"], left["removed"]), (dea.id, [dea.id]))
        self.assertEqual({e["ev"] for e in (added, role, removed, left)}, {"members"})
        self.assertEqual(await ben.entries(4), [e for e in seen if e["from"] != ben.id])
        self.assertEqual(await dea.entries(4), seen[1:5])
        self.assertEqual(await cem.entries(4), seen[1:5])
        self.assertEqual(await self.roles(ana, conv), {ana.id: "owner", ben.id: "admin"})

    async def test_adding_is_all_or_nothing(self):
        ana, ben, cem = await self.people("ana", "ben", "cem")
        conv = await self.group(ana, ben)
        key = cid()
        unknown = cem.id[:-1] + ("0" if cem.id[-1] != "0" else "1")
        await self.refused("not_found", ana.ok("group.add", conv=conv, cid=key, users=[cem.id, unknown]))
        self.assertEqual(set(await self.roles(ana, conv)), {ana.id, ben.id})
        await self.refused("not_found", cem.ok("history", conv=conv))
        added = await ana.ok("group.add", conv=conv, cid=key, users=[cem.id])
        self.assertEqual((added["seq"], added.get("dup")), (2, None))

    async def test_removing_is_all_or_nothing(self):
        ana, ben, cem = await self.people("ana", "ben", "cem")
        conv = await self.group(ana, ben)
        await self.refused("not_found", self.remove(ana, conv, ben, cem))
        await self.refused("bad_request", self.remove(ana, conv, ben, ana))
        self.assertEqual(set(await self.roles(ana, conv)), {ana.id, ben.id})

    async def test_what_is_so_already_makes_no_entry(self):
        ana, ben, cem = await self.people("ana", "ben", "cem")
        conv = await self.group(ana, ben)
        self.assertEqual(await self.add(ana, conv, ben), 1)
        self.assertEqual(await self.change(ana, "group.role", conv, user=ben.id, role="member"), 1)
        self.assertEqual(await self.change(ana, "group.update", conv, title="Lunch", locked=False), 1)
        self.assertEqual(await self.add(ana, conv, ben, cem), 2)
        self.assertEqual((await self.history(ana, conv))[-1]["added"], [{"user": cem.id, "role": "member"}])

    async def test_the_last_owner_leaving_hands_over_to_the_longest_standing_admin_then_member(self):
        ana, ben, cem, dea = await self.people("ana", "ben", "cem", "dea")
        conv = await self.group(ana)
        for p in (ben, cem, dea):
            await self.add(ana, conv, p)
        for p in (dea, cem):
            await self.change(ana, "group.role", conv, user=p.id, role="admin")
        for leaver, heir in ((ana, cem), (cem, dea), (dea, ben)):
            await self.change(leaver, "group.leave", conv)
            last = (await self.history(heir, conv))[-1]
            self.assertEqual((last["removed"], last["role"]), ([leaver.id], {"user": heir.id, "role": "owner"}))
            self.assertEqual((await self.roles(heir, conv))[heir.id], "owner")
        await self.change(ben, "group.leave", conv)
        self.assertNotIn("role", (await self.history(ben, conv))[-1])

    async def test_an_owner_leaving_another_owner_hands_nothing_over(self):
        ana, ben, cem = await self.people("ana", "ben", "cem")
        conv = await self.group(ana, ben, cem)
        await self.change(ana, "group.role", conv, user=cem.id, role="owner")
        await self.change(ana, "group.leave", conv)
        self.assertNotIn("role", (await self.history(ben, conv))[-1])
        self.assertEqual(await self.roles(ben, conv), {ben.id: "member", cem.id: "owner"})

    async def test_the_last_owner_cannot_step_down(self):
        ana, ben = await self.people("ana", "ben")
        conv = await self.group(ana, ben)
        for role in ("member", "admin"):
            await self.refused("conflict", self.change(ana, "group.role", conv, user=ana.id, role=role))
        await self.change(ana, "group.role", conv, user=ben.id, role="owner")
        await self.change(ana, "group.role", conv, user=ana.id, role="member")
        self.assertEqual(await self.roles(ana, conv), {ana.id: "member", ben.id: "owner"})

    async def test_they_are_listed_in_pages(self):
        people = await self.people(*(f"user{n}" for n in range(7)))
        conv = await self.group(people[0], *people[1:])
        await self.remove(people[0], conv, people[3])
        whole = await people[0].ok("group.members", conv=conv)
        self.assertFalse(whole["more"])
        self.assertEqual({m["user"] for m in whole["members"]}, {p.id for p in people} - {people[3].id})
        self.assertTrue(all(set(m) == {"user", "role", "joined_at"} for m in whole["members"]))
        paged, more = [], {}
        while True:
            page = await people[1].ok("group.members", conv=conv, limit=2, **more)
            self.assertLessEqual(len(page["members"]), 2)
            paged += page["members"]
            if not page["more"]:
                break
            more = {"cursor": page["cursor"]}
        self.assertEqual(paged, whole["members"])


class Ranges(GroupCase):
    """What a member sees: from the entry that added them to the entry that removed them, as often as that happened."""

    async def gap(self):
        """ben sees 1 to 3 and 6 on, of 8 entries."""
        ana, ben, cem = await self.people("ana", "ben", "cem")
        conv = await self.group(ana, ben, cem)
        await ana.send(conv, "2")
        self.assertEqual(await self.remove(ana, conv, ben), 3)
        await ana.send(conv, "4")
        await ana.send(conv, "5")
        self.assertEqual(await self.add(ana, conv, ben), 6)
        await ana.send(conv, "7")
        await cem.send(conv, "8")
        return ana, ben, cem, conv

    async def test_the_removed_see_their_removal_and_nothing_after(self):
        ana, ben, cem = await self.people("ana", "ben", "cem")
        conv = await self.group(ana, ben, cem)
        await ana.send(conv, "2")
        await self.remove(ana, conv, ben)
        await ana.send(conv, "4")
        await self.change(ana, "group.update", conv, title="Secret")
        self.assertEqual(seqs(await self.history(ben, conv)), [1, 2, 3])
        self.assertEqual(seqs(await self.history(ben, conv, after=2)), [3])
        self.assertEqual(await self.history(ben, conv, after=3), [])
        item, = (await ben.ok("sync", since={}))["conversations"]
        self.assertEqual((seqs(item["entries"]), item["last_seq"], item["visible"]), ([1, 2, 3], 3, [[1, 3]]))
        listed, = (await ben.ok("conversation.list"))["conversations"]
        self.assertEqual((listed["last_seq"], listed["last"]["removed"]), (3, [ben.id]))
        got = await ben.ok("conversation.get", conv=conv)
        self.assertEqual((got["last_seq"], got["visible"]), (3, [[1, 3]]))
        for answer in (listed, got, item):
            self.assertFalse({"title", "announce", "locked", "history", "role"} & set(answer), answer)
            self.assertNotIn("Secret", str(answer))
        await self.refused("bad_request", ben.ok("receipt", conv=conv, read=4))

    async def test_no_events_come_between_removal_and_return(self):
        _, ben, _, conv = await self.gap()
        got = await ben.entries(6)
        self.assertEqual([(e["conv"], e["seq"]) for e in got], [(conv, n) for n in (1, 2, 3, 6, 7, 8)])

    async def test_history_pages_leave_the_gap_out(self):
        _, ben, _, conv = await self.gap()
        self.assertEqual(seqs(await self.history(ben, conv)), [1, 2, 3, 6, 7, 8])
        for args, expected in (({"limit": 2}, [7, 8]), ({"limit": 2, "before": 7}, [3, 6]),
                               ({"limit": 9, "before": 6}, [1, 2, 3]), ({"limit": 2, "before": 5}, [2, 3]),
                               ({"limit": 3, "after": 2}, [3, 6, 7]),
                               ({"limit": 1, "after": 3}, [6]), ({"limit": 2, "after": 4}, [6, 7]),
                               ({"after": 3, "before": 6}, [])):
            self.assertEqual(seqs(await self.history(ben, conv, **args)), expected, args)
        forth, after = [], 0
        while True:
            page = await ben.ok("history", conv=conv, after=after, limit=2)
            forth += seqs(page["entries"])
            if not page["more"]:
                break
            after = forth[-1]
        self.assertEqual(forth, [1, 2, 3, 6, 7, 8])

    async def test_sync_and_unread_leave_the_gap_out(self):
        _, ben, _, conv = await self.gap()
        item, = (await ben.ok("sync", since={}))["conversations"]
        self.assertEqual((seqs(item["entries"]), item["visible"]), ([1, 2, 3, 6, 7, 8], [[1, 3], [6, None]]))
        self.assertEqual((item["last_seq"], item["unread"]), (8, 3))
        item, = (await ben.ok("sync", since={conv: 3}))["conversations"]
        self.assertEqual(seqs(item["entries"]), [6, 7, 8])
        await ben.ok("receipt", conv=conv, read=3)
        self.assertEqual((await ben.ok("conversation.get", conv=conv))["unread"], 2)

    async def test_a_reply_to_what_is_in_the_gap_is_refused(self):
        _, ben, _, conv = await self.gap()
        await self.refused("bad_request", ben.send(conv, "?", reply_to=4))
        await ben.send(conv, "!", reply_to=2)

    async def test_who_joins_sees_from_there_on_or_all_as_the_setting_then_is(self):
        ana, ben, cem, dea = await self.people("ana", "ben", "cem", "dea")
        conv = await self.group(ana)
        await ana.send(conv, "2")
        self.assertEqual(await self.add(ana, conv, ben), 3)
        self.assertEqual(await self.change(ana, "group.update", conv, history="all"), 4)
        self.assertEqual(await self.add(ana, conv, cem), 5)
        self.assertEqual(await self.change(ana, "group.update", conv, history="joined"), 6)
        self.assertEqual(await self.add(ana, conv, dea), 7)
        for who, first in ((ben, 3), (cem, 1), (dea, 7)):
            self.assertEqual(seqs(await self.history(who, conv)), list(range(first, 8)))
            self.assertEqual((await who.ok("conversation.get", conv=conv))["visible"], [[first, None]])

    async def test_who_comes_back_with_the_whole_history_sees_the_gap_too(self):
        ana, ben = await self.people("ana", "ben")
        conv = await self.group(ana, ben, history="all")
        await self.remove(ana, conv, ben)
        await ana.send(conv, "3")
        await self.add(ana, conv, ben)
        self.assertEqual(seqs(await self.history(ben, conv)), [1, 2, 3, 4])

    async def test_a_repeat_after_removal_gets_the_first_answer(self):
        ana, ben = await self.people("ana", "ben")
        conv = await self.group(ana, ben)
        key = cid()
        first = await ben.send(conv, "mine", cid=key)
        await self.remove(ana, conv, ben)
        self.assertEqual(await ben.send(conv, "mine", cid=key), {**first, "dup": True})
        await self.refused("conflict", ben.send(conv, "another", cid=key))
        await self.refused("forbidden", ben.send(conv, "new"))
        key = cid()
        await self.add(ana, conv, ben)
        left = await ben.ok("group.leave", conv=conv, cid=key)
        self.assertEqual(await ben.ok("group.leave", conv=conv, cid=key), {**left, "dup": True})
        self.assertEqual((await ana.ok("conversation.get", conv=conv))["last_seq"], left["seq"])


class Order(GroupCase):
    async def test_eight_who_write_at_once_make_one_sequence_for_everybody(self):
        people = await self.people(*(f"user{n}" for n in range(8)))
        watcher = await (await people[0].user.login()).connect()
        conv = await self.group(people[0], *people[1:])
        each = 40
        sends = [(p, n, p.send_nowait("message.send", conv=conv, cid=cid(), content=text(str(n))))
                 for n in range(each) for p in people]
        answers = {(p.id, n): (await f)["ok"]["seq"] for p, n, f in sends}
        total = 1 + 8 * each
        self.assertEqual(sorted(answers.values()), list(range(2, total + 1)))
        for p in people:
            mine = [answers[p.id, n] for n in range(each)]
            self.assertEqual(mine, sorted(mine))
        seen = await watcher.entries(total)
        self.assertEqual(seqs(seen), list(range(1, total + 1)))
        self.assertEqual([answers[e["from"], int(e["content"]["text"])] for e in seen[1:]], seqs(seen[1:]))
        for p in people:
            others = [e for e in seen if e["from"] != p.id]
            self.assertEqual(await p.entries(len(others)), others)
        await self.server.restart(9)
        ben, = await self.reconnect(people[1])
        stored, after = [], 0
        while len(stored) < total:
            stored += await self.history(ben, conv, after=after, limit=200)
            after = stored[-1]["seq"]
        self.assertEqual(stored, seen)


class Unread(GroupCase):
    async def test_it_counts_others_messages_behind_ones_read_cursor(self):
        ana, ben, cem = await self.people("ana", "ben", "cem")
        conv = await self.group(ana, ben, cem)

        async def unread(who):
            got = await who.ok("conversation.get", conv=conv)
            return got["unread"], got["mentions"]
        self.assertEqual(await unread(ben), (0, 0))
        for n in (2, 3, 4):
            await ana.send(conv, str(n), mentions=[ben.id] if n > 2 else [])
        await self.change(ana, "group.update", conv, title="Dinner")
        self.assertEqual([await unread(p) for p in (ana, ben, cem)], [(0, 0), (3, 2), (3, 0)])
        await ben.ok("receipt", conv=conv, read=3)
        self.assertEqual(await unread(ben), (1, 1))
        await ben.send(conv, "6")
        self.assertEqual([await unread(p) for p in (ana, ben, cem)], [(1, 0), (0, 0), (4, 0)])
        await self.server.restart(9)
        ana, ben, cem = await self.reconnect(ana, ben, cem)
        self.assertEqual([await unread(p) for p in (ana, ben, cem)], [(1, 0), (0, 0), (4, 0)])


class Crash(GroupCase):
    async def test_roles_ranges_and_settings_outlive_a_kill(self):
        people = ana, ben, cem, dea = await self.people("ana", "ben", "cem", "dea")
        conv = await self.group(ana, ben, cem, description="at noon")
        await self.change(ana, "group.role", conv, user=ben.id, role="admin")
        await self.remove(ben, conv, cem)
        await ana.send(conv, "unseen by cem")
        await self.change(ben, "group.update", conv, announce=True, locked=True, history="all", picture="p1")
        await self.add(ben, conv, cem, dea)
        await self.change(dea, "group.leave", conv)

        async def state(people):
            return [(await p.ok("conversation.get", conv=conv), await self.history(p, conv)) for p in people], \
                   await people[0].ok("group.members", conv=conv)
        before = await state(people)
        self.assertEqual(before[0][3][0]["visible"], [[1, 7]])
        for _ in range(2):
            await self.server.restart(9)
            people = await self.reconnect(*people)
            self.assertEqual(await state(people), before)
        ana, ben, cem, dea = people
        await self.refused("forbidden", cem.send(conv, "no"))
        await self.refused("forbidden", dea.send(conv, "no"))
        self.assertEqual((await ben.send(conv, "yes"))["seq"], 8)


class OverHttp(GroupCase):
    async def test_every_call_has_its_status_and_the_answer_of_the_op(self):
        ana, ben, cem, dea = await self.people("ana", "ben", "cem", "dea")

        async def call(who, method, path, body=None, expected=200, key=None):
            headers = {"Idempotency-Key": key or cid()}
            status, _, answer = await who.user.http(method, path, body, headers=headers)
            self.assertEqual(status, expected, (method, path, answer))
            return answer
        key = cid()
        body = {"title": "Lunch", "members": [ben.id]}
        made = await call(ana, "POST", "/v1/groups", body, 201, key)
        self.assertEqual(await call(ana, "POST", "/v1/groups", body, 201, key), {**made, "dup": True})
        self.assertEqual(await ana.ok("group.create", **body, cid=key), {**made, "dup": True})
        conv, group = made["conv"], f"/v1/groups/{made['conv']}"
        self.assertEqual((await call(ana, "PATCH", group, {"title": "Dinner", "locked": True}))["seq"], 2)
        self.assertEqual((await call(ana, "POST", f"{group}/members", {"users": [cem.id, dea.id]}))["seq"], 3)
        self.assertEqual((await call(ana, "PATCH", f"{group}/members/{ben.id}", {"role": "admin"}))["seq"], 4)
        status, _, listed = await ana.user.http("GET", f"{group}/members?limit=3")
        self.assertEqual((status, listed), (200, await ana.ok("group.members", conv=conv, limit=3)))
        self.assertTrue(listed["more"])
        rest = await ana.user.http_ok("GET", f"{group}/members?cursor={listed['cursor']}")
        self.assertEqual((len(rest["members"]), rest["more"]), (1, False))
        self.assertEqual((await call(ben, "DELETE", f"{group}/members/{cem.id}"))["seq"], 5)
        self.assertEqual((await call(dea, "DELETE", f"{group}/members/me"))["seq"], 6)
        self.assertEqual((await call(ana, "POST", f"{group}/members", {"users": [cem.id, dea.id]}))["seq"], 7)
        self.assertEqual((await call(ana, "DELETE", f"{group}/members?users={cem.id},{dea.id}"))["seq"], 8)
        removed = (await self.history(ana, conv))[-1]["removed"]
        self.assertEqual(set(removed), {cem.id, dea.id})
        self.assertEqual(await self.roles(ana, conv), {ana.id: "owner", ben.id: "admin"})

    async def test_refusals_have_their_status(self):
        ana, ben, cem = await self.people("ana", "ben", "cem")
        conv = await self.group(ana, ben)
        group = f"/v1/groups/{conv}"
        for who, method, path, body, status, code in (
                (ben, "PATCH", group, {"announce": True, "cid": cid()}, 403, "forbidden"),
                (cem, "PATCH", group, {"title": "Mine", "cid": cid()}, 404, "not_found"),
                (cem, "GET", f"{group}/members", None, 404, "not_found"),
                (ben, "POST", f"{group}/members", {"users": [cem.id], "cid": cid()}, 403, "forbidden"),
                (ana, "DELETE", f"{group}/members/{cem.id}?cid={cid()}", None, 404, "not_found"),
                (ana, "PATCH", f"{group}/members/{ana.id}", {"role": "member", "cid": cid()}, 409, "conflict"),
                (ana, "PATCH", f"{group}/members/{ben.id}", {"role": "king", "cid": cid()}, 400, "bad_request"),
                (ana, "PATCH", group, {"cid": cid()}, 400, "bad_request"),
                (ana, "PATCH", group, {"title": "Dinner"}, 400, "bad_request"),
                (ana, "DELETE", f"{group}/members/me", None, 400, "bad_request"),
                (ana, "POST", "/v1/groups", {"members": [], "cid": cid()}, 400, "bad_request"),
                (ana, "PUT", group, {"title": "Dinner", "cid": cid()}, 405, "unknown_op")):
            got, _, answer = await who.user.http(method, path, body)
            self.assertEqual((got, answer["code"]), (status, code), (method, path, answer))
        self.assertEqual((await ana.ok("conversation.get", conv=conv))["last_seq"], 1)
