"""Faults of the lab for the fault matrix: each is made by a call, and gives a call that makes it good again. Links are
cut by the lab, single directions by nftables in the server's own network, programs by signals to their pids."""
import os
import select
import signal
import subprocess

from lab_cluster import LabFailure

ADDRESSES = {"server1": ("10.88.1.11", "10.88.0.11"), "server2": ("10.88.1.12", "10.88.0.12"),
             "witness": ("10.88.1.9", "10.88.0.9")}
LINKS = (0, 1)  # the interconnect, the public LAN: in this order are the addresses
TABLE = "table inet fault_matrix"
END_S = 30


class LabFaults:
    def __init__(self, cluster):
        self.cluster = cluster

    # Links

    def cut(self, server, *options):
        """`options` of `baton lab cut`: --link N or --all, --silent."""
        self.cluster.lab("cut", server, *options)
        return lambda: self.cluster.lab("heal", server)

    def deaf(self, server, *others, links=LINKS):
        """Nothing from `others` gets to the server by these links; what it sends arrives."""
        return self._drop(server, "input", "saddr", others, links)

    def mute(self, server, *others, links=LINKS):
        """Nothing that the server sends by these links gets to `others`; it hears them."""
        return self._drop(server, "output", "daddr", others, links)

    def _drop(self, server, hook, side, others, links):
        addresses = ", ".join(ADDRESSES[other][link] for other in others for link in links)
        self.nft(server, f"{TABLE} {{ chain way {{ type filter hook {hook} priority -10; "
                          f"ip {side} {{ {addresses} }} drop; }}; }}")
        return lambda: self.nft(server, f"delete {TABLE}")

    def nft(self, server, commands):
        done = subprocess.run(["nsenter", "--target", str(self.cluster.init_pid(server)), "--net", "nft", "-f", "-"],
                              input=commands, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10)
        if done.returncode != 0:
            raise LabFailure(f"nft on {server}: {done.stdout.strip()}")

    # Machines and programs

    def pause(self, server):
        self.cluster.lab("pause", server)
        return lambda: self.cluster.lab("resume", server)

    def power_off(self, *servers):
        for server in servers:
            self.cluster.power_off(server)

        def back():
            for server in servers:
                self.cluster.power_on(server)
        return back

    def kill(self, server, name):
        """SIGKILL; returns when it is gone: while it waits for its disk it still has its socket and its database."""
        pidfd = os.pidfd_open(self._pid(server, name))
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            if not select.select([pidfd], [], [], END_S)[0]:
                raise LabFailure(f"{name} on {server} was killed, and is not gone after {END_S} s")
        finally:
            os.close(pidfd)
        return lambda: None

    def stop(self, server, name):
        """SIGSTOP; to make it good: SIGCONT, if it is still there."""
        pid = self._pid(server, name)
        os.kill(pid, signal.SIGSTOP)
        return lambda: self._go_on(server, name, pid)

    def _pid(self, server, name):
        pids = self.cluster.processes(server, name)
        if not pids:
            raise LabFailure(f"no {name} runs on {server}")
        return pids[0]

    def _go_on(self, server, name, pid):
        if pid in self.cluster.processes(server, name):
            os.kill(pid, signal.SIGCONT)

    # Disks

    def disk_full(self, server):
        self.cluster.lab("disk", server, "full", "on")
        return lambda: self.cluster.lab("disk", server, "full", "off")

    def disk_slow(self, server, milliseconds):
        """Each write to it and each sync takes that much longer."""
        self.cluster.lab("disk", server, "slow", str(milliseconds))
        return lambda: self.cluster.lab("disk", server, "slow", "0")

    def disk_stands_still(self, server):
        """The process that is the server's disk is stopped: every request to it waits."""
        backing = os.path.join(self.cluster.members[server]["directory"], "disk")
        pid = self._disk_process(backing)
        os.kill(pid, signal.SIGSTOP)
        return lambda: os.kill(pid, signal.SIGCONT)

    @staticmethod
    def _disk_process(backing):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().decode(errors="replace").split("\0")
            except OSError:
                continue
            if words[0].endswith("/baton-lab-disk") and backing in words:
                return int(pid)
        raise LabFailure(f"no process is the disk {backing}")
