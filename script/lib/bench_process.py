"""What a process takes: processor time and memory, from /proc."""
import glob
import time


def processor_seconds(process):
    """Of all its threads, to the nanosecond (the usual ticks are 10 ms)."""
    total = 0
    for path in glob.glob(f"/proc/{process}/task/*/schedstat"):
        with open(path) as file:
            total += int(file.read().split()[0])
    return total / 1e9


def idle_percent(processes, seconds):
    """How much of one processor each has used while nothing was asked of it."""
    before = [processor_seconds(process) for process in processes]
    begun = time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - begun
    return [100 * (processor_seconds(process) - used) / passed for process, used in zip(processes, before)]


def resident_mib(process):
    with open(f"/proc/{process}/status") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0
