"""Where the time of an outage went, by the servers' events: every moment of it belongs to exactly one part."""

# What runs beside something else counts only where nothing else runs: the first of these that is under way has the time.
ORDER = ("mirror", "filesystem", "service", "address")
NAMES = {"mirror": "mirror", "filesystem": "mount", "service": "service", "address": "address"}


def steps_in(events, kinds, begin, end):
    """(name, rank, begin, end) of each step, in microseconds."""
    found = []
    for event in events:
        if event["kind"] != "step" or event["resource"] not in kinds:
            continue
        step_end, kind = event["monotonic_us"], kinds[event["resource"]]
        step_begin = step_end - event["took_us"]
        if step_end > begin and step_begin < end:
            verb = "" if event["action"] == "start" else event["action"] + " "
            found.append((verb + NAMES[kind], ORDER.index(kind), step_begin, step_end))
    return found


def noticed_at(events, begin, end):
    """The first event that tells of the fault (or of the wish), by whoever noticed it."""
    moments = [event["monotonic_us"] for event in events if begin - 5000 <= event["monotonic_us"] <= end and (
        (event["kind"] == "membership" and " lost" in event["text"]) or event["kind"] in ("problem", "transition"))]
    return min(moments, default=None)


def divide(events, kinds, begin_us, end_us, notice=None):
    """Milliseconds by part; their sum is the outage. `kinds`: resource -> kind."""
    events = sorted(events, key=lambda event: event["monotonic_us"])
    steps = steps_in(events, kinds, begin_us, end_us)
    noticed = notice if notice is not None else noticed_at(events, begin_us, end_us)
    first_step = min((step[2] for step in steps), default=end_us)
    noticed = min(noticed if noticed is not None else first_step, first_step)
    last_end = max((step[3] for step in steps), default=noticed)
    edges = sorted({begin_us, end_us, *[min(max(moment, begin_us), end_us) for moment in (noticed, last_end)],
                    *[min(max(moment, begin_us), end_us) for step in steps for moment in step[2:]]})
    parts = {}
    for left, right in zip(edges, edges[1:]):
        middle = (left + right) / 2
        running = [step for step in steps if step[2] <= middle < step[3]]
        if running:
            name = min(running, key=lambda step: step[1])[0]
        elif middle < noticed:
            name = "detection"
        else:
            name = "first answer" if middle >= last_end else "lease and commits"
        parts[name] = parts.get(name, 0) + (right - left) / 1000
    return parts


def divide_stall(events, begin_us, end_us):
    """Milliseconds by part of a request that waits through the loss of another server; without such a loss in it, it is one part."""
    noticed = noticed_at(events, begin_us, end_us)
    if noticed is None:
        return {"request": (end_us - begin_us) / 1000}
    noticed = max(noticed, begin_us)
    return {"detection": (noticed - begin_us) / 1000, "epoch and in-sync set": (end_us - noticed) / 1000}
