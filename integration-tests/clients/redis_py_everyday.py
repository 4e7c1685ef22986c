"""What applications do with redis-py beyond single commands: `redis_py_everyday.py PORT`. Prints `fine` when all of it works."""

import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import redis
from redis.lock import LockError

warnings.simplefilter("error")
PORT = int(sys.argv[1])


def connect(protocol, **options):
    return redis.Redis(host="127.0.0.1", port=PORT, protocol=protocol, decode_responses=True, **options)


def until(what, condition):
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, f"not within 20 s: {what}"
        time.sleep(0.005)


def transactions(client, at):
    with client.pipeline(transaction=True) as pipe:
        pipe.set(at + "a", 1).incr(at + "a").get(at + "a").hset(at + "h", "f", "v").hgetall(at + "h")
        assert pipe.execute() == [True, 2, "2", 1, {"f": "v"}]
    # One command that fails does not undo the others, and a queue that cannot be is not carried out at all.
    with client.pipeline() as pipe:
        pipe.set(at + "b", "text").incr(at + "b").set(at + "c", "after")
        answers = pipe.execute(raise_on_error=False)
    assert answers[0] is True and isinstance(answers[1], redis.ResponseError) and answers[2] is True
    with client.pipeline() as pipe:
        pipe.set(at + "d", 1).execute_command("GET")
        try:
            pipe.execute()
            raise AssertionError("a transaction with a command of no arguments was carried out")
        except redis.ResponseError as error:
            assert "wrong number of arguments" in str(error) or "EXECABORT" in str(error), error
    assert client.get(at + "d") is None
    # What is watched and then written by somebody else ends the transaction.
    with client.pipeline() as pipe:
        pipe.watch(at + "a")
        assert pipe.get(at + "a") == "2"
        client.set(at + "a", "other")
        pipe.multi()
        pipe.set(at + "a", "lost")
        try:
            pipe.execute()
            raise AssertionError("WATCH did not see the write")
        except redis.WatchError:
            pass
    assert client.get(at + "a") == "other"
    # Reads inside a transaction see its own writes, although the cache knew better a moment ago.
    for _ in range(3):
        assert client.get(at + "c") == "after"
    with client.pipeline() as pipe:
        assert pipe.get(at + "c").set(at + "c", "new").get(at + "c").execute() == ["after", True, "new"]
    assert client.get(at + "c") == "new"


def optimistic_counter(client, at):
    """Eight threads, each with retries of its own; nothing may be lost."""
    key = at + "counter"

    def step(pipe):
        value = int(pipe.get(key) or 0)
        pipe.multi()
        pipe.set(key, value + 1)

    def work(_):
        for _ in range(25):
            client.transaction(step, key)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert client.get(key) == "200", client.get(key)


def scripts(client, at):
    add = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert add(keys=[at + "n"], args=[5]) == 5
    assert client.get(at + "n") == "5"
    # The server has forgotten it: EVALSHA says NOSCRIPT, redis-py loads it again.
    assert client.script_flush() is True
    assert client.script_exists(add.sha) == [False]
    try:
        client.evalsha(add.sha, 1, at + "n", 1)
        raise AssertionError("a script that is not there ran")
    except redis.exceptions.NoScriptError:
        pass
    assert add(keys=[at + "n"], args=[2]) == 7
    assert client.script_exists(add.sha) == [True]
    with client.pipeline() as pipe:
        add(keys=[at + "n"], args=[3], client=pipe)
        pipe.get(at + "n")
        assert pipe.execute() == [10, "10"]
    assert client.get(at + "n") == "10"
    try:
        client.eval("return redis.error_reply('MINE is an error')", 0)
        raise AssertionError("an error reply is an error")
    except redis.ResponseError as error:
        assert "MINE is an error" in str(error), error


