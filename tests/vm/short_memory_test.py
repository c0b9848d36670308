#!/usr/bin/env python3
"""Memory is short where a mirror is mounted, on a kernel that lets the daemons set PR_SET_IO_FLUSHER: QEMU boots Debian's
own 6.1 kernel by software emulation. One limited group for the daemons and the writers, of version 1 and of version 2,
as tests/system/mirror_memory_test.py has it. machine.py says what that needs.
Under version 1 it fails today: docs/traps.md, trap 16.

The last line is `N passed, N failed`.
"""
import glob
import os
import re
import sys
import tempfile

import machine

PROGRAMS = ("bash", "mount", "umount", "mountpoint", "truncate", "head", "sync", "dd", "cmp", "cat", "rm", "losetup",
            "mkfs.ext4", "ls")
MODULES = ("drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_modern_dev",
           "drivers/virtio/virtio_pci_legacy_dev", "drivers/virtio/virtio_pci", "drivers/block/virtio_blk",
           "drivers/block/loop", "fs/fuse/fuse")
DISK_BYTES = 6 << 30  # a sparse file


def build_initramfs(path, kernel, busybox):
    image = machine.Initramfs()
    image.begin(busybox, os.path.join(machine.HERE, "guest_memory.sh"), ("root", "var/tmp"))
    image.program("baton/build/bin/baton-mirrord", os.path.join(machine.BIN, "baton-mirrord"))
    for name in PROGRAMS:
        source = next(path for path in (f"/bin/{name}", f"/sbin/{name}") if os.path.exists(path))
        image.program(f"bin/{name}", os.path.realpath(source))
    machine.add_python(image)
    sources = [path for where in ("script/lib", "tests/system") for path in glob.glob(f"{machine.ROOT}/{where}/*.py")]
    for source in [*sources, os.path.join(machine.ROOT, "src/os/lease_page.h")]:
        image.file("baton/" + os.path.relpath(source, machine.ROOT), source, 0o100644)
    image.modules(kernel, MODULES)
    image.save(path)


def run(kernel, directory, groups):
    """What the guest's test counted; nothing at all is a failure."""
    disk = os.path.join(directory, f"disk{groups}")
    with open(disk, "wb") as file:
        file.truncate(DISK_BYTES)
    counted = None
    for line in machine.run_guest(kernel, os.path.join(directory, "initramfs.gz"), f"groups={groups}",
                                  ("-drive", f"file={disk},format=raw,if=virtio,cache=unsafe")):
        print(line, flush=True)
        counted = re.fullmatch(r"(\d+) passed, (\d+) failed", line) or counted
    os.remove(disk)
    return (int(counted[1]), int(counted[2])) if counted else (0, 1)


def main():
    try:
        kernel, busybox = machine.prepare(python=True)
    except machine.Skip as reason:
        print(f"skipped: {reason}\n0 passed, 0 failed")
        return 0
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        build_initramfs(os.path.join(directory, "initramfs.gz"), kernel, busybox)
        counts = [run(kernel, directory, groups) for groups in (1, 2)]
    passed, failed = (sum(each) for each in zip(*counts))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
