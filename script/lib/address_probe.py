"""The overlap probe: from the client, asks a floating address by each server's own MAC all the time, and says for how
long two servers answered at once (bench/address_probe_main.cc). For every test of the lab."""
import json
import os
import signal
import subprocess

from lab_cluster import ADDRESS, BIN, LabFailure

SERVERS = ("server1", "server2")
LAN = 1  # the number of the link in the public LAN


def lan_link(cluster, member):
    return next(link for link in cluster.members[member]["links"] if link["n"] == LAN)


class AddressProbe:
    """Runs from its making until stop(). `cluster`: a LabCluster that is up."""

    def __init__(self, cluster, servers=SERVERS, address=ADDRESS, interval_us=1000):
        own = lan_link(cluster, "client")
        macs = [f"{server}={lan_link(cluster, server)['mac']}" for server in servers]
        # The client's network alone: as a process of the host it is ended by its own pid.
        command = ["setpriv", "--pdeathsig", "KILL", "nsenter", "--target", str(cluster.init_pid("client")), "--net",
                   os.path.join(BIN, "baton-bench-probe"), own["name"], own["address"], address, *macs,
                   "--interval-us", str(interval_us)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)

    def stop(self):
        """Ends it; gives what it saw, with `overlap_ms`."""
        self.process.send_signal(signal.SIGTERM)
        output, errors = self.process.communicate(timeout=10)
        if self.process.returncode != 0:
            raise LabFailure(f"the overlap probe failed: {errors.strip()}")
        report = json.loads(output)
        report["overlap_ms"] = report["overlap_us"] / 1000
        return report

    def abandon(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def resolution_ms(report, begin_us, end_us):
    """The longest time between two questions to one server within that time: an overlap that is shorter is not seen."""
    pauses = [end - begin for begin, end in report["pauses_us"] if end >= begin_us and begin <= end_us]
    return max([2 * report["interval_us"], *pauses]) / 1000


def answered(report, server):
    """How often a server answered for the address."""
    return report["servers"][server]["answers"]
