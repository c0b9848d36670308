#!/usr/bin/env python3
"""Looking at a copy changes nothing in it (trap 12 of docs/traps.md): a filesystem whose journal wants to be replayed is
mounted from the export of the broken-off copy, and the store is the same before and after, byte for byte. Needs root,
/dev/fuse, loop devices, e2fsprogs, xfsprogs and build/bin/baton-mirrord.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
import mirror_test  # noqa: E402
from mirror_test import MIB, shell  # noqa: E402


class BackupTest(mirror_test.PairTest):
    PLACE = "/var/tmp/baton-mirror-backup-test"
    KEY = "mirror.looked-at"
    SIZE = 320 * MIB  # as XFS wants it
    port = 18100

    def setUp(self):
        super().setUp()
        self.mount, self.look = f"{self.PLACE}/mount", f"{self.PLACE}/look"
        os.makedirs(self.look)

    def tearDown(self):
        for place in (self.look, self.mount):
            shell(f"mountpoint -q {place} && umount {place}", check=False)
        super().tearDown()

    def sum(self):
        return shell(f"sha256sum <{self.b.store}").stdout

    def broken_off_with_a_journal(self, make):
        """A filesystem in use at A: `checkpointed` is in its place on the disk, `journalled` in the journal alone. It is
        broken off like that, and A writes more."""
        device = self.begin()
        shell(f"{make} {device} && mount {device} {self.mount} && head -c 3000000 /dev/urandom >{self.mount}/checkpointed && "
              f"sync -f {self.mount} && umount {self.mount} && mount {device} {self.mount} && "
              f"head -c 2000000 /dev/urandom >{self.mount}/journalled && sync {self.mount}/journalled && "
              f"cp -r {self.mount} {self.PLACE}/wanted")
        self.cluster.commit(broken=True)
        self.alone(self.a)
        self.b.wait("broken off, and the link down", lambda: self.b.report["broken"] and self.b.report["link"] != "connected")
        shell(f"echo since >{self.mount}/since && sync -f {self.mount}")

    def replay_changes(self, options):
        """Or the comparison would prove nothing: a plain mount replays the journal, even a read-only one."""
        scratch = f"{self.PLACE}/scratch"
        shell(f"cp --sparse=always {self.b.store} {scratch}")
        loop = shell(f"losetup --find --show {scratch}").stdout.strip()  # `mount -o loop,ro` would make it a read-only one
        try:
            shell(f"mount -o ro{options} {loop} {self.look} && cmp {self.look}/journalled {self.PLACE}/wanted/journalled && "
                  f"test ! -e {self.look}/since && umount {self.look}")
        finally:
            shell(f"losetup --detach {loop}")
        self.assertNotEqual(shell(f"cmp {scratch} {self.b.store}", check=False).returncode, 0)

    def trap_12(self, make, without_replay, options=""):
        self.broken_off_with_a_journal(make)
        before = self.sum()
        self.replay_changes(options)
        backup = self.b.ask("backup", wanted=True)
        self.assertEqual(backup["notice"], "done", backup)
        device = backup["text"]
        # The kernel would replay the journal under `ro`: the device does not let it.
        self.assertNotEqual(shell(f"mount -o ro{options} {device} {self.look}", check=False).returncode, 0)
        self.assertNotEqual(shell(f"mount -o rw{options} {device} {self.look} && touch {self.look}/mine", check=False).returncode, 0)
        self.assertEqual(self.sum(), before)
        shell(f"mountpoint -q {self.look} && umount {self.look}", check=False)
        shell(f"mount -o ro,{without_replay}{options} {device} {self.look} && "
              f"cmp {self.look}/checkpointed {self.PLACE}/wanted/checkpointed && test ! -e {self.look}/journalled && "
              f"find {self.look} -type f -exec cat {{}} + >/dev/null && umount {self.look}")
        shell(f"cmp -n {self.SIZE} {device} {self.b.store}")
        self.assertEqual(self.b.ask("backup", wanted=False)["notice"], "done")
        self.assertEqual(self.sum(), before)
        self.and_restarted(before)
        self.rejoined()

    def and_restarted(self, before):
        """Nor does the daemon's own end and start touch it."""
        self.b.stop()
        self.b.start()
        self.b.wait("broken off", lambda: self.b.report["broken"])
        self.assertEqual(self.sum(), before)

    def rejoined(self):
        self.cluster.commit(broken=False)
        self.both()
        self.a.linked()
        self.assertEqual(self.a.report["copy"], "fast", self.a.report)
        shell(f"umount {self.mount}")
        self.a.demote()
        self.equal()

    def test_trap_12_ext4(self):
        self.trap_12("mkfs.ext4 -q", "noload")

    def test_trap_12_xfs(self):
        self.trap_12("mkfs.xfs -q", "norecovery", ",nouuid")  # its twin is mounted at A


if __name__ == "__main__":
    sys.exit(mirror_test.run(__name__, BackupTest))
