// What applications do with ioredis beyond single commands: `node ioredis_everyday.mjs PORT`. Prints `fine` when all of
// it works.
import assert from "node:assert/strict";
import { once } from "node:events";
import Redis from "ioredis";

const options = { port: Number(process.argv[2]), host: "127.0.0.1", maxRetriesPerRequest: 1 };
const clients = [];
function connect(more = {}) {
  return kept(new Redis({ ...options, ...more }));
}
function kept(client) {
  client.on("error", (error) => {
    console.error(error);
    process.exit(1);
  });
  clients.push(client);
  return client;
}
const client = connect();

// Keys that belong together have the same hash tag, as an application on a cluster gives them.
async function transactions() {
  const answers = await client.multi().set("{t}a", 1).incr("{t}a").get("{t}a").exec();
  assert.deepEqual(answers, [[null, "OK"], [null, 2], [null, "2"]]);
  await client.multi({ pipeline: false });
  assert.equal(await client.set("{t}b", "x"), "QUEUED");
  assert.equal(await client.get("{t}b"), "QUEUED");
  assert.deepEqual(await client.exec(), [[null, "OK"], [null, "x"]]);
  await client.multi({ pipeline: false });
  await client.set("{t}b", "y");
  assert.equal(await client.discard(), "OK");
  assert.equal(await client.get("{t}b"), "x");
  const mixed = await client.multi().set("{t}c", "text").incr("{t}c").get("{t}c").exec();
  assert.match(mixed[1][0].message, /not an integer/);
  assert.deepEqual([mixed[0], mixed[2]], [[null, "OK"], [null, "text"]]);
  await assert.rejects(client.multi().set("{t}d", 1).call("GET").exec(), /EXECABORT/);
  assert.equal(await client.get("{t}d"), null);

  // Ten connections count with WATCH and retries of their own; nothing may be lost.
  const workers = Array.from({ length: 10 }, () => connect());
  await Promise.all(workers.map(async (worker) => {
    for (let done = 0; done < 20;) {
      await worker.watch("{t}counter");
      const value = Number(await worker.get("{t}counter"));
      if (await worker.multi().set("{t}counter", value + 1).exec()) done++;
    }
  }));
  assert.equal(await client.get("{t}counter"), "200");
}

async function pipelines() {
  const pipeline = client.pipeline();
  for (let number = 0; number < 300; number++) pipeline.set(`{p}${number}`, number).get(`{p}${number}`);
  pipeline.multi().incr("{p}n").exec().get("{p}n");
  const answers = await pipeline.exec();
  assert.deepEqual(answers.slice(0, 600).map(([error, answer]) => [error, answer]),
    Array.from({ length: 600 }, (_, index) => [null, index % 2 ? String((index - 1) / 2) : "OK"]));
  assert.deepEqual(answers.slice(600).map(([, answer]) => answer), ["OK", "QUEUED", [1], "1"]);
  const automatic = connect({ enableAutoPipelining: true });
  const together = await Promise.all(Array.from({ length: 300 }, (_, number) => automatic.get(`{p}${number}`)));
  assert.deepEqual(together, Array.from({ length: 300 }, (_, number) => String(number)));
}

async function scripts() {
  client.defineCommand("addTwice", { numberOfKeys: 1, lua: "redis.call('INCRBY', KEYS[1], ARGV[1]) return redis.call('INCRBY', KEYS[1], ARGV[1])" });
  assert.equal(await client.addTwice("{s}n", 3), 6);
  assert.equal(await client.get("{s}n"), "6");
  // The server has forgotten it: EVALSHA says NOSCRIPT, ioredis sends it whole.
  assert.equal(await client.script("FLUSH"), "OK");
  assert.equal(await client.addTwice("{s}n", 1), 8);
  const answers = await client.pipeline().addTwice("{s}n", 1).get("{s}n").exec();
  assert.deepEqual(answers, [[null, 10], [null, "10"]]);
  assert.deepEqual(await client.multi().addTwice("{s}n", 1).get("{s}n").exec(), [[null, 12], [null, "12"]]);
}