def publish_and_subscribe(client, at):
    got = []
    listener = client.pubsub()
    listener.subscribe(**{at + "news": lambda message: got.append(("news", message["data"]))})
    listener.psubscribe(**{at + "sport.*": lambda message: got.append((message["channel"], message["data"]))})
    confirmed = []
    while len(confirmed) < 2:
        message = listener.get_message(timeout=10)
        assert message is not None, confirmed
        confirmed.append(message["type"])
    assert confirmed == ["subscribe", "psubscribe"], confirmed
    thread = listener.run_in_thread(sleep_time=0.01, daemon=True)
    assert client.publish(at + "news", "one") == 1
    assert client.publish(at + "sport.chess", "two") == 1
    assert client.publish(at + "nobody", "three") == 0
    assert client.pubsub_numsub(at + "news") == [(at + "news", 1)]
    until("both are heard", lambda: len(got) == 2)
    assert set(got) == {("news", "one"), (at + "sport.chess", "two")}, got
    thread.stop()
    thread.join()

    # Five subscribers of one channel each get everything, in order.
    subscribers = []
    for _ in range(5):
        subscriber = client.pubsub()
        subscriber.subscribe(at + "all")
        assert subscriber.get_message(timeout=10)["type"] == "subscribe"
        subscribers.append(subscriber)
    for number in range(50):
        # A proxy may count as one receiver, whoever stands behind it.
        assert client.publish(at + "all", number) in (1, 5)
    for subscriber in subscribers:
        heard = [subscriber.get_message(timeout=10)["data"] for _ in range(50)]
        assert heard == [str(number) for number in range(50)], heard
        subscriber.unsubscribe(at + "all")
        assert subscriber.get_message(timeout=10)["type"] == "unsubscribe"
        subscriber.close()
    until("nobody is subscribed", lambda: client.publish(at + "all", "nobody") == 0)


def streams(client, at):
    stream, group = at + "stream", "workers"
    assert client.xgroup_create(stream, group, id="$", mkstream=True) is True

    # XREADGROUP BLOCK waits for what comes later.
    def consume(name):
        done = []
        while True:
            answer = client.xreadgroup(group, name, {stream: ">"}, count=5, block=10_000)
            entries = flat(answer)
            for identifier, fields in entries:
                if fields["n"] == "end":
                    client.xack(stream, group, identifier)
                    return done
                done.append(int(fields["n"]))
                assert client.xack(stream, group, identifier) == 1

    with ThreadPoolExecutor(3) as pool:
        consumers = [pool.submit(consume, f"c{number}") for number in range(3)]
        for number in range(60):
            client.xadd(stream, {"n": number})
        pending = 3
        while pending:
            client.xadd(stream, {"n": "end"})
            until("one more has ended", lambda: sum(consumer.done() for consumer in consumers) == 4 - pending)
            pending -= 1
        done = [number for consumer in consumers for number in consumer.result(timeout=20)]
    assert sorted(done) == list(range(60)), done
    assert client.xpending(stream, group)["pending"] == 0

    # One consumer takes entries and dies; another claims them.
    client.xadd(stream, {"n": "orphan"})
    taken = flat(client.xreadgroup(group, "lost", {stream: ">"}, count=1))
    assert [fields["n"] for _, fields in taken] == ["orphan"]
    assert client.xpending(stream, group)["pending"] == 1
    claimed = client.xautoclaim(stream, group, "heir", min_idle_time=0)[1]
    assert [fields["n"] for _, fields in claimed] == ["orphan"], claimed
    assert client.xack(stream, group, claimed[0][0]) == 1
    assert flat(client.xreadgroup(group, "heir", {stream: ">"}, count=1, block=20)) == []
    assert client.xlen(stream) == 64
    assert client.xinfo_groups(stream)[0]["pending"] == 0
    assert client.xtrim(stream, maxlen=10, approximate=False) == 54


def flat(answer):
    """The entries of a reply about one stream, in whichever shape the protocol gives it."""
    if not answer:
        return []
    [entries] = answer.values() if isinstance(answer, dict) else [part[1] for part in answer]
    if entries and isinstance(entries[0], list):
        [entries] = entries
    return entries


