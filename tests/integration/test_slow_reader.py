"""A reader that never reads costs the server a bounded amount of memory, and misses nothing in the end."""
import asyncio
import json

from parley import DEADLINE, Case, cid, open_socket

ROUNDS, BURST, SIZE = 24, 64, 16000


class SlowReader(Case):
    options = {"memtable": "1m", "cache": "1m", "stores": 1, "threads": 1}

    async def flood(self, sender, user):
        """ROUNDS * BURST messages, each acknowledged: the conversation, and how many KiB of memory came on top."""
        before = self.server.rss_kib()
        most = 0
        for _ in range(ROUNDS):
            sends = [sender.insist("message.send", user=user.id, cid=cid(), content={"type": "x", "b": "b" * SIZE})
                     for _ in range(BURST)]
            sent = await asyncio.gather(*sends)
            most = max(most, self.server.rss_kib() - before)
        return sent[0]["conv"], most

    async def test_its_backlog_is_dropped_and_sync_gives_everything(self):
        ana, ben, cleo, warm = await self.server.users("ana", "ben", "cleo", "warm")
        a = await ana.connect()
        await self.flood(a, warm)  # memtables, caches and buffers reach their size
        _, control = await self.flood(a, cleo)  # nobody is connected there
        deaf = await open_socket(self.server)
        await deaf.send(json.dumps({"id": 0, "op": "auth", "token": ben.token}))
        await asyncio.wait_for(deaf.recv(), DEADLINE)
        deaf.transport.pause_reading()
        conv, grown = await self.flood(a, ben)
        total = ROUNDS * BURST
        self.assertGreater(total * SIZE, 20 << 20)
        self.assertLess(grown, control + 16 * 1024, "KiB: the backlog was kept")  # sanitizers add a shadow of what is kept
        deaf.transport.resume_reading()
        seqs, resynced = [], False
        while not resynced:
            message = json.loads(await asyncio.wait_for(deaf.recv(), DEADLINE))
            if message["ev"] == "resync":
                resynced = True
            else:
                seqs.append(message["seq"])
        self.assertEqual(seqs, list(range(1, len(seqs) + 1)))
        await a.send(ben, "not pushed before sync")
        got, last = list(seqs), {"since": {conv: seqs[-1] if seqs else 0}}
        while True:
            await deaf.send(json.dumps({"id": 1, "op": "sync", "limit": 1000, **last}))
            reply = json.loads(await asyncio.wait_for(deaf.recv(), DEADLINE))
            self.assertEqual(reply.get("re"), 1, reply.get("ev"))
            got += [e["seq"] for c in reply["ok"]["conversations"] if c["conv"] == conv for e in c["entries"]]
            if not reply["ok"]["more"]:
                break
            last = {"since": {conv: seqs[-1] if seqs else 0}, "cursor": reply["ok"]["cursor"]}
        self.assertEqual(got, list(range(1, total + 2)))
        sent = await a.send(ben, "pushed again")
        event = json.loads(await asyncio.wait_for(deaf.recv(), DEADLINE))
        self.assertEqual((event["ev"], event["seq"]), ("message", sent["seq"]))
        await deaf.close()
