#!/usr/bin/env python3
"""The mirror's exports against a real kernel that has the NBD driver: QEMU boots Debian's own 6.1 kernel by software
emulation, with build/bin/baton-nbd-file in an initramfs. Needs qemu-system-x86_64 and Debian's package archive (the
kernel and busybox are fetched once into BATON_VM_CACHE and unpacked there, not installed).

The checks are in guest_init.sh. The last line is `N passed, N failed`.
"""
import glob
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BIN = os.environ.get("BATON_BIN", os.path.join(ROOT, "build", "bin"))
CACHE = os.environ.get("BATON_VM_CACHE", "/var/cache/baton-vm")
LIMIT_SECONDS = int(os.environ.get("BATON_VM_SECONDS", "300"))
PROGRAMS = ["/sbin/mkfs.ext4", "/sbin/resize2fs", "/sbin/fsck.ext4", "/sbin/blkdiscard"]
MODULES = ["drivers/block/nbd.ko", "drivers/block/loop.ko", "fs/fuse/fuse.ko"]


class Skip(Exception):
    pass


def output(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def fetch(package):
    """The package's files, unpacked in the cache."""
    place = os.path.join(CACHE, package)
    if os.path.isdir(place):
        return place
    os.makedirs(CACHE, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        try:
            subprocess.run(["apt-get", "download", package], cwd=directory, check=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, text=True, timeout=300)
        except (subprocess.SubprocessError, OSError) as error:
            raise Skip(f"{package} cannot be fetched from Debian's archive: {getattr(error, 'stderr', error)}")
        archive, = glob.glob(os.path.join(directory, "*.deb"))
        subprocess.run(["dpkg", "-x", archive, os.path.join(directory, "files")], check=True)
        os.rename(os.path.join(directory, "files"), place)
    return place


def kernel_package():
    """The cloud flavour is small and has the modules; its name carries a version."""
    try:
        depends = output("apt-cache", "depends", "linux-image-cloud-amd64")
    except (subprocess.SubprocessError, OSError) as error:
        raise Skip(f"apt-cache does not work: {error}")
    found = re.search(r"Depends: (linux-image-6\.\S+-cloud-amd64)", depends)
    if not found:
        raise Skip("Debian's archive has no linux-image-cloud-amd64; run apt-get update")
    return found.group(1)


class Initramfs:
    """A cpio archive of format newc."""

    def __init__(self):
        self.data = bytearray()
        self.known = set()
        self.inode = 0

    def entry(self, path, mode, content=b""):
        if path in self.known:
            return
        self.known.add(path)
        self.inode += 1
        name = path.encode() + b"\0"
        fields = [self.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0]
        self.data += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        self.pad()
        self.data += content
        self.pad()

    def pad(self):
        self.data += b"\0" * (-len(self.data) % 4)

    def directory(self, path):
        parent = os.path.dirname(path)
        if parent:
            self.directory(parent)
        self.entry(path, 0o040755)

    def file(self, path, source, mode=0o100755):
        self.directory(os.path.dirname(path))
        with open(source, "rb") as file:
            self.entry(path, mode, file.read())

    def program(self, path, source):
        self.file(path, source)
        for library in re.findall(r"(/\S+) \(0x", output("ldd", source)):
            self.file(library.lstrip("/"), library)

    def save(self, path):
        self.entry("TRAILER!!!", 0)
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(self.data)


def build_initramfs(path, kernel, busybox):
    image = Initramfs()
    for directory in ("bin", "sbin", "proc", "sys", "dev", "tmp", "mnt", "run", "etc"):
        image.directory(directory)
    image.entry("dev/console", 0o020600)  # made by devtmpfs; the kernel opens what is there
    image.program("bin/baton-nbd-file", os.path.join(BIN, "baton-nbd-file"))
    for program in PROGRAMS:
        image.program("bin/" + os.path.basename(program), program)
    image.file("bin/busybox", os.path.join(busybox, "bin/busybox"))
    for module in MODULES:
        found = glob.glob(os.path.join(kernel, "lib/modules/*/kernel", module))
        image.file("modules/" + os.path.basename(module), found[0], 0o100644)
    image.file("init", os.path.join(HERE, "guest_init.sh"))
    image.save(path)


def run_guest(kernel, initramfs, parameters="", options=()):
    """The guest's console, line by line. `parameters` of the kernel, `options` of QEMU."""
    image, = glob.glob(os.path.join(kernel, "boot/vmlinuz-*"))
    command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "768",
               "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio", "-kernel", image, "-initrd", initramfs,
               "-append", f"console=ttyS0 quiet panic=-1 tsc=unstable {parameters}", *options]
    with subprocess.Popen(["timeout", "-k", "5", str(LIMIT_SECONDS), *command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as guest:
        for line in guest.stdout:
            yield re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r|\x1bc", "", line.rstrip())


def main():
    try:
        if not shutil.which("qemu-system-x86_64"):
            raise Skip("qemu-system-x86_64 is missing: apt-get install qemu-system-x86")
        kernel, busybox = fetch(kernel_package()), fetch("busybox-static")
    except Skip as reason:
        print(f"skipped: {reason}\n0 passed, 0 failed")
        return 0
    passed, failed, finished = 0, 0, False
    with tempfile.TemporaryDirectory() as directory:
        initramfs = os.path.join(directory, "initramfs.gz")
        build_initramfs(initramfs, kernel, busybox)
        for line in run_guest(kernel, initramfs):
            print(line, flush=True)
            passed += line.startswith("ok ")
            failed += line.startswith("not ok ")
            finished = finished or line == "done"
    if not finished:
        print(f"not ok: the virtual machine did not come to its end within {LIMIT_SECONDS} s")
        failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
