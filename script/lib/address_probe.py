"""The overlap probe: from the client, asks a floating address by each server's own MAC all the time, and says for how
long two servers answered at once (bench/address_probe_main.cc). For every test of the lab."""
import json
import os
import signal
import subprocess

from lab_cluster import ADDRESS, BIN, LabFailure, now_ns

LAN = 1  # the number of the link in the public LAN
# A probe that asked less often has not watched, and its 0 says nothing. It runs at real-time priority; seen on two processors that all
# servers of the lab share: 2 to 40 ms.
COARSEST_MS = 200


def lan_link(cluster, member):
    return next(link for link in cluster.members[member]["links"] if link["n"] == LAN)


class AddressProbe:
    """Runs from its making until stop(). `cluster`: a LabCluster that is up."""

    def __init__(self, cluster, servers=None, address=ADDRESS, interval_us=1000):
        own = lan_link(cluster, "client")
        servers = servers or [name for name, member in cluster.members.items() if member["role"] == "server"]
        macs = [f"{server}={lan_link(cluster, server)['mac']}" for server in servers]
        # The client's network alone: as a process of the host it is ended by its own pid.
        command = ["setpriv", "--pdeathsig", "KILL", "nsenter", "--target", str(cluster.init_pid("client")), "--net",
                   os.path.join(BIN, "baton-bench-probe"), own["name"], own["address"], address, *macs,
                   "--interval-us", str(interval_us)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)

    def stop(self):
        """Ends it; gives what it saw, with `overlap_ms` and `ended_us`."""
        ended_us = now_ns() / 1000
        self.process.send_signal(signal.SIGTERM)
        output, errors = self.process.communicate(timeout=10)
        if self.process.returncode != 0:
            raise LabFailure(f"the overlap probe failed: {errors.strip()}")
        report = json.loads(output)
        report["overlap_ms"] = report["overlap_us"] / 1000
        report["ended_us"] = ended_us
        return report

    def abandon(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def resolution_ms(report, begin_us, end_us):
    """The longest time between two questions to one server within that time: an overlap that is shorter is not seen."""
    pauses = [end - begin for begin, end in report["pauses_us"] if end >= begin_us and begin <= end_us]
    return max([2 * report["interval_us"], *pauses]) / 1000


def coarsest_ms(report):
    """As resolution_ms, of all the time that it watched."""
    return max(2 * report["interval_us"], report["longest_pause_us"]) / 1000


def complaints(report, owner, one_owner=True):
    """What a probe saw that must not be (where `one_owner` is promised), and what makes its word worthless: that it asked too seldom, or
    that the server that has the address now has not answered to the end (a probe of another address sees no two either)."""
    found = []
    if one_owner and report["overlap_ms"] > 0:
        found.append(f"two servers answered for the address during {report['overlap_ms']:.1f} ms")
    coarse = coarsest_ms(report)
    if coarse > COARSEST_MS:
        found.append(f"the probe is blind: it asked nothing for {coarse:.0f} ms (at most {COARSEST_MS} ms)")
    last_us = max([end for _, end in report["servers"][owner]["spans_us"]], default=0)
    if report["ended_us"] - last_us > COARSEST_MS * 1000:
        since = f"since {(report['ended_us'] - last_us) / 1000:.0f} ms" if last_us else "ever"
        found.append(f"the probe is blind: {owner} has the address and has not answered it {since}")
    return found


def answered(report, server):
    """How often a server answered for the address."""
    return report["servers"][server]["answers"]
