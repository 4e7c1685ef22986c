"""redis-py with its client-side cache: `redis_py_tracking.py PORT`. Prints `fine` when it answers without asking, and
never with what somebody else has changed.
"""

import sys
import time
import warnings

import redis
from redis.cache import CacheConfig
from redis.connection import CacheProxyConnection

warnings.simplefilter("error")
# It asks for 7.4 only "to maximize compatibility"; everything that it uses is there since 6.0.
CacheProxyConnection.MIN_ALLOWED_VERSION = "7.0.0"


def connect(**options):
    return redis.Redis(host="127.0.0.1", port=int(sys.argv[1]), protocol=3, decode_responses=True, **options)


def until(what, condition):
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, f"not within 20 s: {what}"
        time.sleep(0.002)


reader, writer = connect(cache_config=CacheConfig(max_size=1000)), connect()
cache = reader.get_cache()

# The second read is answered from the client's own memory.
writer.set("p:a", "1")
for _ in range(5):
    assert reader.get("p:a") == "1"
assert cache.size == 1, cache.size
kept = {key.redis_keys for key in cache.collection}
assert kept == {("p:a",)}, kept

# Each kind of change by somebody else reaches it.
writer.set("p:other", "moved")
changes = [
    (lambda: writer.set("p:a", "2"), "2"),
    (lambda: writer.append("p:a", "3"), "23"),
    (lambda: writer.incr("p:a"), "24"),
    (lambda: writer.delete("p:a"), None),
    (lambda: writer.rename("p:other", "p:a"), "moved"),
    (lambda: writer.pipeline(transaction=True).set("p:a", "in exec").execute(), "in exec"),
    (lambda: writer.eval("return redis.call('SET', KEYS[1], 'in script')", 1, "p:a"), "in script"),
    (lambda: writer.set("p:a", "short", px=30), "short"),
]
for change, expected in changes:
    change()
    until(f"the cache shows {expected}", lambda: reader.get("p:a") == expected)
until("a key that has expired is gone", lambda: reader.get("p:a") is None)

# Other kinds of values, and several keys in one read.
writer.hset("p:h", mapping={"f": "1", "g": "2"})
writer.mset({"p:x": "1", "p:y": "2"})
writer.zadd("p:z", {"m": 1})
for _ in range(3):
    assert reader.hgetall("p:h") == {"f": "1", "g": "2"}
    assert reader.mget("p:x", "p:y") == ["1", "2"]
    assert reader.zscore("p:z", "m") == 1.0
writer.hdel("p:h", "f")
writer.set("p:y", "3")
writer.zincrby("p:z", 2, "m")
until("the hash shows it", lambda: reader.hgetall("p:h") == {"g": "2"})
until("the keys show it", lambda: reader.mget("p:x", "p:y") == ["1", "3"])
until("the sorted set shows it", lambda: reader.zscore("p:z", "m") == 3.0)

# A hundred keys, all changed, none left as it was; then none at all.
keys = [f"p:many:{number}" for number in range(100)]
writer.mset(dict.fromkeys(keys, "old"))
assert [reader.get(key) for key in keys] == ["old"] * 100
writer.mset(dict.fromkeys(keys, "new"))
until("all hundred are new", lambda: [reader.get(key) for key in keys] == ["new"] * 100)
writer.flushall()
until("nothing is left", lambda: [reader.get(key) for key in keys] == [None] * 100)

# A connection with a name and a database of its own is tracked too.
elsewhere = connect(db=3, client_name="elsewhere", cache_config=CacheConfig())
other = connect(db=3)
other.set("p:a", "three")
for _ in range(3):
    assert elsewhere.get("p:a") == "three"
other.set("p:a", "four")
until("database 3 shows it", lambda: elsewhere.get("p:a") == "four")
assert reader.get("p:a") is None
for client in (reader, writer, elsewhere, other):
    client.close()
print("fine")
