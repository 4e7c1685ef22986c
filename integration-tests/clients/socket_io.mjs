// Two socket.io servers that know of each other only through @socket.io/redis-adapter: `node socket_io.mjs PORT`. Prints
// `fine` when what is said at one is heard at the other.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import Redis from "ioredis";
import { Server } from "socket.io";
import { io } from "socket.io-client";

const connections = [];
function connect() {
  const client = new Redis({ port: Number(process.argv[2]), host: "127.0.0.1", maxRetriesPerRequest: 1 });
  client.on("error", (error) => {
    console.error(error);
    process.exit(1);
  });
  connections.push(client);
  return client;
}

async function serve() {
  const http = createServer();
  const server = new Server(http, { adapter: createAdapter(connect(), connect(), { requestsTimeout: 20_000 }) });
  server.on("connection", (socket) => {
    socket.on("join", async (room, done) => {
      await socket.join(room);
      done();
    });
    socket.on("say", (room, text) => socket.to(room).emit("said", text));
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  return { server, url: `http://127.0.0.1:${http.address().port}` };
}

async function visit(url) {
  const client = io(url, { transports: ["websocket"], reconnection: false });
  client.heard = [];
  client.on("said", (text) => client.heard.push(text));
  await once(client, "connect");
  return client;
}

function until(what, condition) {
  return new Promise((resolve, reject) => {
    const limit = setTimeout(() => reject(new Error(`not within 20 s: ${what}`)), 20_000);
    (async function look() {
      if (!(await condition())) return setTimeout(look, 5);
      clearTimeout(limit);
      resolve();
    })();
  });
}

const [east, west] = [await serve(), await serve()];
// Each server's subscription must be there before anybody speaks.
await until("both servers hear each other", async () => {
  return (await east.server.of("/").adapter.serverCount()) === 2 && (await west.server.of("/").adapter.serverCount()) === 2;
});
const [anna, bert, carl] = [await visit(east.url), await visit(west.url), await visit(west.url)];
await Promise.all([anna, bert].map((client) => new Promise((done) => client.emit("join", "chess", done))));

// From one client to a room on both servers; the one who says it does not hear it.
anna.emit("say", "chess", "check");
await until("the other server's member hears it", () => bert.heard.length === 1);
// From a server to everybody.
east.server.emit("said", "welcome");
await until("everybody hears it", () => [anna, bert, carl].every((client) => client.heard.includes("welcome")));
assert.deepEqual([anna.heard, bert.heard, carl.heard], [["welcome"], ["check", "welcome"], ["welcome"]]);
// A server asks the other one: who is there, who answers.
assert.equal((await east.server.fetchSockets()).length, 3);
assert.equal((await west.server.in("chess").fetchSockets()).length, 2);
anna.on("ask", (answer) => answer("a"));
bert.on("ask", (answer) => answer("b"));
assert.deepEqual((await west.server.timeout(20_000).to("chess").emitWithAck("ask")).sort(), ["a", "b"]);
west.server.on("ping", (answer) => answer("pong"));
assert.deepEqual(await east.server.serverSideEmitWithAck("ping"), ["pong"]);
// A hundred in a row arrive in order.
for (let number = 0; number < 100; number++) west.server.to("chess").emit("said", number);
await until("all of them", () => anna.heard.length === 101);
assert.deepEqual(anna.heard.slice(1), Array.from({ length: 100 }, (_, number) => number));
// A server sends away a client of the other one.
east.server.in(carl.id).disconnectSockets(true);
await until("he is gone", () => !carl.connected);

for (const client of [anna, bert]) client.disconnect();
await Promise.all([east.server.close(), west.server.close()]);
await Promise.all(connections.map((client) => client.quit()));
console.log("fine");
// The adapter keeps a timer for every question that it has asked, answered or not.
process.exit(0);