async function publishAndSubscribe() {
  const listener = client.duplicate();
  kept(listener);
  const heard = [];
  listener.on("message", (channel, text) => heard.push([channel, text]));
  listener.on("pmessage", (pattern, channel, text) => heard.push([pattern, channel, text]));
  assert.equal(await listener.subscribe("news", "weather"), 2);
  assert.equal(await listener.psubscribe("sport.*"), 3);
  await assert.rejects(listener.get("heard"), /subscriber mode/);
  assert.equal(await client.publish("news", "one"), 1);
  assert.equal(await client.publish("sport.chess", "two"), 1);
  assert.equal(await client.publish("nobody", "three"), 0);
  const last = once(listener, "message");
  assert.equal(await client.publish("weather", "four"), 1);
  await last;
  assert.deepEqual(heard, [["news", "one"], ["sport.*", "sport.chess", "two"], ["weather", "four"]]);
  assert.deepEqual(await client.pubsub("NUMSUB", "news"), ["news", 1]);
  assert.equal(await listener.unsubscribe("news", "weather"), 1);
  assert.equal(await listener.punsubscribe("sport.*"), 0);
  // Out of subscriber mode it is a connection like any other.
  assert.equal(await listener.set("heard", "1"), "OK");
  await until("nobody is subscribed", async () => (await client.publish("news", "five")) === 0);
}

async function streams() {
  assert.equal(await client.xgroup("CREATE", "x", "g", "$", "MKSTREAM"), "OK");
  const worker = connect();
  const waiting = worker.xreadgroup("GROUP", "g", "c", "COUNT", 10, "BLOCK", 20_000, "STREAMS", "x", ">");
  const tail = connect();
  const following = tail.xread("BLOCK", 20_000, "STREAMS", "x", "$");
  await until("two are blocked", async () => (await blocked()) === 2);
  const id = await client.xadd("x", "*", "field", "value");
  assert.deepEqual(await waiting, [["x", [[id, ["field", "value"]]]]]);
  assert.deepEqual(await following, [["x", [[id, ["field", "value"]]]]]);
  assert.equal((await client.xpending("x", "g"))[0], 1);
  const [, claimed] = await client.xautoclaim("x", "g", "heir", 0, "0");
  assert.deepEqual(claimed, [[id, ["field", "value"]]]);
  assert.equal(await client.xack("x", "g", id), 1);
  assert.equal((await client.xpending("x", "g"))[0], 0);
  assert.equal(await worker.xreadgroup("GROUP", "g", "c", "BLOCK", 20, "STREAMS", "x", ">"), null);
}

async function queues() {
  const [worker, other, third] = [0, 1, 2].map(() => kept(client.duplicate()));
  const [popped, moved, lowest] = [worker.blpop("{q}jobs", 20), other.blmove("{q}from", "{q}to", "LEFT", "RIGHT", 20), third.bzpopmin("{q}z", 20)];
  await until("three are blocked", async () => (await blocked()) === 3);
  assert.equal(await client.set("meanwhile", "1"), "OK");
  await client.multi().rpush("{q}jobs", "job").rpush("{q}from", "x").zadd("{q}z", 2, "m").exec();
  assert.deepEqual(await popped, ["{q}jobs", "job"]);
  assert.equal(await moved, "x");
  assert.deepEqual(await lowest, ["{q}z", "m", "2"]);
  assert.equal(await worker.blpop("{q}jobs", 0.05), null);
  assert.deepEqual(await client.lrange("{q}to", 0, -1), ["x"]);
}

async function until(what, condition) {
  const limit = Date.now() + 20_000;
  while (!(await condition())) {
    assert.ok(Date.now() < limit, `not within 20 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function blocked() {
  return Number(/blocked_clients:(\d+)/.exec(await client.info("clients"))[1]);
}

async function scans() {
  const names = Array.from({ length: 300 }, (_, number) => `scan:${number}`);
  await Promise.all(names.map((name) => client.set(name, "1")));
  const seen = new Set();
  for await (const keys of client.scanStream({ match: "scan:*", count: 20 })) keys.forEach((key) => seen.add(key));
  assert.deepEqual([...seen].sort(), names.sort());
  await client.hset("wide", Object.fromEntries(names.map((name, index) => [name, index])));
  let fields = 0;
  for await (const pairs of client.hscanStream("wide", { count: 50 })) fields += pairs.length / 2;
  assert.equal(fields, 300);
}

for (const part of [transactions, pipelines, scripts, publishAndSubscribe, streams, queues, scans]) await part();
await Promise.all(clients.map((each) => each.quit()));
console.log("fine");
