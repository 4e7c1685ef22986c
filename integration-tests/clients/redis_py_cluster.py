"""redis-py's cluster client: `redis_py_cluster.py PORT`. Prints `fine` when it takes the server for a cluster and works."""

import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

from redis.cluster import RedisCluster

warnings.simplefilter("error")

for protocol in (2, 3):
    at = f"cluster{protocol}:"
    client = RedisCluster(host="127.0.0.1", port=int(sys.argv[1]), protocol=protocol, decode_responses=True)
    # It knows the address that it was given and no other.
    [node] = client.get_nodes()
    assert (node.port, node.server_type) == (int(sys.argv[1]), "primary"), node
    assert client.get_node_from_key("anything").port == node.port
    assert client.ping(target_nodes=RedisCluster.ALL_NODES) is True
    names = [f"{at}{number}" for number in range(200)]
    for number, name in enumerate(names):
        assert client.set(name, number) is True
    for _ in range(2):
        assert [client.get(name) for name in names] == [str(number) for number in range(200)]
    # Keys of any slots, as this library splits and joins them itself.
    assert client.mset_nonatomic({f"{at}m:{number}": number for number in range(50)})
    assert client.mget_nonatomic([f"{at}m:{number}" for number in range(50)]) == [str(number) for number in range(50)]
    assert client.exists(*names) == 200
    assert client.delete(*names[:100]) == 100
    assert set(client.scan_iter(at + "*")) == set(names[100:]) | {f"{at}m:{number}" for number in range(50)}
    # Pipelines, a transaction and a script within one slot.
    with client.pipeline() as pipe:
        for number in range(100):
            pipe.set(f"{at}p:{number}", number).get(f"{at}p:{number}")
        assert pipe.execute()[1::2] == [str(number) for number in range(100)]
    with client.pipeline(transaction=True) as pipe:
        pipe.set(at + "{t}a", 1).incr(at + "{t}a").get(at + "{t}a")
        assert pipe.execute()[1:] == [2, "2"]
    add = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert add(keys=[at + "{t}n"], args=[5]) == 5 and client.get(at + "{t}n") == "5"
    # Publish and subscribe.
    listener = client.pubsub()
    listener.subscribe(at + "news")
    assert listener.get_message(timeout=10)["type"] == "subscribe"
    client.publish(at + "news", "one")
    limit = time.monotonic() + 10
    while (message := listener.get_message(timeout=1)) is None:
        assert time.monotonic() < limit
    assert message["data"] == "one", message
    listener.close()
    # Many threads with one client.
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: [client.incr(at + "count") for _ in range(50)], range(8)))
    assert client.get(at + "count") == "400"
    assert client.cluster_keyslot("foo") == 12182 == client.keyslot("foo")
    assert client.cluster_info(target_nodes=client.get_default_node())["cluster_state"] == "ok"
    client.close()
print("fine")
