"""The benchmark's other half: copies, memory and processor time at rest. Definitions are in docs/performance.md."""
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

from bench_exports import Mirror
from bench_process import idle_percent, resident_mib
from bench_tools import MIB, fio, fio_job, program

TIB = 1 << 40
BITMAP_MIB = 32  # of 1 TiB at 4 KiB for each bit


class Copies:
    """On the main mirror, whose stores hold no zeroes."""

    def __init__(self, bench):
        self.bench, self.scale, self.values = bench, bench.scale, bench.values

    @property
    def mirror(self):
        return self.bench.main

    @property
    def target(self):
        return self.mirror.nbd or self.mirror.loop

    def full(self):
        """A plain copy from store to store, then the mirror's own, in turns."""
        self.bench.say("full copies")
        plain, ours = [], []
        for _ in range(self.scale.copies):
            self.mirror.stop_secondary()
            plain.append(program("copy", self.mirror.a.store, self.mirror.b.store)["seconds"])
            self.mirror.forget_secondary()
            self.mirror.start_secondary()
            ours.append(self.mirror.copy_seconds())
        self.values["plain_copy_seconds"] = statistics.median(plain)
        self.values["full_copy_seconds"] = statistics.median(ours)
        self.values["full_copy_share"] = self.values["plain_copy_seconds"] / self.values["full_copy_seconds"]

    def fast(self):
        self.bench.say("fast copies")
        for key, block in (("fast_copy_1pct_seconds", 65536), ("fast_copy_1pct_4k_seconds", 4096)):
            times = []
            for _ in range(self.scale.copies):
                self.mirror.stop_secondary()
                self.dirty(block)
                self.mirror.start_secondary()
                times.append(self.mirror.copy_seconds())
            self.values[key] = statistics.median(times)

    def dirty(self, block):
        """1% of the disk, each block once, anywhere."""
        fio_job(dict(self.target, name="dirty", rw="randwrite", bs=block, iodepth=16, size=self.scale.disk,
                     io_size=self.scale.disk // 100 // block * block, randrepeat=0, end_fsync=1))

    def mixed(self):
        """The 2:1 mix alone and while a full copy runs, whose rate nobody has set."""
        self.bench.say("reads:writes 2:1 during a full copy")
        costs = []
        for _ in range(min(self.scale.copies, 2)):
            before = self.mix()
            self.mirror.stop_secondary()
            self.mirror.forget_secondary()
            with ThreadPoolExecutor(1) as other:
                during = other.submit(self.mix, "1200ms")  # begins before the copy, counts when that runs
                self.mirror.start_secondary()
                during = during.result()
            if self.mirror.a.report.get("link") == "copying":
                costs.append(100 * (1 - during / before))
            self.mirror.copy_seconds()
        if costs:
            self.values["mix_copying_cost_percent"] = statistics.median(costs)
        else:
            self.bench.say("  the copy was over before the mix: no figure")

    def mix(self, ramp="150ms"):
        return fio(self.target, "randrw", 32, self.scale.milliseconds, self.scale.area, rwmixread=67,
                   ramp_time=ramp)["iops"]


class Rest:
    def __init__(self, bench):
        self.bench, self.scale, self.values = bench, bench.scale, bench.values
        self.after_first_load = 0.0

    def resident(self, mirror):
        """The larger daemon's, some seconds after the last request."""
        time.sleep(self.scale.rest_seconds)
        return max(resident_mib(server.process.pid) for server in mirror.cluster.servers)

    def idle(self):
        """After a first load: processor time at rest, and memory to compare the end with."""
        self.bench.say("at rest")
        main = self.bench.main
        fio(main.nbd or main.loop, "randwrite", 32, 1000 * self.scale.load_seconds, self.scale.area)
        self.after_first_load = self.resident(main)
        shares = idle_percent([main.a.process.pid, main.b.process.pid], self.scale.idle_seconds)
        self.values["idle_cpu_percent"] = max(shares)

    def memory(self):
        self.bench.say("memory")
        small = self.resident(self.bench.main)
        if self.after_first_load:
            self.values["rss_growth_mib"] = small - self.after_first_load
        large = self.large()
        self.values["rss_large_mib"] = large
        self.values["rss_mib"] = max(large - BITMAP_MIB, min(large, small))

    def large(self):
        """A mirror of 1 TiB over sparse files. Its bitmap counts as what it has more than a small mirror, at most 32 MiB."""
        mirror = self.bench.open(Mirror("large", TIB))
        for server in mirror.cluster.servers:
            server.start()
        mirror.device = mirror.a.promote()
        try:
            mirror.a.linked(seconds=2 * self.scale.rest_seconds)
        except AssertionError:
            self.bench.say("  the first copy of two sparse stores was not skipped: measured with the primary alone")
            mirror.b.kill()
            mirror.cluster.servers = [mirror.a]
        # Runs of 64 blocks: a sparse file of many single blocks takes a filesystem half a minute to remove.
        fio(mirror.nbd or mirror.loop, "randwrite:64", 32, 1000 * self.scale.load_seconds, TIB)
        resident = self.resident(mirror)
        self.bench.close(mirror)
        return resident
