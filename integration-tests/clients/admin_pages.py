"""What the admin address shows, read by strict readers: `python admin_pages.py PORT ADMIN_PORT`.

OpenMetrics by the parser of Prometheus's own client library, JSON against what LARDER says on a connection of the Redis protocol.
"""

import json
import sys
import urllib.request

import redis
from prometheus_client.openmetrics.parser import text_string_to_metric_families as strictly
from prometheus_client.parser import text_string_to_metric_families as loosely

port, admin = int(sys.argv[1]), sys.argv[2]


def get(path, **headers):
    request = urllib.request.Request(f"http://{admin}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.headers, answer.read().decode()


client = redis.Redis(port=port, protocol=3, decode_responses=True)
client.set("k", "v")
for _ in range(200):
    client.get("k")
client.set(b"bin\xff\n", "v")
for _ in range(40):
    client.get(b"bin\xff\n")

# Both formats of the metrics are right, and say the same.
headers, page = get("/metrics", Accept="application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
assert headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8", headers
assert page.endswith("\n# EOF\n")
families = list(strictly(page))
assert len(families) > 40, len(families)
assert all(family.documentation for family in families)
kinds = {family.name: family.type for family in families}
assert kinds["larder_cache_hits"] == "counter", kinds
assert kinds["larder_upstream_latency_seconds"] == "histogram", kinds
assert kinds["larder_stale_age_seconds"] == "histogram", kinds
assert kinds["larder_build"] == "info", kinds
headers, plain = get("/metrics")
assert headers["Content-Type"] == "text/plain; version=0.0.4", headers


def named(sample):
    # (The reader of the older format adds what it misses at the parts of a histogram.)
    return sample.name.removesuffix("_total") if "_seconds_" in sample.name else sample.name


def series(families):
    return {
        (named(sample), tuple(sorted((k, float(v) if k == "le" else v) for k, v in sample.labels.items())))
        for family in families
        for sample in family.samples
    }


assert series(families) == series(loosely(plain)), series(families) ^ series(loosely(plain))

# /state says what LARDER says.
state = json.loads(get("/state")[1])
assert (state["stage"], state["ready"]) == ("serving", True), state["reasons"]
stats = client.execute_command("LARDER STATS")
assert set(stats) == set(state["stats"]), set(stats) ^ set(state["stats"])
for name in ("cache_hits_total", "cache_fills_total", "cache_max_bytes", "commands_forwarded_total"):
    assert stats[name] == state["stats"][name], (name, stats[name], state["stats"][name])
assert state["stats"]["cache_hits_total"] >= 190


def fields(line):
    head, _, why = line.partition(" why=")
    return dict(pair.split("=", 1) for pair in head.split(" ")) | {"why": why}


said = [fields(line) for line in client.execute_command("LARDER LADDER")]
assert len(said) == len(state["ladder"]) == 1
for line, shown in zip(said, state["ladder"]):
    for name in ("upstream", "endpoint", "role", "breaker", "ladder", "rung", "why"):
        assert line[name] == shown[name], (line, shown)
nodes = [fields(line) for line in client.execute_command("LARDER NODES")]
assert [node["address"] for node in nodes] == [node["address"] for node in state["nodes"]]
assert state["upstreams"][0]["name"] == "main" and state["upstreams"][0]["covered"] is True
assert any(event["kind"] == "process" for event in state["events"])
newest = state["events"][-1]["number"]
again = json.loads(get(f"/state?events_after={newest}&history_after=0")[1])
assert again["events"] == []


# The hottest keys are published now and then, and a sample of the history is taken each second.
def until(what, condition):
    import time

    for _ in range(4000):
        state = json.loads(get("/state")[1])
        if condition(state):
            return state
        time.sleep(0.01)
    raise AssertionError(f"not: {what}: {state}")


state = until("hot keys", lambda state: len(state["hot_keys"]) >= 2)
assert [hot["key"] for hot in state["hot_keys"][:2]] == ["k", "bin\\xff\\n"], state["hot_keys"]
state = until("two samples", lambda state: len(state["history"]["number"]) >= 2)
columns = {name: column for name, column in state["history"].items() if name not in ("interval_seconds", "rungs")}
assert {len(column) for column in columns.values()} == {len(state["history"]["rungs"]["main"])}, columns
last = state["history"]["number"][-1]
later = until("a later sample", lambda state: state["history"]["number"][-1] > last)
rest = json.loads(get(f"/state?history_after={last}")[1])["history"]["number"]
assert rest[0] == last + 1, rest
print("fine")
