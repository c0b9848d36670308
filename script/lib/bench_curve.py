"""Many groups that fail over at once, and what batond takes with them at rest: a part of `script/bench failover`."""
def measure(say, quick):
    return {}


def table(results):
    return []
