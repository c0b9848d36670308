"""A virtual machine for tests: QEMU boots Debian's own 6.1 kernel by software emulation, with an initramfs that the test
fills. Needs qemu-system-x86_64 and Debian's package archive (the kernel and busybox are fetched once into BATON_VM_CACHE
and unpacked there, not installed)."""
import glob
import gzip
import os
import re
import shutil
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BIN = os.environ.get("BATON_BIN", os.path.join(ROOT, "build", "bin"))
CACHE = os.environ.get("BATON_VM_CACHE", "/var/cache/baton-vm")
LIMIT_SECONDS = int(os.environ.get("BATON_VM_SECONDS", "300"))
PYTHON = "/usr/bin/python3.11"
LIBRARY = "/usr/lib/python3.11"


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


def prepare(python=False):
    """The unpacked kernel and busybox. Skip: something is missing here."""
    if python and not os.path.exists(PYTHON):
        raise Skip(f"{PYTHON} is missing")
    if not shutil.which("qemu-system-x86_64"):
        raise Skip("qemu-system-x86_64 is missing: apt-get install qemu-system-x86")
    return fetch(kernel_package()), fetch("busybox-static")


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

    def text(self, path, text, mode=0o100644):
        self.directory(os.path.dirname(path))
        self.entry(path, mode, text.encode())

    def modules(self, kernel, names):
        """As modules/NAME.ko; modules/order has the names in the order in which they are loaded."""
        for name in names:
            found, = glob.glob(os.path.join(kernel, "lib/modules/*/kernel", name + ".ko"))
            self.file("modules/" + os.path.basename(found), found, 0o100644)
        self.text("modules/order", "\n".join(map(os.path.basename, names)) + "\n")

    def begin(self, busybox, init, directories):
        """What every guest has; `init` is its process 1."""
        for directory in ("bin", "sbin", "proc", "sys", "dev", "tmp", "run", "etc", *directories):
            self.directory(directory)
        self.entry("dev/console", 0o020600)  # made by devtmpfs; the kernel opens what is there
        self.file("bin/busybox", os.path.join(busybox, "bin/busybox"))
        self.file("init", init)

    def save(self, path):
        self.entry("TRAILER!!!", 0)
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(self.data)


def add_python(image):
    """Debian's Python with its library."""
    image.program("usr/bin/python3", PYTHON)
    for where, directories, names in os.walk(LIBRARY):
        directories[:] = sorted(set(directories) - {"__pycache__", "test", "idlelib", "lib2to3", "tkinter", "ensurepip"})
        for name in names:
            path = os.path.join(where, name)
            if name.endswith(".so") and os.path.isfile(path):
                image.program(path[1:], path)
            elif name.endswith(".py") and os.path.isfile(path):
                image.file(path[1:], path, 0o100644)


def kernel_image(kernel):
    image, = glob.glob(os.path.join(kernel, "boot/vmlinuz-*"))
    return image


def run_guest(kernel, initramfs, parameters="", options=()):
    """The guest's console, line by line. `parameters` of the kernel, `options` of QEMU."""
    command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "768",
               "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio", "-kernel", kernel_image(kernel), "-initrd", initramfs,
               "-append", f"console=ttyS0 quiet panic=-1 tsc=unstable {parameters}", *options]
    with subprocess.Popen(["timeout", "-k", "5", str(LIMIT_SECONDS), *command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as guest:
        for line in guest.stdout:
            yield re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r|\x1bc", "", line.rstrip())
