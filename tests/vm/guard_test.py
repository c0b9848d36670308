#!/usr/bin/env python3
"""baton-guard on a kernel with a watchdog and with clocks that can be stepped: QEMU boots Debian's own 6.1 kernel by software
emulation (machine.py says what that needs), with a cluster of one server whose guard feeds softdog. guest_guard.py has the
scenarios; each has a machine of its own, which is reset by its watchdog or says how it went.

The last line is `N passed, N failed`; names of scenarios on the command line choose some.
"""
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

import machine

MARGIN_S = {"lives": 4, "stopped": 4, "killed": 4, "no_lease": 14, "power_off": 4, "reboot": 4}  # the last: more than the lease and the freeze
FEED_S = 0.4  # the watchdog may have been fed that long before the mark: a beat, and the slowness of the emulation
LATE_S = 0.6
RESET = ("stopped", "killed", "no_lease")
ENDS = {"power_off": "reboot: Power down", "reboot": "reboot: Restarting system"}  # what the kernel says then
STAND_STILL_S = 3
PROGRAMS = ("baton", "batond", "baton-guard", "baton-shim")
MODULES = ("drivers/watchdog/watchdog", "drivers/watchdog/softdog", "drivers/net/veth", "drivers/block/loop",
           "lib/libcrc32c", "net/netfilter/nfnetlink", "net/netfilter/nf_tables")
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
LOADED = ("libnftables.so.1", "kronosnet/crypto_openssl.so")  # by dlopen


def build_initramfs(path, kernel, busybox, directory):
    image = machine.Initramfs()
    image.begin(busybox, os.path.join(machine.HERE, "guest_guard.sh"), ("root", "usr/bin", "var"))
    for name in PROGRAMS:
        small = os.path.join(directory, name)
        subprocess.run(["strip", "-o", small, os.path.join(machine.BIN, name)], check=True)
        image.program("bin/" + name, small)
    image.program("usr/sbin/corosync", "/usr/sbin/corosync")
    image.program("bin/ip", os.path.realpath("/bin/ip"))
    for name in LOADED:
        image.program(f"{LIBRARIES[1:]}/{name}", f"{LIBRARIES}/{name}")
    machine.add_python(image)
    image.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    image.text("etc/group", "root:x:0:\n")
    image.text("etc/hosts", "127.0.0.1 localhost\n10.77.1.1 server1\n")
    image.text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
    image.file("bin/power", os.path.join(machine.HERE, "guest_power.sh"))
    image.file("bin/worker", os.path.join(machine.HERE, "guest_worker.sh"))
    image.file("guest_guard.py", os.path.join(machine.HERE, "guest_guard.py"), 0o100644)
    disk = os.path.join(directory, "frozen.ext4")
    subprocess.run(["mkfs.ext4", "-q", disk, "8M"], check=True)
    image.file("frozen.ext4", disk, 0o100644)
    image.modules(kernel, MODULES)
    image.save(path)


def stand_still(monitor):
    """QEMU's monitor stops the machine, whole, and lets it go on."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(monitor)
        connection.sendall(b"stop\n")
        time.sleep(STAND_STILL_S)
        connection.sendall(b"cont\n")
        connection.settimeout(10)
        said = b""
        while b"cont" not in said:
            said += connection.recv(4096)


def kernel_time(line):
    return float(re.search(r"\[ *(\d+\.\d+)\]", line)[1])


class Run:
    """One machine, from its start to its end."""

    def __init__(self, scenario):
        self.scenario, self.margin = scenario, MARGIN_S[scenario]
        self.passed = self.failed = 0
        self.done = False
        self.fed_last = self.fired = None
        self.ended = False

    def check(self, title, good, why):
        print(f"ok {title}" if good else f"not ok {title}: {why}", flush=True)
        self.passed += bool(good)
        self.failed += not good

    def play(self, kernel, initramfs, directory):
        monitor = os.path.join(directory, "monitor")
        for line in machine.run_guest(kernel, initramfs, f"scenario={self.scenario} margin={self.margin}",
                                      ("-monitor", f"unix:{monitor},server=on,wait=off", "-rtc", "clock=host")):
            print(line, flush=True)
            if line == "host: stand still":
                stand_still(monitor)
            self.passed += line.startswith("ok ")
            self.failed += line.startswith("not ok ")
            self.done = self.done or line == "done"
            self.ended = self.ended or (self.scenario in ENDS and ENDS[self.scenario] in line and not self.done)
            if "guest: the watchdog was fed for the last time" in line:
                self.fed_last = kernel_time(line)
            if "softdog: Initiating system reboot" in line:
                self.fired = kernel_time(line)
        self.judge()

    def judge(self):
        if self.scenario in ENDS:
            self.check(f"{self.scenario}: the machine does it", self.ended and self.fired is None, "it did not, or its watchdog did")
            return
        if self.scenario not in RESET:
            self.check(f"{self.scenario}: the machine lives to its end", self.done and self.fired is None,
                       "it was reset, or the time was over")
            return
        reset = self.fed_last and self.fired and not self.done
        self.check(f"{self.scenario}: softdog resets the machine", reset, "no message of softdog")
        if reset:
            after = self.fired - self.fed_last
            self.check(f"{self.scenario}: {after:.2f} s after the fault, the margin being {self.margin} s",
                       self.margin - FEED_S <= after <= self.margin + LATE_S, "too early or too late")


def main():
    try:
        kernel, busybox = machine.prepare(python=True)
    except machine.Skip as reason:
        print(f"not run: {reason}")
        return 77  # script/test knows it for that
    passed = failed = 0
    with tempfile.TemporaryDirectory() as directory:
        initramfs = os.path.join(directory, "initramfs.gz")
        build_initramfs(initramfs, kernel, busybox, directory)
        for scenario in sys.argv[1:] or MARGIN_S:
            begun = time.monotonic()
            run = Run(scenario)
            run.play(kernel, initramfs, directory)
            print(f"# {scenario}: {time.monotonic() - begun:.0f} s", flush=True)
            passed, failed = passed + run.passed, failed + run.failed
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
