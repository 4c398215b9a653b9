"""`parley import`: what was exported is taken in elsewhere, whole, once, and under the names that people have there."""
import asyncio
import json
import os
import random
import shutil
import tempfile

from parley import Server, User, build_dir
from test_export import Talk
from test_lifecycle import entries, run
from test_verify import noise


class Import(Talk):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.dir = tempfile.mkdtemp(prefix="parley-test-import-")
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.file = os.path.join(self.dir, "export")

    async def save(self, *args):
        status, out, err = await run("parley", "export", "--data", self.server.data, "--passwords", *args)
        self.assertEqual((status, err), (0, ""))
        with open(self.file, "w") as f:
            f.write(out)

    async def take(self, data):
        return await run("parley", "import", self.file, "--data", data)

    async def elsewhere(self, data):
        server = await Server(data=data, rate_limit="off", threads=2).start()
        self.addAsyncCleanup(server.stop)
        return server

    async def log_in(self, server, name, password="correct horse battery"):
        answer = await server.http_ok("POST", "/v1/sessions", {"username": name, "password": password})
        return User(server, answer, password)

    async def test_a_new_server_has_everybody_and_everything_and_goes_on(self):
        await self.talk()
        await self.save()
        data = os.path.join(self.dir, "new")
        status, out, err = await self.take(data)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(out, "new: 3 users, 2 conversations, 38 entries\n")
        status, out, err = await self.take(data)
        self.assertEqual((status, out, err), (0, "new: 0 users, 0 conversations, 0 entries\n", ""))
        server = await self.elsewhere(data)
        was = {p.name: phone for p, phone in zip(self.people, self.phones)}
        for name in ("ana", "cat", "ben"):
            phone = await (await self.log_in(server, name)).connect()
            listed = (await phone.ok("conversation.list"))["conversations"]
            for kind, of in (("pair", self.pair), ("group", self.group)):
                if name == "cat" and kind == "pair":
                    continue
                conv = next(c["conv"] for c in listed if c["kind"] == kind)
                old = await entries(was[name], of)
                got = await entries(phone, conv)
                self.assertEqual(json.dumps([{**e, "conv": ""} for e in got], sort_keys=True),
                                 json.dumps([{**e, "conv": ""} for e in old], sort_keys=True))
                before = await was[name].ok("conversation.get", conv=of)
                after = await phone.ok("conversation.get", conv=conv)
                for key in ("last_seq", "visible", "unread", "read", "delivered"):
                    self.assertEqual(after.get(key), before.get(key), (name, kind, key))
            await phone.close()
        phone = await (await self.log_in(server, "ana")).connect()
        for conv in (await phone.ok("conversation.list"))["conversations"]:
            self.assertEqual((await phone.send(conv["conv"], "on"))["seq"], conv["last_seq"] + 1)
        await phone.close()
        await server.stop()
        status, out, _ = await run("parley", "verify", "--data", data)
        self.assertEqual(status, 0, out)

    async def test_people_who_are_there_are_known_by_name_and_conversations_go_on_or_are_left_alone(self):
        await self.talk()
        data = os.path.join(self.dir, "other")
        server = await self.elsewhere(data)
        ana, dan = await server.users("ana", "dan")  # another ana's id, the same name
        phone = await ana.connect()
        own = (await phone.send(dan, "mine"))["conv"]
        await phone.close()
        await server.stop()
        await self.save()
        status, out, err = await self.take(data)
        self.assertEqual((status, out, err), (0, "new: 2 users, 2 conversations, 38 entries\n", ""))
        # More happens where it was exported from: the next import adds just that.
        await self.phones[0].send(self.ben, "and more")
        await self.save()
        status, out, err = await self.take(data)
        self.assertEqual((status, out, err), (0, "new: 0 users, 0 conversations, 1 entries\n", ""))
        server = await self.elsewhere(data)
        phone = await (await self.log_in(server, "ana")).connect()
        convs = {c["conv"]: c for c in (await phone.ok("conversation.list"))["conversations"]}
        self.assertEqual(len(convs), 3)
        self.assertEqual([e["content"]["text"] for e in await entries(phone, own)], ["mine"])
        pair = next(c for c in convs if convs[c]["last_seq"] == 31)
        self.assertEqual([e["from"] == ana.id for e in await entries(phone, pair)], [True] * 31)
        # It goes on in two ways: what is here is left alone, and said.
        await phone.send(pair, "another way")
        await phone.close()
        await server.stop()
        await self.phones[0].send(self.ben, "one way")
        await self.phones[0].send(self.ben, "further")
        await self.save()
        status, out, err = await self.take(data)
        self.assertEqual((status, out), (1, "new: 0 users, 0 conversations, 0 entries\n"))
        self.assertIn("another way here", err)

    async def test_an_import_that_is_killed_goes_on_where_it_was(self):
        ana = await self.server.user("ana")
        phone = await ana.connect()
        for i in range(400):
            await phone.send(ana, noise(random.Random(i), 4000))
        await phone.close()
        await self.save()
        data = os.path.join(self.dir, "new")
        for lines in (3, 50, 200, 201):  # what it was given before it died
            with open(self.file) as f:
                head = "".join(f.readlines()[:lines])
            p = await asyncio.create_subprocess_exec(
                os.path.join(build_dir(), "parley"), "import", "-", "--data", data, stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL)
            p.stdin.write(head.encode())
            await p.stdin.drain()
            p.kill()
            await p.wait()
        status, out, err = await self.take(data)
        self.assertEqual((status, err), (0, ""))
        status, out, err = await run("parley", "verify", "--data", data)
        self.assertEqual(status, 0, out)
        status, out, err = await self.take(data)
        self.assertEqual((status, out, err), (0, "new: 0 users, 0 conversations, 0 entries\n", ""))
        server = await self.elsewhere(data)
        phone = await (await self.log_in(server, "ana")).connect()
        conv = (await phone.ok("conversation.list"))["conversations"][0]["conv"]
        got = await entries(phone, conv)
        self.assertEqual([e["seq"] for e in got], list(range(1, 401)))
        await phone.close()

    async def test_what_is_not_whole_is_said_and_a_running_server_is_refused(self):
        await self.talk()
        await self.save("--user", "cat")  # the group, from where cat joined
        data = os.path.join(self.dir, "new")
        status, out, err = await self.take(data)
        self.assertEqual((status, out), (1, "new: 2 users, 0 conversations, 0 entries\n"))
        self.assertIn("does not begin with its first entry", err)
        await self.save()
        with open(self.file) as f:
            lines = f.read().splitlines(True)
        with open(self.file, "w") as f:
            f.writelines(lines[:-3] + ["{nonsense\n"])
        status, out, err = await self.take(os.path.join(self.dir, "cut"))
        self.assertEqual(status, 1)
        self.assertIn("not whole", err)
        self.assertIn("no JSON", err)
        status, out, err = await self.take(self.server.data)
        self.assertEqual((status, out), (1, ""))
        self.assertIn("using this data folder", err)
        with open(self.file, "w") as f:
            f.write('{"type":"export","version":2}\n')
        status, out, err = await self.take(os.path.join(self.dir, "later"))
        self.assertEqual(status, 1)
        self.assertIn("later program", err)
