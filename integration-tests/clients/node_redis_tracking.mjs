// node-redis with its client-side cache: `node node_redis_tracking.mjs PORT`. Prints `fine` when it answers without
// asking, and never with what somebody else has changed.
import assert from "node:assert/strict";
import { BasicClientSideCache, createClient, createClientPool } from "redis";

const options = { socket: { host: "127.0.0.1", port: Number(process.argv[2]), reconnectStrategy: false }, RESP: 3 };
function fail(error) {
  console.error(error);
  process.exit(1);
}

async function until(what, condition) {
  const limit = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > limit) fail(new Error(`not within 20 s: ${what}`));
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

const cache = new BasicClientSideCache({ ttl: 0, maxEntries: 1000 });
const reader = createClient({ ...options, clientSideCache: cache });
const writer = createClient(options);
for (const client of [reader, writer]) await client.on("error", fail).connect();

// The second read is answered from the client's own memory.
await writer.set("{c}a", "1");
for (let again = 0; again < 5; again++) assert.equal(await reader.get("{c}a"), "1");
assert.deepEqual([cache.stats().missCount, cache.stats().hitCount], [1, 4]);
// Each kind of change by somebody else reaches it.
const changes = [
  [() => writer.set("{c}a", "2"), "2"],
  [() => writer.append("{c}a", "3"), "23"],
  [() => writer.incr("{c}a"), "24"],
  [() => writer.del("{c}a"), null],
  [() => writer.rename("{c}other", "{c}a"), "moved"],
  [() => writer.set("{c}a", "short", { PX: 30 }), "short"],
];
await writer.set("{c}other", "moved");
for (const [change, expected] of changes) {
  await change();
  await until(`the cache shows ${expected}`, async () => (await reader.get("{c}a")) === expected);
}
await until("a key that has expired is gone", async () => (await reader.get("{c}a")) === null);
// Hashes and many keys at once.
await writer.hSet("c:h", { f: "1", g: "2" });
for (let again = 0; again < 3; again++) assert.deepEqual({ ...(await reader.hGetAll("c:h")) }, { f: "1", g: "2" });
await writer.hDel("c:h", "f");
await until("the hash shows it", async () => Object.keys(await reader.hGetAll("c:h")).length === 1);
// Its own writes as well.
await reader.get("c:own");
await reader.set("c:own", "mine");
await until("its own write shows", async () => (await reader.get("c:own")) === "mine");
// A hundred keys, all changed, none left as it was.
const keys = Array.from({ length: 100 }, (_, number) => `c:many:${number}`);
await Promise.all(keys.map((key) => writer.set(key, "old")));
assert.ok((await Promise.all(keys.map((key) => reader.get(key)))).every((value) => value === "old"));
await Promise.all(keys.map((key) => writer.set(key, "new")));
await until("all hundred are new", async () => (await Promise.all(keys.map((key) => reader.get(key)))).every((value) => value === "new"));
// FLUSHALL empties it.
await writer.flushAll();
await until("nothing is left", async () => (await Promise.all(keys.map((key) => reader.get(key)))).every((value) => value === null));

// A pool whose members share one cache.
const pool = createClientPool(options, { minimum: 2, maximum: 4, clientSideCache: { ttl: 0, maxEntries: 100 } });
await pool.on("error", fail).connect();
await writer.set("c:pool", "1");
for (let again = 0; again < 4; again++) assert.equal(await pool.get("c:pool"), "1");
await writer.set("c:pool", "2");
await until("the pool shows it", async () => (await pool.get("c:pool")) === "2");
await Promise.all([reader.close(), writer.close(), pool.close()]);
console.log("fine");
