#!/usr/bin/env python3
"""Wrong configurations are refused with file, line, column and advice, and change nothing; full and unreadable disks
give a clear state and message, end nothing that could go on, and lose nothing."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cluster_test import OTHER, ClusterTest, run_tests
from lab_cluster import STORE, api_call, copy_of, example_configuration

# What is wrong: (old text, new text, the text at which the problem stands, a word of the message).
BAD = {
    "unknown key": ('startup = "automatic"', 'startup = "automatic"\nfailbak = true', "failbak", "failbak"),
    "unknown section": ("[group.db.address.ip]", "[group.db.adress.ip]", "adress", "adress"),
    "wrong type": ("id = 2", 'id = "two"', '"two"', "number"),
    "two resources of one name": ("[group.db.address.ip]", "[group.db.address.files]", "files]", "files"),
    "two sections of one name": ("[server.server2]", "[server.server1]", None, ""),
    "unknown server": ('servers = ["server1", "server2"]', 'servers = ["server1", "server9"]', '"server9"', "server9"),
    "the witness in a policy": ('servers = ["server1", "server2"]', 'servers = ["server1", "witness"]', '"witness"]',
                                "witness"),
    "address outside the public LAN": ('address = "10.88.0.50"', 'address = "10.99.0.50"', '"10.99.0.50"', "10.88.0.0/24"),
    "no size": ('size = "512 MiB"', 'size = "many"', '"many"', "size"),
    "broken quote": ('name = "demo"', 'name = "demo', None, ""),
}
NEW_GROUP = """
[group.more]
servers = ["server1", "server2"]
[group.more.mirror.disk]
size = "64 MiB"
store = "/var/lib/baton/small.img"
"""


def place_of(text, needle, after=""):
    """Line and column, from 1, of a text in a file; the place named by `after` comes before it."""
    at = text.index(needle, text.index(after) if after else 0)
    return text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1


class BadConfiguration(ClusterTest):
    with_client = False

    def configuration(self):
        return api_call(self.cluster.init_pid("server1"), "GET", "/v1/configuration")

    def refused(self, text):
        """Both commands refuse it; gives their messages."""
        path = f"/proc/{self.cluster.init_pid('server1')}/root/tmp/bad.toml"
        with open(path, "w") as file:
            file.write(text)
        before = self.configuration()
        outputs = []
        for command in ("plan", "apply"):
            done = self.cluster.baton("server1", command, "/tmp/bad.toml", check=False)
            self.assertNotEqual(done.returncode, 0, f"baton {command} accepted it: {done.stdout}")
            outputs.append(done.stderr + done.stdout)
        self.assertEqual(self.configuration(), before, "something was applied")
        return outputs

    def check_messages(self, outputs, line, column, word):
        for output in outputs:
            found = re.search(r"bad\.toml:(\d+):(\d+): (.*)", output)
            self.assertTrue(found, f"no file, line and column in: {output}")
            self.assertIn(word, output)
            self.assertIn(":", found.group(3), f"says not what to do: {output}")
            if line:
                self.assertIn(f"bad.toml:{line}:", output)
            if column:
                self.assertIn(f"bad.toml:{line}:{column}:", output)

    def test_each_is_refused_and_nothing_applied(self):
        good = example_configuration()
        for name, (old, new, needle, word) in BAD.items():
            with self.subTest(name):
                self.assertIn(old, good)
                text = good.replace(old, new, 1)
                line, column = place_of(text, needle, new) if needle else (0, 0)
                self.check_messages(self.refused(text), line, column, word)
        with self.subTest("a mirror larger than its device"):
            for server in OTHER:
                self.cluster.inside(server, "truncate", "-s", "1M", "/var/lib/baton/small.img")
            text = good + NEW_GROUP
            line, column = place_of(text, '"64 MiB"')
            self.check_messages(self.refused(text), line, column, "larger")
        self.cluster.wait_normal(30)

    def test_good_one_is_accepted(self):
        """The judge above must be able to say yes, too."""
        path = f"/proc/{self.cluster.init_pid('server1')}/root/tmp/good.toml"
        with open(path, "w") as file:
            file.write(example_configuration() + "\n# a comment more\n")
        before = self.configuration()["version"]
        self.cluster.baton("server1", "plan", "/tmp/good.toml")
        self.cluster.baton("server1", "apply", "/tmp/good.toml")
        self.assertGreater(self.configuration()["version"], before)
        self.cluster.wait_normal(30)


class BadDisk(ClusterTest):
    def batonds(self):
        return {server: self.cluster.processes(server, "batond") for server in ("server1", "server2", "witness")}

    def disk(self, server, *fault):
        self.say(f"disk of {server}: {' '.join(fault)}")
        self.cluster.lab("disk", server, *fault)

    def says(self, server, *words):
        """Waits until a server's own status carries a message with one of these words."""
        def predicate(status):
            texts = [status["database"]["waiting"], *status.get("problems", [])]
            texts += [copy.get(key, "") for mirror in status["mirrors"] for copy in mirror["copies"]
                      if copy["server"] == server for key in ("problem", "waiting")]
            return any(word in text.lower() for text in texts for word in words)
        return self.cluster.wait_for(predicate, 30, f"{server} to say one of: {', '.join(words)}", servers=(server,))

    def replace_if_left_behind(self, server):
        """A disk that failed under its primary is used again only when a person says so (docs/protocol.md, D1)."""
        self.cluster.wait_for(lambda status: status["groups"][0]["phase"] == "started", 60, "the group to be started")
        copy = copy_of(self.cluster.any_status(), server)
        if not copy or not copy.get("detached"):
            return
        if self.owner() == server:
            self.cluster.baton(server, "group", "move", "db", OTHER[server])
        self.cluster.wait_for(lambda status: status["groups"][0]["phase"] == "started", 60, "the group to be started")
        self.cluster.baton(server, "mirror", "replace", "db.data", server)

    def ends_well(self, batonds):
        self.cluster.wait_normal(180)
        self.rows_go_on(100)
        self.assertEqual(self.batonds(), batonds, "a batond ended")
        self.end_and_check()
        self.check_copies()

    def test_full_disk_under_the_witness_database(self):
        """The two servers are a majority: nothing stops, and the witness says why it does not take part."""
        batonds = self.batonds()
        self.disk("witness", "full", "on")
        self.cluster.baton("server1", "group", "move", "db", "server2")  # something to write down
        self.says("witness", "space", "full")
        self.rows_go_on(100)
        self.disk("witness", "full", "off")
        self.ends_well(batonds)

    def test_full_disk_of_the_standby(self):
        batonds = self.batonds()
        standby = OTHER[self.owner()]
        self.disk(standby, "full", "on")
        self.rows_go_on(300)
        self.disk(standby, "full", "off")
        self.ends_well(batonds)

    def test_full_disk_of_the_active_server(self):
        batonds = self.batonds()
        owner = self.owner()
        self.disk(owner, "full", "on")
        self.rows_go_on(100)  # here or on the other server
        self.disk(owner, "full", "off")
        self.replace_if_left_behind(owner)
        self.ends_well(batonds)

    def test_unreadable_store_of_the_standby(self):
        batonds = self.batonds()
        standby = OTHER[self.owner()]
        self.disk(standby, "eio", STORE, "on")
        self.rows_go_on(300)
        self.says(standby, "error", "i/o")
        self.disk(standby, "eio", STORE, "off")
        self.ends_well(batonds)

    def test_store_of_the_standby_that_loses_what_it_should_flush(self):
        """The disk reports such a loss once and is well again: the copy must be sent all of it anew (protocol.md, D3)."""
        batonds = self.batonds()
        standby = OTHER[self.owner()]
        self.disk(standby, "lossy-flush", STORE, "on")
        self.rows_go_on(300)
        self.says(standby, "failed to flush", "reports errors")
        self.disk(standby, "lossy-flush", STORE, "off")
        self.ends_well(batonds)

    def test_unreadable_store_of_the_active_server(self):
        batonds = self.batonds()
        owner = self.owner()
        self.disk(owner, "eio", STORE, "on")
        self.rows_go_on(100)  # from the other copy, here or there
        status = self.cluster.any_status()
        self.assertIsNotNone(copy_of(status, owner))
        self.disk(owner, "eio", STORE, "off")
        self.replace_if_left_behind(owner)
        self.ends_well(batonds)


if __name__ == "__main__":
    sys.exit(run_tests(minutes=8))
