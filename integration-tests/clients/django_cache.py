"""Django's cache and sessions with django-redis: `django_cache.py PORT`. Prints `fine` when all of it works."""

import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

warnings.simplefilter("error")

import django
from django.conf import settings

location = f"redis://127.0.0.1:{sys.argv[1]}/1"
settings.configure(
    CACHES={
        "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": location, "KEY_PREFIX": "app"},
        "sessions": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": location, "KEY_PREFIX": "session"},
    },
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    SESSION_CACHE_ALIAS="sessions",
    SECRET_KEY="not a secret",
    USE_TZ=True,
)
django.setup()

from django.contrib.sessions.backends.cache import SessionStore
from django.core.cache import cache
from django_redis import get_redis_connection

page = {"title": "hello", "tags": ["a", "b"], "body": "x" * 10_000}
cache.set("page", page, timeout=60)
for _ in range(3):
    assert cache.get("page") == page
assert 0 < cache.ttl("page") <= 60
assert cache.get("none", "default") == "default"
assert cache.add("page", "other") is False and cache.get("page") == page
assert cache.add("once", 1, timeout=None) is True and cache.ttl("once") is None
assert cache.incr("once", 4) == 5 and cache.decr("once") == 4 and cache.get("once") == 4
assert cache.get_or_set("made", lambda: "made", timeout=60) == "made" and cache.get("made") == "made"
assert cache.touch("made", 500) and cache.ttl("made") > 60
assert cache.persist("made") and cache.ttl("made") is None
cache.set_many({f"many:{number}": number for number in range(50)}, timeout=60)
assert cache.get_many([f"many:{number}" for number in range(60)]) == {f"many:{number}": number for number in range(50)}
assert cache.has_key("many:7") and cache.delete("many:7") and not cache.has_key("many:7")
assert set(cache.iter_keys("many:4*")) == {"many:4"} | {f"many:4{number}" for number in range(10)}
assert cache.delete_pattern("many:*") == 49 and cache.keys("many:*") == []
assert cache.delete_many(["made", "once"]) == 2
assert cache.incr_version("page") == 2 and cache.get("page") is None and cache.get("page", version=2) == page

# A value read and written under the cache's lock is exact.
cache.set("guarded", 0)


def work(_):
    for _ in range(5):
        with cache.lock("guard", timeout=20, blocking_timeout=20, sleep=0.005):
            cache.set("guarded", cache.get("guarded") + 1)


with ThreadPoolExecutor(4) as pool:
    list(pool.map(work, range(4)))
assert cache.get("guarded") == 20

session = SessionStore()
session["user"] = 7
session.create()
for _ in range(3):
    assert SessionStore(session.session_key)["user"] == 7
session["user"] = 8
session.save()
assert SessionStore(session.session_key)["user"] == 8
old = session.session_key
session.cycle_key()
assert SessionStore(session.session_key)["user"] == 8 and not session.exists(old)
session.flush()
assert not session.exists(session.session_key or old)

raw = get_redis_connection("default")
with raw.pipeline(transaction=True) as pipe:
    assert pipe.set("raw", "1").incr("raw").execute() == [True, 2]
cache.clear()
assert cache.get("guarded") is None and raw.dbsize() == 0
print("fine")
