// node-redis as an application uses it: `node node_redis.mjs PORT`. Ends with status 0 when every answer is right.
import assert from "node:assert/strict";
import { createClient } from "redis";

async function everyday(port, RESP) {
  const at = `node${RESP}:`;
  const options = { socket: { host: "127.0.0.1", port, reconnectStrategy: false }, RESP, name: "tester" };
  const client = createClient(options);
  client.on("error", (error) => {
    console.error(error);
    process.exit(1);
  });
  await client.connect();
  assert.equal(await client.ping(), "PONG");
  assert.equal(await client.clientGetName(), "tester");
  assert.equal(await client.clientSetName("other"), "OK");
  assert.equal(await client.set(at + "a", "1", { EX: 100 }), "OK");
  for (let again = 0; again < 3; again++) assert.equal(await client.get(at + "a"), "1");
  assert.equal(await client.get(at + "none"), null);
  await client.hSet(at + "h", { f: "1", g: "2" });
  for (let again = 0; again < 3; again++) {
    assert.deepEqual({ ...(await client.hGetAll(at + "h")) }, { f: "1", g: "2" });
  }
  await client.zAdd(at + "z", [{ score: 0.5, value: "half" }, { score: 1, value: "one" }]);
  for (let again = 0; again < 3; again++) {
    assert.equal(await client.zScore(at + "z", "half"), 0.5);
    const pairs = await client.zRangeWithScores(at + "z", 0, -1);
    assert.deepEqual(pairs.map(({ value, score }) => [value, score]), [["half", 0.5], ["one", 1]]);
  }
  // Commands of one turn of the event loop go out as one pipeline.
  const writes = Array.from({ length: 200 }, (_, number) => client.set(`${at}p:${number}`, String(number)));
  const reads = Array.from({ length: 200 }, (_, number) => client.get(`${at}p:${number}`));
  assert.deepEqual(await Promise.all(reads), Array.from({ length: 200 }, (_, number) => String(number)));
  await Promise.all(writes);
  await assert.rejects(client.hGet(at + "a", "f"), /WRONGTYPE/);
  const listener = createClient(options);
  listener.on("error", (error) => {
    console.error(error);
    process.exit(1);
  });
  await listener.connect();
  const heard = new Promise((resolve) => listener.subscribe(at + "news", (message) => resolve(message)));
  const matched = new Promise((resolve) => listener.pSubscribe(at + "n*", (...message) => resolve(message)));
  const shard = new Promise((resolve) => listener.sSubscribe(at + "shard", (message) => resolve(message)));
  // Both go out behind the subscriptions, on the same connection.
  if (RESP === 3) assert.equal(await listener.get(at + "a"), "1");
  assert.equal(await listener.ping(), RESP === 2 ? "pong" : "PONG");
  assert.equal(await client.publish(at + "news", "hello"), 2);
  assert.equal(await client.sPublish(at + "shard", "hello"), 1);
  assert.deepEqual(await Promise.all([heard, matched, shard]), ["hello", ["hello", at + "news"], "hello"]);
  await listener.unsubscribe(at + "news");
  await listener.pUnsubscribe(at + "n*");
  await listener.sUnsubscribe(at + "shard");
  // (It goes on with buffers in RESP2, before Redis itself too.)
  assert.equal(String(await listener.get(at + "a")), "1");
  await listener.close();
  const elsewhere = createClient({ ...options, database: 5 });
  await elsewhere.connect();
  assert.equal(await elsewhere.get(at + "a"), null);
  await Promise.all([client.close(), elsewhere.close()]);
}

for (const RESP of [2, 3]) await everyday(Number(process.argv[2]), RESP);
console.log("fine");
