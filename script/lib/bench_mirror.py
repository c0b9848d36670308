"""The measurements of `script/bench mirror`: which contestants run in turn, and what becomes of their figures.

Definitions are in docs/performance.md. Every method adds to `values`; what cannot be measured stays absent.
"""
import os

from bench_exports import PLACE, LocalLegs, Mirror, Quorum
from bench_tools import GIB, MIB, fill, fio, in_turns, program

SEQUENTIAL = {"block": MIB, "depth": 8}


class Scale:
    """How much and how long."""

    def __init__(self, quick):
        self.disk = GIB if quick else 4 * GIB      # the mirror that is copied
        self.area = GIB // 4 if quick else GIB          # what random I/O goes to
        self.milliseconds = 600 if quick else 1200
        self.rounds = 1 if quick else 5
        self.few_rounds = 1 if quick else 3
        self.copies = 1 if quick else 3
        self.idle_seconds = 5 if quick else 10
        self.rest_seconds = 2 if quick else 6           # after a load, until memory is given back
        self.load_seconds = 1 if quick else 5


class Bench:
    def __init__(self, scale, say, with_peer=False):
        self.scale, self.say, self.values = scale, say, {}
        self.with_peer, self.peers = with_peer, {}
        self.one, self.two = f"{PLACE}/raw1", f"{PLACE}/raw2"
        self.main = self.legs = None
        self.opened = []

    # ---- What is measured ----

    def prepare(self):
        self.say("filling files")
        os.makedirs(PLACE)
        self.main = self.open(Mirror("main", self.scale.disk))
        fill(self.scale.area, self.one, self.two)
        fill(self.scale.disk, self.main.a.store, self.main.b.store)
        self.say("first copy")
        self.main.start()
        if not self.main.nbd:
            self.say("  the daemon has no NBD socket: its figures are left out")
        self.legs = self.open(LocalLegs(self.scale.area, self.one, self.two))

    def open(self, thing):
        self.opened.append(thing)
        return thing

    def close(self, thing):
        self.opened.remove(thing)
        thing.close()

    def close_all(self):
        for thing in self.opened[::-1]:
            thing.close()

    def raw(self, name, *options):
        kind = "floor" if name.startswith("floor") else "files"
        files = (self.one,) if name == "raw" else (self.one, self.two)
        return name, lambda: program(kind, *files, "--milliseconds", self.scale.milliseconds, *options)

    def job(self, name, target, pattern, depth, area=None, **options):
        """A contestant that fio drives; none if there is no such target."""
        area = area or self.scale.area
        return [(name, lambda: fio(target, pattern, depth, self.scale.milliseconds, area, **options))] if target else []

    def set(self, key, results, name, figure, factor=1.0):
        if name in results:
            self.values[key] = results[name][figure] * factor

    def ratio(self, key, above, below):
        if above in self.values and below in self.values and self.values[below]:
            self.values[key] = self.values[above] / self.values[below]

    def depth_1(self):
        peers = self.quorums()
        self.say("4 KiB random writes, depth 1")
        targets = {"nbd": self.main.nbd, "fuse": self.main.loop, "legs": self.legs.nbd, **peers}
        jobs = [job for name, target in targets.items() for job in self.job(name, target, "randwrite", 1)]
        results = in_turns(self.scale.rounds, self.raw("raw"), self.raw("two"), self.raw("floor"),
                           self.raw("floor looking", "--look"), *jobs)
        for key, name in (("raw_write_qd1_us", "raw"), ("two_raw_write_qd1_us", "two"), ("floor_write_qd1_us", "floor"),
                          ("floor_looking_write_qd1_us", "floor looking"),
                          ("nbd_write_qd1_us", "nbd"), ("fuse_write_qd1_us", "fuse"), ("local_legs_write_qd1_us", "legs"),
                          ("peer_write_qd1_us", "local"), ("peer_remote_write_qd1_us", "remote")):
            self.set(key, results, name, "mean_us")
        self.ratio("nbd_write_qd1_ratio", "nbd_write_qd1_us", "floor_write_qd1_us")
        self.ratio("fuse_write_qd1_ratio", "fuse_write_qd1_us", "floor_write_qd1_us")

    def flush(self):
        peers = self.quorums()
        self.say("the same, each followed by a flush")
        targets = {"nbd": self.main.nbd, "fuse": self.main.loop, **peers}
        jobs = [job for name, target in targets.items() for job in self.job(name, target, "randwrite", 1, fsync=1)]
        results = in_turns(self.scale.few_rounds, self.raw("two", "--flush"), self.raw("floor", "--flush"), *jobs)
        self.set("two_raw_write_flush_us", results, "two", "mean_us")
        self.set("floor_write_flush_us", results, "floor", "mean_us")
        for key, name in (("nbd_write_flush_us", "nbd"), ("fuse_write_flush_us", "fuse"),
                          ("peer_write_flush_us", "local"), ("peer_remote_write_flush_us", "remote")):
            self.set(key, results, name, "cycle_us")
        self.ratio("write_flush_ratio", "nbd_write_flush_us", "two_raw_write_flush_us")

    def depth_32(self):
        peers = self.quorums()
        self.say("4 KiB random writes, depth 32")
        targets = {"nbd": self.main.nbd, "fuse": self.main.loop, "legs": self.legs.nbd, **peers}
        jobs = [job for name, target in targets.items() for job in self.job(name, target, "randwrite", 32)]
        results = in_turns(self.scale.rounds, self.raw("raw", "--depth", 32), self.raw("two", "--depth", 32), *jobs)
        for key, name in (("raw_write_qd32_iops", "raw"), ("two_raw_write_qd32_iops", "two"),
                          ("nbd_write_qd32_iops", "nbd"), ("fuse_write_qd32_iops", "fuse"),
                          ("local_legs_write_qd32_iops", "legs"), ("peer_write_qd32_iops", "local"),
                          ("peer_remote_write_qd32_iops", "remote")):
            self.set(key, results, name, "iops")
        self.ratio("nbd_write_qd32_share", "nbd_write_qd32_iops", "two_raw_write_qd32_iops")

    def sequential(self):
        self.say("1 MiB sequential writes")
        results = in_turns(self.scale.few_rounds, self.raw("two", "--depth", 8, "--bytes", MIB, "--sequential"),
                           *self.job("nbd", self.main.nbd, "write", **SEQUENTIAL))
        self.set("two_raw_seq_mib_per_second", results, "two", "mib_per_second")
        self.set("nbd_seq_mib_per_second", results, "nbd", "mib_per_second")
        self.ratio("seq_write_share", "nbd_seq_mib_per_second", "two_raw_seq_mib_per_second")

    def reads(self):
        """Against the same export of a mirror whose peer was never there."""
        if not self.main.nbd:
            return
        self.say("random reads, depth 32")
        alone = self.open(Mirror("alone", self.scale.area, alone=True))
        fill(self.scale.area, alone.a.store)
        alone.start()
        results = in_turns(self.scale.rounds, *self.job("alone", alone.nbd, "randread", 32),
                           *self.job("nbd", self.main.nbd, "randread", 32))
        self.set("nbd_read_qd32_iops", results, "nbd", "iops")
        self.values["read_qd32_share"] = results["nbd"]["iops"] / results["alone"]["iops"]
        self.close(alone)

    def mix(self):
        self.say("reads:writes 2:1, depth 32")
        results = in_turns(self.scale.rounds, *self.job("legs", self.legs.nbd, "randrw", 32, rwmixread=67),
                           *self.job("nbd", self.main.nbd, "randrw", 32, rwmixread=67))
        self.set("local_legs_mix_iops", results, "legs", "iops")
        self.set("nbd_mix_iops", results, "nbd", "iops")
        if "nbd" in results:
            self.values["mix_cost_percent"] = 100 * (1 - results["nbd"]["iops"] / results["legs"]["iops"])

    def wide(self):
        """Over the whole disk, so that the activity log cannot hold all that is written."""
        results = in_turns(self.scale.few_rounds, *self.job("nbd", self.main.nbd, "randwrite", 1, self.scale.disk))
        self.set("nbd_write_qd1_wide_us", results, "nbd", "mean_us")

    def tls(self):
        """The same figures over an encrypted mirror connect; absent while the daemon does not say that it is one."""
        if not self.main.nbd:
            return
        self.say("with TLS")
        mirror = self.open(Mirror("tls", self.scale.area, encrypt=True, **certificates()))
        fill(self.scale.area, mirror.a.store, mirror.b.store)
        try:
            mirror.start(seconds=60)
        except AssertionError as problem:
            self.say(f"  no TLS: {str(problem)[:150]}")
            return self.close(mirror)
        if not any("TLS" in path.get("encryption", "") for path in mirror.a.paths):
            self.say("  the daemon's mirror connect is not encrypted: left out")
            return self.close(mirror)
        jobs = {"one": ("randwrite", 1, {}), "flush": ("randwrite", 1, {"fsync": 1}), "deep": ("randwrite", 32, {}),
                "long": ("write", SEQUENTIAL["depth"], {"block": MIB})}
        found = {}
        for name, (pattern, depth, options) in jobs.items():
            found[name] = in_turns(self.scale.few_rounds, *self.job("nbd", mirror.nbd, pattern, depth, **options))["nbd"]
        self.close(mirror)
        for key, name, figure, base in (("nbd_write_qd1_ratio_tls", "one", "mean_us", "floor_write_qd1_us"),
                                        ("write_flush_ratio_tls", "flush", "cycle_us", "two_raw_write_flush_us"),
                                        ("nbd_write_qd32_share_tls", "deep", "iops", "two_raw_write_qd32_iops"),
                                        ("seq_write_share_tls", "long", "mib_per_second", "two_raw_seq_mib_per_second")):
            if base in self.values:
                self.values[key] = found[name][figure] / self.values[base]

    # ---- QEMU's quorum driver ----

    def quorums(self):
        """Its two variants' sockets, by the names of contestants; none unless asked for."""
        if self.with_peer and not self.peers:
            self.peers = {"local": self.open(Quorum(self.one, self.two, remote=False)),
                          "remote": self.open(Quorum(self.one, self.two, remote=True))}
        return {name: peer.nbd for name, peer in self.peers.items()}

    def compare_quorums(self):
        """Fair to QEMU: against the faster of its variants, figure by figure."""
        for suffix, kind, better in (("qd1_us", "qd1_ratio", min), ("qd32_iops", "qd32_ratio", max),
                                     ("flush_us", "flush_ratio", min)):
            theirs = [self.values.get(f"{peer}_write_{suffix}") for peer in ("peer", "peer_remote")]
            ours = self.values.get(f"nbd_write_{suffix}")
            if ours and all(theirs):
                self.values[f"peer_write_{kind}"] = ours / better(theirs)
                self.values[f"peer_remote_write_{kind}"] = ours / theirs[1]


def certificates():
    """Where each daemon makes its own, from the cluster key."""
    for number in (1, 2):
        os.makedirs(f"{PLACE}/certificates-{number}", mode=0o700, exist_ok=True)
    place = f"{PLACE}/certificates-SELF"
    return {"authority_file": f"{place}/authority.pem", "certificate_file": f"{place}/server.pem",
            "private_key_file": f"{place}/server.key"}
