"""What is older than it is kept is in no answer, and soon nowhere in the files; what is left goes on, and is exported."""
import asyncio
import json
import os
import shutil
import tempfile

import test_erase
from parley import Refused, Server, User, cid
from test_erase import files_with
from test_lifecycle import entries, run


class Retention(test_erase.Files):
    async def first(self, phone, conv):
        return (await phone.ok("conversation.get", conv=conv))["first_seq"]

    async def until_first(self, phone, conv, seq):
        """Until the entries begin at this seq, and the newest is a stub if it is that one."""
        async with asyncio.timeout(60):
            while True:
                page = await phone.ok("history", conv=conv, after=0)
                head = page["entries"][-1]
                if page["entries"][0]["seq"] == seq and (seq < head["seq"] or "content" not in head):
                    return page["entries"]
                await asyncio.sleep(0.1)

    async def forget_all(self, phone, conv, head):
        await self.tool("retention", conv, "1s")
        kept = await self.until_first(phone, conv, head)
        await self.tool("retention", conv, "forever")
        return kept

    async def test_old_messages_leave_every_answer_and_every_file(self):
        ann, ben, cat, a, conv, secrets, cids = await self.make()
        before = await a.ok("history", conv=conv)
        self.assertIn("kept: forever, as the server says", await self.tool("retention", conv))
        self.assertIn("kept: 1s, its own", await self.tool("retention", conv, "1s"))
        kept = await self.until_first(a, conv, 8)
        self.assertEqual([(e["seq"], e.get("expired")) for e in kept], [(8, True)])
        self.assertIn("entries 8 to 8", await self.tool("retention", conv))
        for seq in (1, 5, 7):  # a repeat is one for ever
            again = await a.send(ben, secrets[seq - 1], cid=cids[seq - 1])
            self.assertEqual((again["seq"], again["ts"], again["dup"]), (seq, before["entries"][seq - 1]["ts"], True))
        with self.assertRaises(Refused):
            await a.send(ben, "other words", cid=cids[0])
        with self.assertRaises(Refused):
            await a.send(conv, "to what is no more", reply_to=3)
        b = await ben.connect()
        listed = next(c for c in (await b.ok("conversation.list"))["conversations"] if c["conv"] == conv)
        self.assertEqual((listed["last_seq"], listed["unread"]), (8, 1))
        synced = next(c for c in (await b.ok("sync"))["conversations"] if c["conv"] == conv)
        self.assertEqual((synced["first_seq"], synced["reset"], [e["seq"] for e in synced["entries"]]), (8, True, [8]))
        await self.tool("erase", conv, "8", "--wait", "on")
        self.assertEqual(files_with(self.server.data, secrets), set())
        await self.server.kill()
        await self.server.start()
        a = await ann.connect()
        self.assertEqual([e["seq"] for e in (await a.ok("history", conv=conv))["entries"]], [8])
        self.assertEqual((await a.send(ben, secrets[2], cid=cids[2]))["seq"], 3)
        self.assertEqual((await a.send(ben, "on"))["seq"], 9)
        await self.server.stop()
        self.assertEqual(files_with(self.server.data, secrets), set())
        status, out, _ = await run("parley", "verify", "--data", self.server.data)
        self.assertEqual(status, 0, out)

    async def test_kills_between_forgetting_and_the_purge_spare_nothing(self):
        ann, ben, cat, a, conv, secrets, cids = await self.make()
        await self.forget_all(a, conv, 8)
        await self.server.kill()
        for s in secrets:
            self.assertGreaterEqual(self.places([s]), {"log", "decoded"})
        await self.server.start()
        await self.server.kill()
        self.assertTrue(files_with(self.server.data, secrets))
        await self.server.start()
        await self.until_nothing_is_left()
        self.assertEqual(files_with(self.server.data, secrets), set())
        a = await ann.connect()
        self.assertEqual([(e["seq"], e.get("expired")) for e in (await a.ok("history", conv=conv))["entries"]], [(8, True)])
        self.assertEqual((await a.send(ben, secrets[0], cid=cids[0]))["dup"], True)
        await self.server.stop()
        self.assertEqual(files_with(self.server.data, secrets), set())

    async def test_the_servers_age_holds_where_a_conversation_says_nothing(self):
        ann, ben, cat = await self.server.users("ann", "ben", "cat")
        a = await ann.connect()
        for other in (ben, cat):
            for i in range(300):
                await a.insist("message.send", user=other.id, cid=cid(), content={"type": "text", "text": str(i)})
        ben_conv, cat_conv = [c["conv"] for c in sorted((await a.ok("conversation.list"))["conversations"],
                                                        key=lambda c: c["peer"] == cat.id)]
        await self.tool("retention", cat_conv, "forever")
        await self.server.restart(retention="1s")
        self.assertIn("kept: 1s, as the server says", await self.tool("retention", ben_conv))
        self.assertIn("kept: forever, its own (the server's: 1s)", await self.tool("retention", cat_conv))
        a = await ann.connect()
        await self.until_first(a, ben_conv, 300)  # more than a page went
        self.assertEqual(await self.first(a, cat_conv), 1)
        self.assertEqual(len(await entries(a, cat_conv)), 300)
        await self.tool("retention", cat_conv, "server")
        await self.until_first(a, cat_conv, 300)

    async def test_a_dead_letter_loses_what_is_forgotten(self):
        ann, ben = await self.server.users("ann", "ben")
        a, words = await ann.connect(), test_erase.secret()
        self.sql("CREATE TRIGGER poison BEFORE INSERT ON chats BEGIN SELECT RAISE(ABORT, 'poison'); END")
        conv = (await a.send(ben, words))["conv"]
        await a.ok("conversation.list")  # waits for the tables: by then the letter is made
        self.sql("DROP TRIGGER poison")
        self.assertTrue([p for p in files_with(self.server.data, [words]) if p.startswith("tables.db")])
        await a.send(ben, "more")
        await self.forget_all(a, conv, 2)
        await self.until_nothing_is_left()
        self.assertEqual(files_with(self.server.data, [words]), set())
        await self.tool("dead", "replay", "all")
        listed = await a.ok("conversation.list")
        self.assertEqual([c["conv"] for c in listed["conversations"]], [conv])

    async def test_a_group_of_many_whose_beginning_is_gone_is_imported(self):
        digits = "0123456789abcdefghjkmnpqrstvwxyz"

        def user(n):
            return "u" + "".join(digits[2 * n >> 5 * i & 31] for i in reversed(range(13)))
        conv, people = "cce1685tdwdc9rsfsczkjdmnm0c", [user(1000 + n) for n in range(600)]
        lines = [{"type": "export", "version": 1, "epoch": "x", "ts": 1},
                 {"type": "user", "user": people[0], "username": "ann"},
                 {"type": "conversation", "conv": conv, "kind": "group", "first_seq": 1000, "last_seq": 1000, "messages_before": 300,
                  "title": "many", "announce": False, "locked": False, "history": "joined"}]
        lines += [{"type": "member", "conv": conv, "user": p, "in": True, "role": "admin" if n % 2 else "owner" if n == 0 else "member",
                   "joined_at": 1700000000000 + n, "joined_seq": n + 1, "visible": [[n + 1, None]], "delivered": 0, "read": 0}
                  for n, p in enumerate(people)]
        lines += [{"type": "entry", "ev": "message", "conv": conv, "seq": 1000, "from": people[5], "ts": 1700000009000, "cid": "x",
                   "content": {"type": "text", "text": "hi"}},
                  {"type": "end", "users": 1, "conversations": 1, "entries": 1}]
        folder = tempfile.mkdtemp(prefix="parley-test-import-")
        self.addCleanup(shutil.rmtree, folder, True)
        file, data = os.path.join(folder, "export"), os.path.join(folder, "new")
        with open(file, "w") as f:
            f.writelines(json.dumps(line) + "\n" for line in lines)
        for want in ("new: 1 users, 1 conversations, 1 entries\n", "new: 0 users, 0 conversations, 0 entries\n"):
            status, out, err = await run("parley", "import", file, "--data", data)
            self.assertEqual((status, out, err), (0, want, ""))
        for _ in range(2):
            status, out, _ = await run("parley", "verify", "--data", data)
            self.assertEqual(status, 0, out)
            got = await self.save(data, os.path.join(folder, "again"))
            is_ = next(line for line in got if line["type"] == "conversation")
            self.assertEqual((is_["conv"], is_["first_seq"], is_["last_seq"], is_["messages_before"], is_["title"]),
                             (conv, 1000, 1000, 300, "many"))
            members = sorted((m for m in got if m["type"] == "member"), key=lambda m: m["joined_seq"])
            self.assertEqual([(m["user"], m["role"], m["joined_at"]) for m in members],
                             [(m["user"], m["role"], m["joined_at"]) for m in lines if m["type"] == "member"])
            server = await self.elsewhere(data)  # takes the log in
            await server.stop()
        # Of who was let in later and of one who lacks their ranges nobody can say who was in it.
        del next(m for m in lines if m["type"] == "member")["visible"]
        with open(file, "w") as f:
            f.writelines(json.dumps(line) + "\n" for line in lines)
        status, out, err = await run("parley", "import", file, "--data", os.path.join(folder, "other"))
        self.assertEqual((status, out), (1, "new: 1 users, 0 conversations, 0 entries\n"))
        self.assertIn("it does not begin with its first entry", err)

    async def test_a_group_of_which_nobody_says_who_joined_when_is_imported(self):
        conv, people = "cce1685tdwdc9rsfsczkjdmnm0c", ["u" + "0" * 11 + x for x in ("10", "20", "30")]
        lines = [{"type": "export", "version": 1, "epoch": "x", "ts": 1},
                 {"type": "conversation", "conv": conv, "kind": "group", "first_seq": 2, "last_seq": 2, "messages_before": 0,
                  "title": "few", "announce": False, "locked": False, "history": "joined"}]
        lines += [{"type": "member", "conv": conv, "user": p, "in": True, "role": "owner" if p == people[0] else "member",
                   "joined_at": 1700000000000, "visible": [[1, None]], "delivered": 0, "read": 0} for p in people]
        lines[2]["joined_seq"] = 1  # all others came with the first entry, too: there is no other
        lines += [{"type": "entry", "ev": "message", "conv": conv, "seq": 2, "from": people[1], "ts": 1700000009000, "cid": "x",
                   "content": {"type": "text", "text": "hi"}},
                  {"type": "end", "users": 0, "conversations": 1, "entries": 1}]
        folder = tempfile.mkdtemp(prefix="parley-test-import-")
        self.addCleanup(shutil.rmtree, folder, True)
        file, data = os.path.join(folder, "export"), os.path.join(folder, "new")
        with open(file, "w") as f:
            f.writelines(json.dumps(line) + "\n" for line in lines)
        status, out, err = await run("parley", "import", file, "--data", data)
        self.assertEqual((status, out, err), (0, "new: 0 users, 1 conversations, 1 entries\n", ""))
        got = await self.save(data, os.path.join(folder, "again"))
        self.assertEqual([(m["user"], m["joined_seq"]) for m in got if m["type"] == "member"], [(p, 1) for p in people])
        self.assertEqual([(e["seq"], e["content"]["text"]) for e in got if e["type"] == "entry"], [(2, "hi")])
        status, out, _ = await run("parley", "verify", "--data", data)
        self.assertEqual(status, 0, out)

    async def test_what_is_wrong_is_said(self):
        ann, ben = await self.server.users("ann", "ben")
        conv = (await (await ann.connect()).send(ben, "x"))["conv"]
        for args in (("nonsense",), (conv, "90"), (conv, "10ms"), (conv, "1d", "2d")):
            await self.tool("retention", *args, want=2)
        await self.tool("retention", "c" + "0" * 26, want=1)
        for bad in ("90", "10ms", "never"):
            server = Server(retention=bad)
            with self.assertRaises(AssertionError):
                await server.start()
            self.assertIn("retention: forever, or an age", server.tail())
            server.log.close()
            os.unlink(server.log_path)
            shutil.rmtree(server.data, ignore_errors=True)

    async def elsewhere(self, data):
        server = await Server(data=data, rate_limit="off", threads=2).start()
        self.addAsyncCleanup(server.stop)
        return server

    async def log_in(self, server, name, password="correct horse battery"):
        return User(server, await server.http_ok("POST", "/v1/sessions", {"username": name, "password": password}), password)

    async def save(self, data, file):
        status, out, err = await run("parley", "export", "--data", data, "--passwords")
        self.assertEqual((status, err), (0, ""))
        with open(file, "w") as f:
            f.write(out)
        return [json.loads(line) for line in out.splitlines()]

    async def test_what_is_kept_is_exported_and_imported_and_goes_on_there(self):
        people = ann, ben, cat, dan = await self.server.users("ann", "ben", "cat", "dan")
        a, b, c, d = [await p.connect() for p in people]
        for i in range(5):
            pair = (await a.send(ben, f"old {i}"))["conv"]
        group = (await a.ok("group.create", title="all", members=[ben.id, dan.id], cid="g", description="d"))["conv"]
        await b.send(group, "old")
        await a.ok("group.add", conv=group, cid=cid(), users=[cat.id])
        await a.ok("group.role", conv=group, cid=cid(), user=cat.id, role="admin")
        await d.ok("group.leave", conv=group, cid=cid())
        await a.send(group, "old, too")  # 6
        await self.forget_all(a, pair, 5)
        await self.forget_all(a, group, 6)
        await b.send(ann, "new")
        await c.send(group, "new", mentions=[ann.id])
        await a.ok("group.add", conv=group, cid=cid(), users=[dan.id])
        await b.ok("group.leave", conv=group, cid=cid())
        await b.ok("receipt", conv=pair, delivered=5, read=5)
        folder = tempfile.mkdtemp(prefix="parley-test-import-")
        self.addCleanup(shutil.rmtree, folder, True)
        file, data = os.path.join(folder, "export"), os.path.join(folder, "new")
        lines = await self.save(self.server.data, file)
        convs = {line["conv"]: line for line in lines if line["type"] == "conversation"}
        self.assertEqual([(convs[x]["first_seq"], convs[x]["messages_before"], convs[x]["retention"]) for x in (pair, group)],
                         [(5, 4, "forever"), (6, 1, "forever")])
        self.assertNotIn("old", "".join(json.dumps(line) for line in lines))
        for _ in range(2):
            status, out, err = await run("parley", "import", file, "--data", data)
            self.assertEqual((status, err), (0, ""))
        self.assertEqual(out, "new: 0 users, 0 conversations, 0 entries\n")
        status, out, _ = await run("parley", "verify", "--data", data)  # still in its log
        self.assertEqual(status, 0, out)
        server = await self.elsewhere(data)
        for name, phone in (("ann", a), ("ben", b), ("cat", c), ("dan", d)):
            new = await (await self.log_in(server, name)).connect()
            listed = (await new.ok("conversation.list"))["conversations"]
            for kind, of in (("pair", pair), ("group", group)):
                if kind == "pair" and name in ("cat", "dan"):
                    continue
                conv = next(x["conv"] for x in listed if x["kind"] == kind)
                old, got = await entries(phone, of), await entries(new, conv)
                self.assertTrue(old)
                self.assertEqual(json.dumps([{**e, "conv": ""} for e in got], sort_keys=True),
                                 json.dumps([{**e, "conv": ""} for e in old], sort_keys=True))
                before = await phone.ok("conversation.get", conv=of)
                after = await new.ok("conversation.get", conv=conv)
                for key in ("first_seq", "last_seq", "unread", "read", "delivered", "mentions", "title", "description", "role",
                            "member_count"):
                    self.assertEqual(after.get(key), before.get(key), (name, kind, key))
            await new.close()
        new = await (await self.log_in(server, "ann")).connect()
        for conv in (await new.ok("conversation.list"))["conversations"]:
            self.assertEqual((await new.send(conv["conv"], "on"))["seq"], conv["last_seq"] + 1)
        await new.close()
        await server.stop()
        status, out, _ = await run("parley", "verify", "--data", data)
        self.assertEqual(status, 0, out)
        again = await self.save(data, file)
        kept = {line["kind"]: (line["first_seq"], line["messages_before"], line["retention"])
                for line in again if line["type"] == "conversation"}
        self.assertEqual(kept, {"pair": (5, 4, "forever"), "group": (6, 1, "forever")})
