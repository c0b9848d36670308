#!/usr/bin/env python3
"""The demo: a database that outlives its server. Started by script/demo, which builds first. Needs root."""
import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import time

from lab_cluster import (BIN, GROUP, ROOT, LabCluster, LabFailure, example_configuration, group_of, mirror_of, now_ns,
                         outage_division, primary_copy, resource_kinds, started_on)

LOGS = os.path.join(ROOT, "build", "demo-logs")
OTHER = {"server1": "server2", "server2": "server1"}
DIVISION_NAMES = {"detection_ms": "detection (power cut to the new membership)",
                  "database_commit_ms": "database commit (who runs it now)",
                  "mirror_ms": "mirror", "mount_ms": "mount", "address_ms": "address (beside mirror and mount)",
                  "postgresql_ms": "PostgreSQL, its crash recovery included",
                  "first_commit_ms": "first commit of the client"}


def size_text(count):
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


class Demo:
    """The seven steps, and what they showed."""

    def __init__(self, options):
        self.options = options
        self.started = time.monotonic()
        self.cluster = LabCluster(self.say)
        self.ledger = None
        self.outages = []      # a Gap for each power cut
        self.divisions = []
        self.fast_copies = []  # (sent, read) for each rejoin
        self.failures = []
        self.result = {}

    def say(self, text):
        print(f"[{time.monotonic() - self.started:6.1f} s] {text}", flush=True)

    def detail(self, text):
        if self.options.verbose:
            self.say("         " + text)

    def expect(self, held, text):
        if not held:
            self.failures.append(text)
            self.say("FAILED: " + text)

    def run(self):
        self.bring_up()
        self.form_cluster()
        self.start_client()
        owner = "server1"
        for cut in range(self.options.cuts):
            self.cut_power(owner, cut)
            self.power_on_again(owner)
            owner = OTHER[owner]
        self.move_back(OTHER[owner])
        self.check_everything()

    # The steps

    def bring_up(self):
        self.say("1. bringing up server1, server2, a witness and a client, each in namespaces of its own")
        self.cluster.up(example_configuration())

    def form_cluster(self):
        self.say("2. forming the cluster from examples/database.toml: mirror disk, ext4, address, PostgreSQL 15")
        self.cluster.wait_for(started_on("server1"), 120, f"group {GROUP} to be started on server1")
        self.say("   PostgreSQL runs on server1 at 10.88.0.50; the mirror's first full copy goes on")
        status = self.cluster.wait_normal(300)
        self.detail(f"epoch {status['database']['epoch']}, led by {status['database']['leader']}")

    def start_client(self):
        self.say("3. the client commits numbered rows through 10.88.0.50")
        self.ledger = self.cluster.start_ledger()
        self.cluster.wait_normal(120)  # the first full copy has ended
        self.ledger.wait_rows(2000, 120)

    def cut_power(self, server, cut):
        survivor = OTHER[server]
        again = f" ({cut + 1} of {self.options.cuts})" if self.options.cuts > 1 else ""
        self.say(f"4. cutting {server}'s power{again}: no farewell, and what it had not synced is lost")
        before = self.cluster.power_off(server)
        status = self.cluster.wait_for(started_on(survivor), 60, f"group {GROUP} to be started on {survivor}")
        self.ledger.wait_rows(300, 60, "rows after the power cut")
        gap = self.ledger.longest_gap(before)
        self.outages.append(gap)
        division = outage_division(self.cluster.events(survivor), gap, server, resource_kinds(status))
        self.divisions.append(division)
        self.say(f"   {survivor} has it: the client waited {gap.ms:.0f} ms, and goes on")

    def power_on_again(self, server):
        self.say(f"5. powering {server} on again; it rejoins by itself")
        self.cluster.power_on(server)
        status = self.cluster.wait_normal(120)
        primary = primary_copy(status)
        sent, read = primary["copy_sent_bytes"], primary["copy_read_bytes"]
        self.fast_copies.append((sent, read))
        self.expect(primary["copy"] == "fast", f"{server} was brought up by a {primary['copy']} copy, not a fast one "
                                               f"({primary['copy_reason']})")
        self.say(f"   state normal: {primary['copy']} copy, {size_text(sent)} sent of "
                 f"{size_text(mirror_of(status)['size_bytes'])}, {size_text(read)} read")

    def move_back(self, target):
        self.say(f"6. moving the group to {target} by hand: baton group move {GROUP} {target}")
        before = now_ns()
        self.cluster.baton(target, "group", "move", GROUP, target)
        self.cluster.wait_for(started_on(target), 60, f"group {GROUP} to be started on {target}")
        self.ledger.wait_rows(300, 60, "rows after the move")
        gap = self.ledger.longest_gap(before)
        self.result["switchover_ms"] = round(gap.ms, 1)
        self.say(f"   {target} has it: the client waited {gap.ms:.0f} ms")
        self.cluster.wait_normal(120)

    def check_everything(self):
        self.say("7. ending the client, checking its rows, stopping the group, comparing the copies")
        summary = self.ledger.stop()
        self.detail(f"{summary['rows']} rows, {summary['resolved']} of them found by reading after an unknown outcome")
        rows = self.cluster.check_ledger(self.ledger)
        size = mirror_of(self.cluster.any_status())["size_bytes"]
        self.cluster.baton("server1", "group", "stop", GROUP)
        self.cluster.wait_for(lambda status: group_of(status)["phase"] == "stopped", 60,
                              f"group {GROUP} to be stopped")
        identical, difference = self.cluster.compare_stores(size)
        self.expect(identical, f"the two copies differ: {difference}")
        self.expect(rows["lost"] == 0, f"{rows['lost']} acknowledged rows are lost: {rows['lost_rows']}")
        self.expect(rows["duplicated"] == 0, f"{rows['duplicated']} rows stand there twice: {rows['duplicated_rows']}")
        self.expect(rows["unacknowledged_extra"] == 0, f"{rows['unacknowledged_extra']} rows nobody acknowledged")
        median = sorted(self.outages, key=lambda gap: gap.ms)[len(self.outages) // 2]
        self.result.update({
            "outage_ms": round(statistics.median(gap.ms for gap in self.outages), 1),
            "committed": rows["committed"], "lost": rows["lost"], "duplicated": rows["duplicated"],
            "fast_copy_bytes": max(sent for sent, _ in self.fast_copies),
            "fast_copy_read_bytes": max(read for _, read in self.fast_copies),
            "mirror_bytes": size, "copies_identical": identical,
            "division": self.divisions[self.outages.index(median)],
            "outages_ms": [round(gap.ms, 1) for gap in self.outages]})

    # The report

    def report(self):
        result = self.result
        several = f", median of {len(self.outages)}" if len(self.outages) > 1 else ""
        lines = ["", f"Outage of the power cut{several}: {result['outage_ms']:.0f} ms "
                     "(last acknowledged COMMIT before to first after)"]
        for name, text in DIVISION_NAMES.items():
            value = result["division"].get(name)
            lines.append(f"  {text:<46} {'not known' if value is None else f'{value:8.1f} ms'}")
        lines += [f"Outage of the move by hand: {result['switchover_ms']:.0f} ms",
                  f"Fast copy: {size_text(result['fast_copy_bytes'])} sent, "
                  f"{size_text(result['fast_copy_read_bytes'])} read, of a mirror of {size_text(result['mirror_bytes'])}",
                  f"Rows committed: {result['committed']}, lost: {result['lost']}, duplicated: {result['duplicated']}",
                  f"Both copies equal, byte for byte: {'yes' if result['copies_identical'] else 'NO'}"]
        print("\n".join(lines), flush=True)


def parse_options():
    parser = argparse.ArgumentParser(prog="script/demo", description="A database that outlives its server: a whole "
                                     "practice cluster on this machine, a power cut, a rejoin, a move, a check.")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object in the last line")
    parser.add_argument("--keep", action="store_true", help="leave the lab running afterwards")
    parser.add_argument("--cuts", type=int, default=1, metavar="N", help="cut the power N times, alternating servers")
    parser.add_argument("--verbose", action="store_true", help="say more")
    options = parser.parse_args()
    if options.cuts < 1:
        parser.error("--cuts must be at least 1")
    return options


def stop_asked(*_):
    raise KeyboardInterrupt


def carry_out(demo):
    """Runs the demo; true if everything held."""
    try:
        demo.run()
        demo.report()
        return not demo.failures
    except LabFailure as failure:
        demo.say(f"FAILED: {failure}")
    except KeyboardInterrupt:
        demo.say("interrupted")
    return False


def tidy_up(demo, held):
    """Keeps the logs of a failed run; ends the lab unless it is to be kept."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    shutil.rmtree(LOGS, ignore_errors=True)
    if not held:
        demo.cluster.save_logs(LOGS)
        demo.say(f"the servers' logs, states and events are in {LOGS}")
    if not demo.options.keep:
        demo.cluster.down()
        return
    for ledger in demo.cluster.ledgers:
        ledger.abandon()
    baton = os.path.join(BIN, "baton")
    print(f"\nThe lab is still up. Play with it, for instance:\n"
          f"  {baton} lab exec server1 -- baton group start {GROUP}\n"
          f"  {baton} lab exec server1 -- baton status\n"
          f"  {baton} lab exec client -- psql -h 10.88.0.50 -U postgres -c 'select count(*) from ledger'\n"
          f"  {baton} lab power-off server1; {baton} lab exec server2 -- baton explain {GROUP}\n"
          f"  {baton} lab down", flush=True)


def main():
    options = parse_options()
    if os.geteuid() != 0:
        print("script/demo needs root: it makes namespaces, mounts and a virtual network", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop_asked)
    demo = Demo(options)
    held = False
    try:
        held = carry_out(demo)
    finally:
        tidy_up(demo, held)
    if options.json and demo.result.get("committed") is not None:
        print(json.dumps(demo.result), flush=True)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
