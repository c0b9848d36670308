#!/usr/bin/env python3
"""The cluster's keys are replaced under a client that writes: nobody notices, and the former key is good for nothing any more.
A server that is away is waited for, named, and the rotation called off; one that loses its power with a staged key finds
the others again; certificates alone are issued anew; a server joins afterwards; the support archive holds no key."""
import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cluster_test import ClusterTest, run_tests
from lab_cluster import mirror_in_sync, now_ns, started_on

MEMBERS = ("server1", "server2", "witness")
STALL_MS = 3000  # so long only if a member was too busy to follow, and was cut off (docs/operations.md, rotate-keys)
KEY = "/etc/baton/cluster.key"
NEXT = "/etc/baton/cluster.next.key"
OLD = "/etc/baton/cluster.old.key"
TLS = "/var/lib/baton/tls/db.data"

# Who shows this certificate to server2's mirror daemon: what does it hear first?
STRANGER = """
import socket, ssl, sys
where = sys.argv[1]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.load_cert_chain(where + '/server.pem', where + '/server.key')
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
try:
    with context.wrap_socket(socket.create_connection(('10.88.1.12', 7800), 5)) as connection:
        print(connection.recv(8).decode() or 'closed')
except OSError as error:
    print('refused:', error)
"""


class RotateKeys(ClusterTest):
    machines = 3  # of which the configuration names two

    def read(self, server, path):
        return self.cluster.inside(server, "cat", path, check=False).stdout.strip()

    def exists(self, server, path):
        return self.cluster.inside(server, "test", "-e", path, check=False).returncode == 0

    def key_everywhere(self, members=MEMBERS):
        keys = {self.read(member, KEY) for member in members}
        self.assertEqual(len(keys), 1, "the servers use different keys")
        return keys.pop()

    def keys_are_clean(self, members=MEMBERS):
        for member in members:
            for path in (NEXT, OLD):
                self.cluster.wait_until(lambda member=member, path=path: not self.exists(member, path), 20, f"{path} on {member} to go")

    def rotate(self, *options, server="server1", check=True):
        return self.cluster.baton(server, "cluster", "rotate-keys", *options, timeout_s=200, check=check)

    def in_sync_versions(self, server="server1"):
        """Every change of the in-sync set of which this server's history knows."""
        return [event["text"] for event in self.cluster.events(server) if "mirror db.data: in sync" in event["text"]]

    def hears(self, server, where):
        return self.cluster.inside(server, "python3", "-c", STRANGER, where, check=False).stdout.strip()

    def one(self, server, name):
        pids = self.cluster.processes(server, name)
        self.assertEqual(len(pids), 1, f"{name} on {server}: {pids}")
        return pids[0]

    # ---- All are there ----

    def test_keys_change_under_load(self):
        first = self.key_everywhere()
        self.cluster.inside("server1", "cp", "-r", TLS, "/tmp/former-tls")
        before = now_ns()
        done = self.rotate()
        self.say(done.stderr.strip().replace("\n", "; "))
        self.ledger.wait_rows(200, 60)
        gap = self.ledger.longest_gap(before).ms
        self.say(f"longest gap between two commits: {gap:.0f} ms")
        self.assertLess(gap, STALL_MS)
        second = self.key_everywhere()
        self.assertNotEqual(second, first)
        self.keys_are_clean()
        status = self.cluster.wait_normal(30)
        self.assertTrue(started_on("server1")(status))
        self.former_key_is_refused(first, second)
        self.archive_has_no_key(first, second)
        self.certificates_alone()
        self.again_and_join(second)
        self.end_and_check()
        self.check_copies()

    def former_key_is_refused(self, first, second):
        """Each by what the former key made: a certificate for the mirror connect, a corosync."""
        self.assertEqual(self.hears("server1", TLS), "BATONMC1", "the test's own client cannot get in")
        self.assertNotEqual(self.hears("server1", "/tmp/former-tls"), "BATONMC1")
        self.assertEqual(self.read("server2", TLS + "/authority.pem").count("BEGIN"), 1, "the former authority is accepted")
        self.former_corosync_is_refused(first)
        self.assertEqual(self.key_everywhere(), second)

    def former_corosync_is_refused(self, key):
        """A machine with the configuration's words and the former key is no member."""
        self.cluster.inside("witness", "cp", "/run/baton/corosync/authkey", "/tmp/present-authkey")
        former = ("import hmac,sys; key=sys.argv[1].encode(); sys.stdout.buffer.write(b''.join(hmac.new(key, b'baton corosync key %d' % n, "
                  "'sha512').digest() for n in (1, 2)))")
        self.cluster.inside("witness", "sh", "-c", f"python3 -c \"{former}\" {key} > /run/baton/corosync/authkey")
        self.reload_keys("witness")
        self.cluster.wait_for(lambda status: any(server["name"] == "witness" and server["state"] == "down" for server in status["servers"]),
                              30, "a corosync with the former key not to be heard", ["server1"])
        self.cluster.inside("witness", "cp", "/tmp/present-authkey", "/run/baton/corosync/authkey")
        self.reload_keys("witness")
        self.cluster.wait_normal(60)

    def reload_keys(self, server):
        """While a membership forms corosync wants to be asked again."""
        self.cluster.wait_until(lambda: self.cluster.inside(server, "corosync-cfgtool", "-R", check=False).returncode == 0, 30,
                                "corosync to read the key")

    def archive_has_no_key(self, *keys):
        archive = "/tmp/support.tar.gz"
        self.cluster.baton("server1", "support", "--output", archive, timeout_s=120)
        size = self.cluster.inside("server1", "sh", "-c", f"tar -xOzf {archive} | wc -c", timeout_s=120).stdout
        self.assertGreater(int(size), 1000)
        for key in keys:
            found = self.cluster.inside("server1", "sh", "-c", f"tar -xOzf {archive} | grep -ac {key[:32]}", check=False)
            self.assertEqual(found.stdout.strip(), "0")

    def certificates_alone(self):
        before = {server: self.read(server, TLS + "/server.pem") for server in ("server1", "server2")}
        sets, key, start = self.in_sync_versions(), self.key_everywhere(), now_ns()
        self.rotate("--certificates", server="witness")
        for server, certificate in before.items():
            self.cluster.wait_until(lambda server=server, certificate=certificate: self.read(server, TLS + "/server.pem") not in ("", certificate),
                                    20, f"another certificate on {server}")
        self.ledger.wait_rows(200, 60)
        gap = self.ledger.longest_gap(start).ms
        self.say(f"certificates: longest gap between two commits: {gap:.0f} ms")
        self.assertLess(gap, STALL_MS)
        self.assertTrue(mirror_in_sync(self.cluster.wait_normal(30)))
        self.assertEqual(self.in_sync_versions(), sets)
        self.assertEqual(self.key_everywhere(), key)

    def again_and_join(self, second):
        """A token that was given out before names the former key; one of afterwards lets a server in."""
        token = json.loads(self.cluster.baton("server1", "--json", "cluster", "token").stdout)["token"]
        self.rotate(server="server2")
        third = self.key_everywhere()
        self.assertNotEqual(third, second)
        self.keys_are_clean()
        # Loaded, too, by the same leader: a corosync with the former key is not heard, and comes back with the present one.
        self.former_corosync_is_refused(second)
        join = ("cluster", "join", "--no-preflight", "--name", "server3", "--interconnect", "10.88.1.13,10.88.0.13")
        late = self.cluster.baton("server3", *join, token, timeout_s=150, check=False)
        self.assertNotEqual(late.returncode, 0)
        self.assertFalse(self.exists("server3", KEY))
        self.cluster.wait_normal(30)
        token = json.loads(self.cluster.baton("server1", "--json", "cluster", "token").stdout)["token"]
        self.cluster.baton("server3", *join, token, timeout_s=150)
        self.key_everywhere((*MEMBERS, "server3"))

    # ---- Somebody is not ----

    def test_a_server_is_away(self):
        first = self.key_everywhere()
        self.cluster.power_off("witness")
        self.cluster.wait_for(lambda status: any(server["name"] == "witness" and server["state"] == "down" for server in status["servers"]),
                              60, "the witness to be down", ["server1"])
        before = now_ns()
        self.rotate("--no-wait", "--timeout", "8 s")
        shown = self.cluster.wait_for(lambda status: "witness has not got the new key" in status["keys"]["waiting"], 10,
                                      "the witness to be named", ["server1"])
        self.assertEqual(shown["keys"]["phase"], "staging")
        again = self.rotate(check=False)
        self.assertIn("being replaced already", again.stderr)
        token = self.cluster.baton("server2", "cluster", "token", check=False)
        self.assertIn("keys are being replaced", token.stderr)
        status = self.cluster.wait_for(lambda status: status["keys"]["phase"] == "none", 30, "it to be called off", ["server1"])
        self.assertTrue(status["keys"]["called_off"])
        self.assertIn("witness", status["keys"]["reason"])
        self.keys_are_clean(("server1", "server2"))
        self.assertEqual(self.key_everywhere(("server1", "server2")), first)
        self.rows_go_on()
        self.assertLess(self.ledger.longest_gap(before).ms, STALL_MS)
        self.cluster.power_on("witness")
        self.cluster.wait_normal(60)
        self.lost_power_with_a_staged_key(first)
        self.end_and_check()
        self.check_copies()

    def lost_power_with_a_staged_key(self, first):
        """The witness' batond stands still, so that nothing is in force yet, when server2 loses its power."""
        stopped = self.one("witness", "batond")
        os.kill(stopped, signal.SIGSTOP)
        try:
            self.rotate("--no-wait", "--timeout", "2 min")
            self.cluster.wait_until(lambda: self.exists("server2", NEXT), 20, "a staged key on server2")
            self.cluster.wait_for(lambda status: "server2" in status["keys"]["staged"], 20, "server2's word for it", ["server1"])
            self.assertEqual(self.key_everywhere(("server1", "server2")), first)
            self.cluster.power_off("server2")
        finally:
            os.kill(stopped, signal.SIGCONT)
        self.cluster.wait_for(lambda status: status["keys"]["phase"] == "none" and not status["keys"]["called_off"]
                              and status["keys"]["number"] == 2, 60, "the new key without server2", ["server1"])
        self.assertNotEqual(self.read("server1", KEY), first)
        start = time.monotonic()
        self.cluster.power_on("server2")
        self.cluster.wait_normal(90)
        self.say(f"server2 was with the others again {time.monotonic() - start:.1f} s after its power")
        self.assertNotEqual(self.key_everywhere(), first)
        self.keys_are_clean()


if __name__ == "__main__":
    sys.exit(run_tests(10))
