"""redis-py as an application uses it: `redis_py.py PORT`. Ends with status 0 when every answer is right."""

import sys
import warnings

import redis

warnings.simplefilter("error")


def everyday(port, protocol):
    client = redis.Redis(host="127.0.0.1", port=port, protocol=protocol, client_name="tester", decode_responses=True)
    prefix = f"py{protocol}:"
    assert client.ping() is True
    assert client.client_getname() == "tester"
    assert client.client_setname("other") is True
    assert client.client_getname() == "other"
    assert isinstance(client.client_id(), int)
    assert client.info()["redis_version"][0].isdigit()

    assert client.set(prefix + "a", "1", ex=100) is True
    for _ in range(3):
        assert client.get(prefix + "a") == "1"
    assert 0 < client.ttl(prefix + "a") <= 100
    assert client.get(prefix + "none") is None
    assert client.incr(prefix + "n") == 1
    assert client.mset({prefix + "x": "1", prefix + "y": "2"}) is True
    assert client.mget(prefix + "x", prefix + "none", prefix + "y") == ["1", None, "2"]
    assert client.exists(prefix + "x", prefix + "y", prefix + "none") == 2
    assert client.delete(prefix + "x") == 1
    assert client.get(prefix + "x") is None

    assert client.hset(prefix + "h", mapping={"f": "1", "g": "2"}) == 2
    for _ in range(3):
        assert client.hgetall(prefix + "h") == {"f": "1", "g": "2"}
        assert client.hmget(prefix + "h", "g", "none") == ["2", None]
    assert client.zadd(prefix + "z", {"one": 1, "half": 0.5}) == 2
    for _ in range(3):
        pairs = client.zrange(prefix + "z", 0, -1, withscores=True)
        assert [tuple(pair) for pair in pairs] == [("half", 0.5), ("one", 1.0)], pairs
        assert client.zscore(prefix + "z", "one") == 1.0
    client.sadd(prefix + "s", "m")
    assert set(client.smembers(prefix + "s")) == {"m"}
    client.rpush(prefix + "l", "a", "b")
    assert client.lrange(prefix + "l", 0, -1) == ["a", "b"]
    assert sorted(client.scan_iter(prefix + "[xy]")) == [prefix + "y"]

    pipeline = client.pipeline(transaction=False)
    for number in range(500):
        pipeline.set(f"{prefix}p:{number}", number)
        pipeline.get(f"{prefix}p:{number}")
    answers = pipeline.execute()
    assert answers[1::2] == [str(number) for number in range(500)]

    try:
        client.hget(prefix + "a", "f")
        raise AssertionError("a string was read as a hash")
    except redis.ResponseError as error:
        assert "WRONGTYPE" in str(error)
    script = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert script(keys=[prefix + "n"], args=[5]) == 6
    assert client.get(prefix + "n") == "6"

    listener = client.pubsub()
    listener.subscribe(prefix + "news")
    listener.psubscribe(prefix + "*")
    heard = [listener.get_message(timeout=5) for _ in range(2)]
    assert [message["type"] for message in heard] == ["subscribe", "psubscribe"], heard
    assert [message["data"] for message in heard] == [1, 2], heard
    assert client.publish(prefix + "news", "hello") == 2
    heard = [listener.get_message(timeout=5) for _ in range(2)]
    assert [(message["type"], message["data"]) for message in heard] == [("message", "hello"), ("pmessage", "hello")]
    assert client.pubsub_numsub(prefix + "news") == [(prefix + "news", 1)]
    listener.unsubscribe()
    assert listener.get_message(timeout=5)["type"] == "unsubscribe"
    listener.close()

    binary = redis.Redis(host="127.0.0.1", port=port, protocol=protocol)
    value = bytes(range(256)) * 400
    assert binary.set(value[:300], value) is True
    assert binary.get(value[:300]) == value
    elsewhere = redis.Redis(host="127.0.0.1", port=port, db=5, protocol=protocol, decode_responses=True)
    assert elsewhere.get(prefix + "a") is None


for protocol in (2, 3):
    everyday(int(sys.argv[1]), protocol)
print("fine")
