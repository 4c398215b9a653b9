"""`parley export`: everything as lines of JSON; of a running server, a stopped one, a backup; of one user what they may see."""
import json
import os
import shutil
import signal
import tempfile

from parley import Case, cid
from test_lifecycle import entries, run


class Talk(Case):
    """What the tests of export and import talk about."""
    options = {"threads": 2, "stores": 2, "memtable": "1m"}

    async def export(self, *args, data=None):
        status, out, err = await run("parley", "export", "--data", data or self.server.data, *args)
        self.assertEqual((status, err), (0, ""))
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual((lines[0]["type"], lines[0]["version"], lines[-1]["type"]), ("export", 1, "end"))
        kinds = [line["type"] for line in lines[1:-1]]
        self.assertEqual({"users": kinds.count("user"), "conversations": kinds.count("conversation"),
                          "entries": kinds.count("entry")}, {k: v for k, v in lines[-1].items() if k != "type"})
        return lines

    async def talk(self):
        self.people = self.ana, self.ben, self.cat = await self.server.users("ana", "ben", "cat")
        self.phones = [await p.connect() for p in self.people]
        a, b, c = self.phones
        for i in range(30):
            self.pair = (await a.send(self.ben, f"pair {i} \u00e4\u4e2d\u0000 {'x' * 3000 * (i % 3)}"))["conv"]
        self.group = (await a.ok("group.create", title="all \"three\"", members=[self.ben.id], cid="g", description="d"))["conv"]
        await b.send(self.group, "before cat")
        await a.ok("group.add", conv=self.group, cid=cid(), users=[self.cat.id])
        await c.send(self.group, "hello")
        await c.send(self.group, {"type": "poll", "of": [1, 2.5, {"a": None}]}, reply_to=4, mentions=[self.ana.id])
        await a.ok("group.update", conv=self.group, cid=cid(), title="renamed")
        await b.ok("group.leave", conv=self.group, cid=cid())
        await a.send(self.group, "after ben")
        await b.ok("receipt", conv=self.pair, delivered=20, read=10)
        await self.ana.http_ok("PATCH", "/v1/users/me", {"status": "here"})

    @staticmethod
    def events(lines, conv):
        return [{k: v for k, v in line.items() if k != "type" and (k != "history" or line["ev"] != "members")}
                for line in lines
                if line["type"] == "entry" and line["conv"] == conv]


class Export(Talk):
    async def test_it_has_every_user_conversation_member_and_entry_as_clients_get_them(self):
        await self.talk()
        lines = await self.export()
        users = {line["username"]: line for line in lines if line["type"] == "user"}
        self.assertEqual(sorted(users), ["ana", "ben", "cat"])
        self.assertEqual((users["ana"]["user"], users["ana"]["status"]), (self.ana.id, "here"))
        self.assertNotIn("password", users["ana"])
        for conv, phone in ((self.pair, self.phones[0]), (self.group, self.phones[0])):
            self.assertEqual(self.events(lines, conv), await entries(phone, conv))
        convs = {line["conv"]: line for line in lines if line["type"] == "conversation"}
        self.assertEqual((convs[self.pair]["kind"], convs[self.pair]["last_seq"]), ("pair", 30))
        self.assertEqual((convs[self.group]["title"], convs[self.group]["description"]), ("renamed", "d"))
        members = {(line["conv"], line["user"]): line for line in lines if line["type"] == "member"}
        self.assertEqual(len(members), 5)
        self.assertEqual((members[self.pair, self.ben.id]["delivered"], members[self.pair, self.ben.id]["read"]), (20, 10))
        self.assertEqual(members[self.group, self.ana.id]["role"], "owner")
        self.assertFalse(members[self.group, self.ben.id]["in"])
        self.assertEqual(members[self.group, self.cat.id]["visible"], [[3, None]])
        status, out, _ = await run("parley", "export", "--data", self.server.data, "--passwords")
        self.assertEqual(out.count('"password":"$argon2id$'), 3)

    async def test_running_stopped_killed_and_backed_up_it_is_the_same(self):
        await self.talk()
        running = (await self.export())[1:]
        for p in self.phones:
            await p.close()
        folder = tempfile.mkdtemp(prefix="parley-test-backups-")
        self.addCleanup(shutil.rmtree, folder, True)
        status, out, _ = await run("parley", "backup", folder, "--data", self.server.data)
        self.assertEqual(status, 0)
        self.assertEqual((await self.export(data=os.path.join(folder, out.split(":")[0])))[1:], running)
        await self.server.kill()
        self.assertEqual((await self.export())[1:], running)
        await self.server.start()
        await self.server.stop(signal.SIGTERM)
        self.assertEqual((await self.export())[1:], running)

    async def test_of_one_user_it_has_what_they_may_see_and_of_others_what_is_public(self):
        await self.talk()
        for who in ("cat", self.cat.id):
            lines = await self.export("--user", who)
            self.assertEqual(self.events(lines, self.group), await entries(self.phones[2], self.group))
            self.assertEqual([line["conv"] for line in lines if line["type"] == "conversation"], [self.group])
            users = {line["username"]: line for line in lines if line["type"] == "user"}
            self.assertEqual(sorted(users), ["ana", "cat"])
            self.assertNotIn("created", users["ana"])
            self.assertIn("created", users["cat"])
        lines = await self.export("--user", "ben")
        self.assertEqual(self.events(lines, self.group), await entries(self.phones[1], self.group))
        self.assertEqual(len(self.events(lines, self.pair)), 30)
        self.assertNotIn("after ben", json.dumps(lines))
        status, out, err = await run("parley", "export", "--data", self.server.data, "--user", "nobody")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("no such user", err)
