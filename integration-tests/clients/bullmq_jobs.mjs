// BullMQ with a queue, a worker and events: `node bullmq_jobs.mjs PORT`. Prints `fine` when every job came out right.
import assert from "node:assert/strict";
import { FlowProducer, Queue, QueueEvents, Worker } from "bullmq";

// Keys that belong together have the same hash tag, as BullMQ wants it on a cluster.
const options = { connection: { host: "127.0.0.1", port: Number(process.argv[2]) }, prefix: "{bull}" };
function fail(error) {
  console.error(error);
  process.exit(1);
}

const queue = new Queue("sums", options);
const events = new QueueEvents("sums", options);
const flows = new FlowProducer(options);
const completed = new Map();
events.on("completed", ({ jobId, returnvalue }) => completed.set(jobId, returnvalue));
const worker = new Worker("sums", async (job) => {
  if (job.name === "flaky" && job.attemptsMade < 2) throw new Error("again");
  if (job.name === "broken") throw new Error("on purpose");
  if (job.name === "parent") return Object.values(await job.getChildrenValues()).reduce((a, b) => a + b, 0);
  await job.updateProgress(50);
  await job.log(`summing ${job.data.a} and ${job.data.b}`);
  return job.data.a + job.data.b;
}, { ...options, concurrency: 4 });
for (const part of [queue, events, flows, worker]) part.on("error", fail);
await Promise.all([queue.waitUntilReady(), events.waitUntilReady(), worker.waitUntilReady()]);

// Each job that is waited for listens.
queue.setMaxListeners(0);
events.setMaxListeners(0);
const patience = 20_000;
const one = await queue.add("sum", { a: 1, b: 2 });
assert.equal(await one.waitUntilFinished(events, patience), 3);
const many = await queue.addBulk(Array.from({ length: 40 }, (_, number) => ({ name: "sum", data: { a: number, b: number } })));
assert.deepEqual(await Promise.all(many.map((job) => job.waitUntilFinished(events, patience))), many.map((_, number) => number * 2));
const flaky = await queue.add("flaky", { a: 5, b: 6 }, { attempts: 3, backoff: { type: "fixed", delay: 10 } });
assert.equal(await flaky.waitUntilFinished(events, patience), 11);
const broken = await queue.add("broken", {});
await assert.rejects(broken.waitUntilFinished(events, patience), /on purpose/);
const delayed = await queue.add("sum", { a: 7, b: 8 }, { delay: 100 });
assert.equal(await delayed.getState(), "delayed");
assert.equal(await delayed.waitUntilFinished(events, patience), 15);
const children = [1, 2, 3].map((number) => ({ name: "sum", queueName: "sums", data: { a: number, b: 0 } }));
const tree = await flows.add({ name: "parent", queueName: "sums", data: {}, children });
assert.equal(await tree.job.waitUntilFinished(events, patience), 6);

const counts = await queue.getJobCounts("completed", "failed", "waiting", "active", "delayed");
assert.deepEqual(counts, { completed: 47, failed: 1, waiting: 0, active: 0, delayed: 0 });
assert.deepEqual((await queue.getJobLogs(one.id)).logs, ["summing 1 and 2"]);
assert.equal((await queue.getJob(one.id)).progress, 50);
while (completed.size < 47) await new Promise(setImmediate);
await broken.retry();
await assert.rejects(broken.waitUntilFinished(events, patience), /on purpose/);
await worker.close();
await queue.obliterate({ force: true });
assert.equal(await queue.getJobCountByTypes("completed", "failed"), 0);
await Promise.all([queue.close(), events.close(), flows.close()]);
console.log("fine");
