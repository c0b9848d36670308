#!/usr/bin/env python3
"""The mirror's exports against a real kernel that has the NBD driver: QEMU boots Debian's own 6.1 kernel by software
emulation, with build/bin/baton-nbd-file in an initramfs (machine.py says what that needs).

The checks are in guest_init.sh. The last line is `N passed, N failed`.
"""
import os
import sys
import tempfile

import machine

PROGRAMS = ["/sbin/mkfs.ext4", "/sbin/resize2fs", "/sbin/fsck.ext4", "/sbin/blkdiscard"]
MODULES = ("drivers/block/nbd", "drivers/block/loop", "fs/fuse/fuse")


def build_initramfs(path, kernel, busybox):
    image = machine.Initramfs()
    image.begin(busybox, os.path.join(machine.HERE, "guest_init.sh"), ("mnt",))
    image.program("bin/baton-nbd-file", os.path.join(machine.BIN, "baton-nbd-file"))
    for program in PROGRAMS:
        image.program("bin/" + os.path.basename(program), program)
    image.modules(kernel, MODULES)
    image.save(path)


def main():
    try:
        kernel, busybox = machine.prepare()
    except machine.Skip as reason:
        print(f"skipped: {reason}\n0 passed, 0 failed")
        return 0
    passed, failed, finished = 0, 0, False
    with tempfile.TemporaryDirectory() as directory:
        initramfs = os.path.join(directory, "initramfs.gz")
        build_initramfs(initramfs, kernel, busybox)
        for line in machine.run_guest(kernel, initramfs):
            print(line, flush=True)
            passed += line.startswith("ok ")
            failed += line.startswith("not ok ")
            finished = finished or line == "done"
    if not finished:
        print(f"not ok: the virtual machine did not come to its end within {machine.LIMIT_SECONDS} s")
        failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
