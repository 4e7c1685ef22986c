"""One application, four stores, one connection: `redis_py_stores.py PORT`. Ends with status 0 when every answer is right.

Sessions live in Redis with replicas, the API cache in Memcached, locks and counters in Redis past any cache, local data in Larder.
What it leaves behind, the test that runs it looks for in each store.
"""

import sys
import time
import warnings

import redis

warnings.simplefilter("error")


def sessions(client):
    for number in range(20):
        key = f"session:{number}"
        assert client.hset(key, mapping={"user": f"u{number}", "cart": "3"}) == 2
        assert client.expire(key, 3600) is True
    # A replica may not have it yet; it soon does.
    for number in range(20):
        until(lambda: client.hgetall(f"session:{number}") == {"user": f"u{number}", "cart": "3"})
    assert 3590 < client.ttl("session:0") <= 3600
    with client.pipeline(transaction=True) as pipe:
        pipe.hincrby("session:0", "cart", 1).hget("session:0", "cart")
        assert pipe.execute() == [4, "4"]


def api_cache(client):
    for number in range(200):
        assert client.set(f"api:item:{number}", f"body {number}", ex=600) is True
    for _ in range(3):
        found = client.mget([f"api:item:{number}" for number in range(200)] + ["api:none"])
        assert found == [f"body {number}" for number in range(200)] + [None]
        assert client.get("api:item:7") == "body 7"
    assert client.set("api:item:7", "other", nx=True) is None
    assert client.set("api:new", "1", nx=True, px=600_000) is True
    assert client.incr("api:hits") == 1 and client.incrby("api:hits", 41) == 42 and client.decr("api:hits") == 41
    assert 590 < client.ttl("api:item:1") <= 600
    assert client.exists("api:item:1", "api:item:2", "api:none") == 2
    assert client.delete("api:item:0", "api:item:1", "api:none") == 2
    assert client.get("api:item:0") is None
    assert client.getset("api:item:2", "newer") == "body 2" and client.get("api:item:2") == "newer"
    try:
        client.hset("api:hash", "field", "value")
    except redis.ResponseError as error:
        assert "memcached upstream does not serve HSET" in str(error), error
    else:
        raise AssertionError("Memcached has no hashes")


def coordination(client):
    lock = client.lock("coord:lock", timeout=30)
    assert lock.acquire(blocking=False) and not client.lock("coord:lock", timeout=30).acquire(blocking=False)
    lock.release()
    assert client.set("coord:leader", "me", nx=True, px=30_000) is True
    assert client.set("coord:leader", "you", nx=True, px=30_000) is None
    assert [client.incr("coord:count") for _ in range(5)] == [1, 2, 3, 4, 5]


def local(client):
    assert client.set("local:flags", "on") is True
    assert client.get("local:flags") == "on"
    assert client.append("local:flags", "!") == 3


def mixed(client):
    assert client.mset({"api:mixed": "1", "coord:mixed": "2", "local:mixed": "3"}) is True
    assert client.mget("local:mixed", "api:mixed", "coord:none", "coord:mixed") == ["3", "1", None, "2"]
    assert client.exists("api:mixed", "coord:mixed", "local:mixed", "session:0") == 4
    with client.pipeline(transaction=False) as pipe:
        for key in ("api:mixed", "coord:mixed", "local:mixed"):
            pipe.set(key, "piped").get(key)
        assert pipe.execute() == [True, "piped"] * 3
    try:
        client.rename("coord:mixed", "local:renamed")
    except redis.ResponseError as error:
        assert "belong to the upstreams" in str(error), error
    else:
        raise AssertionError("a key cannot be moved from one store to another")


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "not in time"


def main():
    port = int(sys.argv[1])
    for protocol in (2, 3):
        client = redis.Redis(host="127.0.0.1", port=port, protocol=protocol, decode_responses=True)
        if protocol == 3:
            client.flushall()
        sessions(client)
        api_cache(client)
        coordination(client)
        local(client)
        mixed(client)
        client.close()
    print("fine")


main()
