// ioredis's cluster client: `node ioredis_cluster.mjs PORT`. Prints `fine` when it takes the server for a cluster and works.
import assert from "node:assert/strict";
import { once } from "node:events";
import { Cluster } from "ioredis";

const port = Number(process.argv[2]);
function fail(error) {
  console.error(error);
  process.exit(1);
}
function connect() {
  const cluster = new Cluster([{ host: "127.0.0.1", port }], { redisOptions: { maxRetriesPerRequest: 1 } });
  return cluster.on("error", fail).on("node error", fail);
}

const cluster = connect();
assert.equal(await cluster.ping(), "PONG");
// It knows the address that it was given and no other.
assert.deepEqual(cluster.nodes("all").map((node) => node.options.port), [port]);
const names = Array.from({ length: 200 }, (_, number) => `cluster:${number}`);
await Promise.all(names.map((name, number) => cluster.set(name, number)));
for (let again = 0; again < 2; again++) {
  assert.deepEqual(await Promise.all(names.map((name) => cluster.get(name))), names.map((_, number) => String(number)));
}
assert.equal(await cluster.del(names[0]), 1);
assert.equal(await cluster.get(names[0]), null);
const pipeline = cluster.pipeline();
for (let number = 0; number < 100; number++) pipeline.set(`{p}${number}`, number).get(`{p}${number}`);
const answers = await pipeline.exec();
answers.forEach(([error, answer], index) => {
  assert.equal(error, null);
  assert.equal(answer, index % 2 ? String((index - 1) / 2) : "OK");
});
assert.deepEqual(await cluster.multi().set("{t}a", 1).incr("{t}a").get("{t}a").exec(), [[null, "OK"], [null, 2], [null, "2"]]);
cluster.defineCommand("add", { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])" });
assert.equal(await cluster.add("{t}n", 5), 5);
assert.equal(await cluster.get("{t}n"), "5");
const listener = connect();
assert.equal(await listener.subscribe("cluster:news"), 1);
const heard = once(listener, "message");
await cluster.publish("cluster:news", "one");
assert.deepEqual(await heard, ["cluster:news", "one"]);
const [waiting] = [cluster.duplicate().on("error", fail)];
const popped = waiting.blpop("cluster:q", 20);
await cluster.rpush("cluster:q", "job");
assert.deepEqual(await popped, ["cluster:q", "job"]);
const seen = new Set();
const [node] = cluster.nodes("master");
for await (const keys of node.scanStream({ match: "cluster:*", count: 20 })) keys.forEach((key) => seen.add(key));
assert.deepEqual([...seen].sort(), names.slice(1).sort());
await Promise.all([cluster, listener, waiting].map((client) => client.quit()));
console.log("fine");
