"""The benchmark's figures: key, what it says, unit and limit; and the table of them for people."""

AT_MOST, AT_LEAST = "at most", "at least"


class Figure:
    def __init__(self, key, text, unit="", bound=None, limit=None):
        self.key, self.text, self.unit, self.bound, self.limit = key, text, unit, bound, limit

    def verdict(self, value, limit):
        if value is None or limit is None:
            return ""
        return "pass" if (value <= limit if self.bound == AT_MOST else value >= limit) else "MISS"


GROUPS = (
    ("Baselines of this machine, in this run", (
        Figure("raw_write_qd1_us", "one raw file, 4 KiB random write, depth 1", "us"),
        Figure("two_raw_write_qd1_us", "two raw files at once (b)", "us"),
        Figure("floor_write_qd1_us", "floor: local write beside TCP trip + peer's write", "us"),
        Figure("floor_looking_write_qd1_us", "the same, looking instead of sleeping", "us"),
        Figure("floor_write_flush_us", "floor, each write followed by fdatasync", "us"),
        Figure("two_raw_write_flush_us", "(b), each write followed by fdatasync", "us"),
        Figure("raw_write_qd32_iops", "one raw file, depth 32", "IOPS"),
        Figure("two_raw_write_qd32_iops", "(b), depth 32", "IOPS"),
        Figure("two_raw_seq_mib_per_second", "(b), 1 MiB sequential, depth 8", "MiB/s"),
        Figure("plain_copy_seconds", "plain direct-I/O copy over TCP", "s"),
    )),
    ("The mirror against them", (
        Figure("nbd_write_qd1_ratio", "NBD, 4 KiB random write, depth 1, over the floor", "x", AT_MOST, 1.3),
        Figure("fuse_write_qd1_ratio", "FUSE + loop, the same", "x", AT_MOST, 1.8),
        Figure("write_flush_ratio", "NBD, write and flush, over (b) with fdatasync", "x", AT_MOST, 1.6),
        Figure("nbd_write_qd32_share", "NBD, depth 32, of (b)", "", AT_LEAST, 0.70),
        Figure("seq_write_share", "NBD, 1 MiB sequential writes, of (b)", "", AT_LEAST, 0.80),
        Figure("read_qd32_share", "NBD, random reads, depth 32, of the same alone", "", AT_LEAST, 0.90),
        Figure("mix_cost_percent", "reads:writes 2:1, depth 32: cost over a local leg", "%", AT_MOST, 10),
        Figure("mix_copying_cost_percent", "the same mirror while a full copy runs: cost", "%", AT_MOST, 15),
    )),
    ("Copies", (
        Figure("full_copy_seconds", "full copy", "s"),
        Figure("full_copy_share", "full copy's speed, of the plain copy's", "", AT_LEAST, 0.90),
        Figure("fast_copy_1pct_seconds", "fast copy, 1% dirty in random 64 KiB pieces", "s", AT_MOST, "fast_copy_limit"),
        Figure("fast_copy_1pct_4k_seconds", "fast copy, 1% dirty in random 4 KiB blocks", "s"),
    )),
    ("Memory and rest", (
        Figure("rss_mib", "resident, mirror of 1 TiB, besides its bitmap", "MiB", AT_MOST, 18 * 1e6 / (1 << 20)),
        Figure("rss_large_mib", "resident, mirror of 1 TiB, with its bitmap", "MiB"),
        Figure("rss_growth_mib", "more resident at the end than after first load", "MiB", AT_MOST, 2),
        Figure("idle_cpu_percent", "processor of a mirror daemon at rest (the busier)", "%", AT_MOST, 0.1),
    )),
    ("In themselves", (
        Figure("nbd_write_qd1_us", "NBD, 4 KiB random write, depth 1", "us"),
        Figure("nbd_write_qd1_wide_us", "the same, over the whole mirror disk", "us"),
        Figure("fuse_write_qd1_us", "FUSE + loop, depth 1", "us"),
        Figure("nbd_write_flush_us", "NBD, write and flush", "us"),
        Figure("fuse_write_flush_us", "FUSE + loop, write and flush", "us"),
        Figure("nbd_write_qd32_iops", "NBD, depth 32", "IOPS"),
        Figure("fuse_write_qd32_iops", "FUSE + loop, depth 32", "IOPS"),
        Figure("nbd_seq_mib_per_second", "NBD, 1 MiB sequential writes, depth 8", "MiB/s"),
        Figure("nbd_read_qd32_iops", "NBD, random reads, depth 32, peer connected", "IOPS"),
        Figure("local_legs_mix_iops", "2:1 mix, two local legs", "IOPS"),
        Figure("nbd_mix_iops", "2:1 mix, mirror", "IOPS"),
        Figure("local_legs_write_qd1_us", "NBD over two local legs, depth 1", "us"),
        Figure("local_legs_write_qd32_iops", "NBD over two local legs, depth 32", "IOPS"),
    )),
    ("With TLS", (
        Figure("nbd_write_qd1_ratio_tls", "NBD, depth 1, over the (plain) floor", "x"),
        Figure("write_flush_ratio_tls", "NBD, write and flush, over (b) with fdatasync", "x"),
        Figure("nbd_write_qd32_share_tls", "NBD, depth 32, of (b)"),
        Figure("seq_write_share_tls", "NBD, 1 MiB sequential writes, of (b)"),
    )),
    ("Beside QEMU's quorum driver, the faster of its two variants", (
        Figure("peer_write_qd1_ratio", "latency, depth 1, over QEMU's (less is better)", "x"),
        Figure("peer_write_qd32_ratio", "IOPS, depth 32, over QEMU's (more is better)", "x"),
        Figure("peer_write_flush_ratio", "write and flush, over QEMU's (less is better)", "x"),
        Figure("peer_remote_write_qd1_ratio", "latency, over its variant of two processes", "x"),
        Figure("peer_remote_write_qd32_ratio", "IOPS, over its variant of two processes", "x"),
        Figure("peer_write_qd1_us", "QEMU, both children local, depth 1", "us"),
        Figure("peer_remote_write_qd1_us", "QEMU, second child in another process, depth 1", "us"),
        Figure("peer_write_qd32_iops", "QEMU, both children local, depth 32", "IOPS"),
        Figure("peer_remote_write_qd32_iops", "QEMU, second child in another process, depth 32", "IOPS"),
    )),
)

KEYS = [figure.key for _, figures in GROUPS for figure in figures]


def rounded(value):
    if value is None:
        return None
    return round(value, 1 if abs(value) >= 100 else 2 if abs(value) >= 10 else 4)


def limit_of(figure, values):
    if figure.limit != "fast_copy_limit":
        return figure.limit
    full = values.get("full_copy_seconds")
    return None if full is None else 0.03 * full + 0.1


def row(figure, values):
    value, limit = values.get(figure.key), limit_of(figure, values)
    shown = "-" if value is None else f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"
    bound = "" if limit is None else f"{'<=' if figure.bound == AT_MOST else '>='} {limit:.3g}"
    return f"{figure.text:<50.50} {shown:>7} {figure.unit:<5} {bound:<8} {figure.verdict(value, limit)}".rstrip()


def table(values):
    lines = []
    for title, figures in GROUPS:
        if all(values.get(figure.key) is None for figure in figures):
            continue
        lines += ["", title] + ["  " + row(figure, values) for figure in figures]
    return "\n".join(lines)


def missed(values):
    return [figure.key for _, figures in GROUPS for figure in figures
            if figure.verdict(values.get(figure.key), limit_of(figure, values)) == "MISS"]