def locks(client, at):
    """A value read and written under a lock by six threads is exact."""
    key = at + "guarded"
    client.set(key, 0)

    def work(_):
        for _ in range(5):
            with client.lock(at + "lock", timeout=20, blocking_timeout=20, sleep=0.005):
                client.set(key, int(client.get(key)) + 1)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert client.get(key) == "30", client.get(key)
    mine = client.lock(at + "lock", timeout=20)
    assert mine.acquire(blocking=False)
    assert not client.lock(at + "lock").acquire(blocking=False)
    assert mine.extend(10) and mine.owned()
    mine.release()
    try:
        mine.release()
        raise AssertionError("a lock was given back twice")
    except LockError:
        pass


def queues(client, at):
    """Everything that blocks, first with an answer there, then with one that comes, then without."""
    assert client.blpop([at + "none"], timeout=0.05) is None
    client.rpush(at + "q", "a", "b", "c")
    assert tuple(client.blpop([at + "empty", at + "q"], timeout=5)) == (at + "q", "a")
    assert tuple(client.brpop([at + "q"], timeout=5)) == (at + "q", "c")
    assert client.blmove(at + "q", at + "done", 5, "LEFT", "RIGHT") == "b"
    assert client.lrange(at + "done", 0, -1) == ["b"]
    client.zadd(at + "z", {"low": 1, "high": 2})
    assert list(client.bzpopmin([at + "z"], timeout=5)) == [at + "z", "low", 1.0]
    assert list(client.bzpopmax([at + "z"], timeout=5)) == [at + "z", "high", 2.0]

    with ThreadPoolExecutor(10) as pool:
        waiting = [pool.submit(client.blpop, [at + "jobs"], 20) for _ in range(8)]
        moving = pool.submit(client.blmove, at + "from", at + "to", 20, "LEFT", "RIGHT")
        popping = pool.submit(client.bzpopmin, [at + "later"], 20)
        until("ten are blocked", lambda: blocked(client) == 10)
        # Nobody who waits holds up the others.
        assert client.set(at + "a", "1") and client.get(at + "a") == "1"
        for number in range(8):
            client.rpush(at + "jobs", number)
        client.rpush(at + "from", "x")
        client.zadd(at + "later", {"m": 3})
        assert sorted(int(job.result(timeout=20)[1]) for job in waiting) == list(range(8))
        assert moving.result(timeout=20) == "x"
        assert list(popping.result(timeout=20)) == [at + "later", "m", 3.0]
    assert client.lrange(at + "to", 0, -1) == ["x"]
    assert client.llen(at + "jobs") == 0


def blocked(client):
    return int(client.info("clients")["blocked_clients"])


def scans(client, at):
    names = {f"scan:{at[1:-2]}:{number}" for number in range(300)}
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.set(name, "1")
        assert pipe.execute() == [True] * 300
    assert set(client.scan_iter(f"scan:{at[1:-2]}:*", count=20)) == names
    client.hset(at + "wide", mapping={f"f{number}": number for number in range(600)})
    assert len(dict(client.hscan_iter(at + "wide", count=50))) == 600
    client.sadd(at + "members", *range(600))
    assert {int(member) for member in client.sscan_iter(at + "members", count=50)} == set(range(600))
    client.zadd(at + "ranks", {str(number): number for number in range(600)})
    assert dict(client.zscan_iter(at + "ranks", count=50)) == {str(number): float(number) for number in range(600)}


for protocol in (2, 3):
    # Keys that belong together have the same hash tag, as an application on a cluster gives them.
    connection, prefix = connect(protocol), f"everyday{protocol}:"
    for part in (transactions, optimistic_counter, scripts, publish_and_subscribe, streams, locks, queues, scans):
        part(connection, f"{{{prefix}{part.__name__}}}:")
    connection.close()
print("fine")
