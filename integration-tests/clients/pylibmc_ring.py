"""pylibmc (libmemcached) beside Larder on the same memcached nodes: each finds every key where the other put it.

Arguments: Larder's port, a JSON list of pylibmc's behaviors to be set one after the other (ketama_weighted sets the hash, too),
and the nodes, each as host:port or host:port:weight.
"""

import json
import sys

import pylibmc
import redis

KEYS = 2000

larder = redis.Redis(port=int(sys.argv[1]))
first, *others = json.loads(sys.argv[2])
nodes = pylibmc.Client(sys.argv[3:], behaviors=first)
for behaviors in others:
    nodes.behaviors = behaviors

ours = {f"ours:{number}": b"larder %d" % number for number in range(KEYS)}
theirs = {f"theirs:{number}": b"pylibmc %d" % number for number in range(KEYS)}

larder.mset(ours)
found = nodes.get_multi(list(ours))
assert found == ours, f"pylibmc finds {len(found)} of {KEYS} keys of Larder's"

for key, value in theirs.items():
    assert nodes.set(key, value)
values = larder.mget(list(theirs))
found = sum(value == theirs[key] for key, value in zip(theirs, values))
assert found == KEYS, f"Larder finds {found} of {KEYS} keys of pylibmc's"

print("fine")
