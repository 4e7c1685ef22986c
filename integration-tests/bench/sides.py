"""The servers of a benchmark: how each side is started, pinned, looked at and stopped."""

import glob
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

START_SECONDS = 10

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
RELEASE = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release")
LARDER = os.path.join(RELEASE, "larder")
BARE_LOOP = os.path.join(RELEASE, "bare-loop")


class Failure(Exception):
    """Said to the user as it is."""


PORTS = set()


def free_port():
    """A port that nobody listens on; never the same twice, since the one asked for before may not be in use yet."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in PORTS:
            PORTS.add(port)
            return port


def program(name):
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    if not path:
        raise Failure(f"{name} is not installed")
    return path


def check_binary(path, option):
    if not os.access(path, os.X_OK) or not os.path.isfile(path):
        raise Failure(f"{path} cannot be run; build it with cargo build --release, or name another one with {option}")


def build_bare_loop():
    command = [program("cargo"), "build", "--release", "--quiet", "-p", "larder-integration-tests", "--bin", "bare-loop"]
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        raise Failure("the bare loop cannot be built; leave bare out of --only to go without it")


class Process:
    """One server on a loopback port; `cpu` pins it, None leaves it free."""

    def __init__(self, name, command, port, log, cpu):
        self.name, self.port, self.log = name, port, log
        pin = [] if cpu is None else [program("taskset"), "-c", str(cpu)]
        with open(log, "wb") as output:
            self.child = subprocess.Popen(pin + command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        self.wait_until_it_answers()

    def wait_until_it_answers(self):
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self.child.poll() is not None:
                raise Failure(f"{self.name} ended at once (exit code {self.child.returncode}):\n{self.last_words()}")
            try:
                with Client(self.port) as client:
                    client.command("GET", "start")
                return
            except (OSError, Failure):
                if time.monotonic() > deadline:
                    self.stop()
                    raise Failure(f"{self.name} does not answer on port {self.port}:\n{self.last_words()}") from None
                time.sleep(0.05)

    def last_words(self):
        with open(self.log, errors="replace") as log:
            return log.read()[-2000:]

    def cpu_ns(self):
        """Time that its threads have spent on a CPU, in nanoseconds."""
        total = 0
        for path in glob.glob(f"/proc/{self.child.pid}/task/*/schedstat"):
            try:
                with open(path) as schedstat:
                    total += int(schedstat.read().split()[0])
            except OSError:
                pass  # The thread has ended meanwhile.
        return total

    def rss(self):
        """Resident memory in bytes."""
        with open(f"/proc/{self.child.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


class Sides:
    """Starts servers in a directory of their own and stops them all at the end."""

    def __init__(self, cpu):
        self.cpu = cpu
        self.directory = tempfile.mkdtemp(prefix="larder-bench-")
        self.processes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.directory, name)

    def start(self, name, command, port):
        process = Process(name, command, port, self.path(f"{name}.log"), self.cpu)
        self.processes.append(process)
        return process

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)
        return self.path(name)

    def redis(self):
        port = free_port()
        # No limit on tracked keys: the default of a million would evict what a test of a million keys has just warmed.
        options = {"port": port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": self.directory}
        options.update({"tracking-table-max-keys": 0, "maxclients": 20000})
        command = [program("redis-server")]
        for key, value in options.items():
            command += [f"--{key}", str(value)]
        return self.start("redis", command, port)

    def bare(self):
        port = free_port()
        return self.start("bare", [BARE_LOOP, str(port)], port)

    def nutcracker(self, upstream):
        port = free_port()
        config = self.write("nutcracker.yml", f"""\
bench:
  listen: 127.0.0.1:{port}
  redis: true
  hash: fnv1a_64
  distribution: ketama
  timeout: 2000
  servers:
   - 127.0.0.1:{upstream.port}:1
""")
        command = [program("nutcracker"), "-c", config, "-a", "127.0.0.1", "-s", str(free_port())]
        return self.start("nutcracker", command, port)

    def larder(self, name, binary, upstream, cache, max_memory="256mb", max_entry=None, workers=1):
        """`cache` is "on" or "off"; `max_entry` in bytes, None leaves the default."""
        port, admin = free_port(), free_port()
        config = self.write(f"{name}.yaml", f"""\
listeners:
  - address: 127.0.0.1:{port}
upstreams:
  main:
    kind: redis
    endpoints: ["127.0.0.1:{upstream.port}"]
routes:
  - keys: ["*"]
    upstream: main
    cache: {{enabled: {"true" if cache == "on" else "false"}, ttl: 1h}}
near_cache: {{max_memory: {max_memory}, ttl: 1h{"" if max_entry is None else f", max_entry: {max_entry}"}}}
admin: {{address: "127.0.0.1:{admin}"}}
limits: {{max_clients: 20000}}
workers: {workers}
""")
        process = self.start(name, [binary, "--config", config], port)
        process.admin = admin
        return process


class Client:
    """A plain RESP2 connection: enough to fill a server, to warm a cache and to ask for counters."""

    def __init__(self, port, timeout=30):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.input.close()
        self.socket.close()

    def send(self, *commands):
        self.socket.sendall(b"".join(encode(command) for command in commands))

    def reply(self):
        """A bulk or simple string as bytes, an integer as int, null as None; an error is raised."""
        line = self.input.readline()
        if not line:
            raise Failure("the connection was closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self.input.read(size + 2)[:-2]
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return rest
        raise Failure(rest.decode(errors="replace"))

    def command(self, *words):
        self.send(words)
        return self.reply()

    def pipeline(self, commands, depth=500):
        """Sends all commands, `depth` at a time, and returns how many replies were values."""
        values, batch = 0, []

        def flush():
            self.send(*batch)
            found = sum(self.reply() is not None for _ in batch)
            batch.clear()
            return found

        for command in commands:
            batch.append(command)
            if len(batch) == depth:
                values += flush()
        return values + flush()


def encode(words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def commands_processed(redis):
    """How many commands a Redis has run, this question not counted."""
    with Client(redis.port) as client:
        for line in client.command("INFO", "stats").splitlines():
            if line.startswith(b"total_commands_processed:"):
                return int(line.split(b":")[1])
    raise Failure("INFO stats has no total_commands_processed")


def hits(process):
    """The proxy's own count of cache hits from its metrics page; None where there is none."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{process.admin}/metrics", timeout=2) as page:
            lines = page.read().decode(errors="replace").splitlines()
    except (OSError, AttributeError, ValueError, http.client.HTTPException):
        return None
    found = [line for line in lines if line.startswith("larder_") and "hits" in line.split("{")[0].split(" ")[0]]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found) if found else None


def main(run):
    """Runs a program whose failures are sentences."""
    try:
        sys.exit(run())
    except Failure as failure:
        sys.exit(f"error: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
