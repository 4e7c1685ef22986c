// ioredis as an application uses it: `node ioredis.mjs PORT`. Ends with status 0 when every answer is right.
import assert from "node:assert/strict";
import Redis from "ioredis";

const port = Number(process.argv[2]);
const options = { port, host: "127.0.0.1", maxRetriesPerRequest: 1, connectionName: "tester" };
const client = new Redis(options);
client.on("error", (error) => {
  console.error(error);
  process.exit(1);
});

assert.equal(await client.ping(), "PONG");
assert.equal(await client.client("GETNAME"), "tester");
assert.equal(await client.client("SETNAME", "other"), "OK");
assert.equal(await client.set("io:a", "1", "EX", 100), "OK");
for (let again = 0; again < 3; again++) assert.equal(await client.get("io:a"), "1");
assert.equal(await client.get("io:none"), null);
await client.hset("io:h", { f: "1", g: "2" });
for (let again = 0; again < 3; again++) assert.deepEqual(await client.hgetall("io:h"), { f: "1", g: "2" });
await client.mset("io:x", "1", "io:y", "2");
assert.deepEqual(await client.mget("io:x", "io:none", "io:y"), ["1", null, "2"]);
assert.equal(await client.del("io:x"), 1);
assert.equal(await client.get("io:x"), null);

const pipeline = client.pipeline();
for (let number = 0; number < 500; number++) pipeline.set(`io:p:${number}`, number).get(`io:p:${number}`);
const answers = await pipeline.exec();
answers.forEach(([error, answer], index) => {
  assert.equal(error, null);
  assert.equal(answer, index % 2 ? String((index - 1) / 2) : "OK");
});
const together = await Promise.all(Array.from({ length: 200 }, (_, number) => client.get(`io:p:${number}`)));
assert.deepEqual(together, Array.from({ length: 200 }, (_, number) => String(number)));
await assert.rejects(client.hget("io:a", "f"), /WRONGTYPE/);
const value = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 256));
await client.set("io:binary", value);
assert.deepEqual(await client.getBuffer("io:binary"), value);
const listener = new Redis(options);
assert.equal(await listener.subscribe("io:news", "io:other"), 2);
assert.equal(await listener.psubscribe("io:n*"), 3);
const heard = new Promise((resolve) => {
  const all = [];
  listener.on("message", (channel, message) => all.push([channel, message]));
  listener.on("pmessage", (pattern, channel, message) => resolve([...all, [pattern, channel, message]]));
});
assert.equal(await client.publish("io:news", "hello"), 2);
assert.deepEqual(await heard, [["io:news", "hello"], ["io:n*", "io:news", "hello"]]);
assert.deepEqual(await listener.ping(), ["pong", ""]);
await assert.rejects(listener.call("GET", "io:a"), /subscriber mode/);
assert.equal(await listener.unsubscribe("io:news", "io:other"), 1);
assert.equal(await listener.punsubscribe("io:n*"), 0);
assert.equal(await listener.get("io:a"), "1");
await listener.quit();
const elsewhere = new Redis({ ...options, db: 5 });
assert.equal(await elsewhere.get("io:a"), null);
await Promise.all([client.quit(), elsewhere.quit()]);
console.log("fine");
