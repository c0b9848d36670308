#!/usr/bin/env python3
"""All databases are lost, and a person begins with a backup that is older than the last change of the in-sync set, on the server whose
copy lacks rows: it does not start by itself, says what it waits for, and goes on with every row when the right copy is named.
docs/protocol.md, R7-R10; docs/operations.md, "Restore"."""
import glob
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cluster_test import OTHER, ClusterTest, run_tests
from lab_cluster import DATA, copy_of, group_of, mirror_of, started_on
from lab_faults import LabFaults

FILE = "/var/log/baton/demo.backup"
AWAY = ".away"


def on_host(server, *path):
    return os.path.join(DATA, server, *path)


def waits_for_a_person(status):
    return "restored from a backup" in group_of(status)["waiting"]


class Backup(ClusterTest):
    def hold_batond(self, *servers):
        """Where there is no configuration the lab starts no batond."""
        for server in servers:
            os.rename(on_host(server, "etc", "cluster.toml"), on_host(server, "etc", "cluster.toml" + AWAY))

    def let_batond_start(self, server):
        os.rename(on_host(server, "etc", "cluster.toml" + AWAY), on_host(server, "etc", "cluster.toml"))

    def delete_database(self, server):
        for path in glob.glob(on_host(server, "disk", "database.sqlite*")):
            os.remove(path)

    def back_up(self, server):
        done = json.loads(self.cluster.baton(server, "--json", "cluster", "backup", FILE).stdout)
        self.assertEqual(done["cluster"], "demo")
        with open(on_host(server, "log", "demo.backup"), "rb") as file:
            return file.read()

    def put_backup(self, server, backup):
        with open(on_host(server, "log", "demo.backup"), "wb") as file:
            file.write(backup)

    def restore(self, server, *words, check=True):
        lost = [name for name in ("server1", "server2", "witness") if name != server and name not in words]
        named = [word for name in lost for word in ("--give-up", name)]
        return self.cluster.baton(server, "cluster", "restore", FILE, "--as", server, "--yes", *named, *words, check=check)

    def test_a_stale_set_starts_nothing(self):
        owner = self.owner()
        standby = OTHER[owner]
        backup = self.back_up(owner)
        self.assertEqual(sorted(mirror_of(self.cluster.status(owner))["in_sync"]), ["server1", "server2"])
        self.cluster.power_off(standby)
        self.rows_go_on(300)  # the standby's copy lacks these, and the backup says that it has everything
        self.hold_batond("server1", "server2", "witness")
        for server in (owner, "witness"):
            self.cluster.power_off(server)
        for server in ("server1", "server2", "witness"):
            self.delete_database(server)
        self.put_backup(standby, backup)
        self.cluster.power_on(standby)
        self.restore(standby)  # with the configuration in place the lab starts batond
        status = self.cluster.wait_for(waits_for_a_person, 60, "the group to wait for a person", servers=(standby,))
        self.assertTrue(status["database"]["serving"])
        self.assertFalse(mirror_of(status)["in_sync_known"], mirror_of(status))
        for server in (owner, "witness"):
            self.cluster.power_on(server)
            self.let_batond_start(server)
        status = self.cluster.wait_for(
            lambda status: waits_for_a_person(status) and all(copy_of(status, name)["reported"] for name in OTHER)
            and all(server["state"] == "up" for server in status["servers"]), 90, "everybody back, and the group to wait", servers=(standby,))
        counters = {name: copy_of(status, name)["generation"]["counter"] for name in OTHER}
        self.assertGreater(counters[owner], counters[standby], "the copies tell which one went on alone")
        self.cluster.baton(standby, "mirror", "force", "db.data", owner, "--yes-lose-data")
        self.cluster.wait_for(started_on(owner), 60, f"the group to be started on {owner}", servers=(standby,))
        self.rows_go_on(200)
        self.cluster.wait_normal(120)
        self.end_and_check()
        self.check_copies()
        self.cluster.wait_until(lambda: glob.glob(on_host(standby, "disk", "backups", "*.backup")), 120, "a daily backup")

    def test_a_database_deleted_under_a_running_cluster(self):
        """No power is lost: guards, mirrors and PostgreSQL go on for a moment when batond is gone and its database with it."""
        owner = self.owner()
        self.back_up(owner)
        self.hold_batond("server1", "server2", "witness")
        faults = LabFaults(self.cluster)
        for server in ("server1", "server2", "witness"):
            faults.kill(server, "batond")
            self.delete_database(server)
        refused = self.restore(owner, "--replace", "--key", "/none", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.restore(owner)
        self.cluster.wait_for(waits_for_a_person, 60, "the group to wait for a person", servers=(owner,))
        for server in (OTHER[owner], "witness"):
            self.let_batond_start(server)
        self.cluster.wait_for(lambda status: all(server["state"] == "up" for server in status["servers"]), 90, "everybody up", servers=(owner,))
        self.cluster.baton(owner, "mirror", "force", "db.data", owner, "--yes-lose-data")
        self.cluster.wait_for(started_on(owner), 90, f"the group to be started on {owner}", servers=(owner,))
        self.rows_go_on(200)
        self.cluster.wait_normal(120)
        self.end_and_check()

    def test_a_named_server_puts_its_old_database_aside(self):
        """It runs all the time, with a database that is newer than the backup: nothing but the restore tells it."""
        owner = self.owner()
        named = OTHER[owner]
        self.back_up(owner)
        self.rows_go_on(50)
        self.hold_batond(owner, "witness")
        for server in (owner, "witness"):
            LabFaults(self.cluster).kill(server, "batond")
            self.delete_database(server)
        self.restore(owner, "--with", named)
        self.let_batond_start("witness")
        self.cluster.wait_until(lambda: glob.glob(on_host(named, "disk", "before-recovery-*", "database.sqlite")), 60,
                                f"{named} to put its database aside")
        self.cluster.wait_for(lambda status: waits_for_a_person(status) and all(server["state"] == "up" for server in status["servers"]),
                              90, "everybody up, and the group to wait", servers=(named,))
        self.cluster.baton(named, "mirror", "force", "db.data", owner, "--yes-lose-data")
        self.cluster.wait_for(started_on(owner), 90, f"the group to be started on {owner}")
        self.rows_go_on(200)
        self.cluster.wait_normal(120)
        self.end_and_check()


if __name__ == "__main__":
    sys.exit(run_tests(8))
