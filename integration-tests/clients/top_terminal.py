"""`larder top` in a real pseudo-terminal: `python top_terminal.py PORT BINARY ADMIN PID`. PID is Larder's, which is stopped for a while."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time

import pyte
import redis

port, binary, admin, pid = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])


class Terminal:
    """A terminal with `larder top` in it."""

    def __init__(self, *args, columns=80, lines=24):
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.master, self.slave = pty.openpty()
        self.raw = b""
        self.size(columns, lines)
        self.before = termios.tcgetattr(self.slave)
        env = dict(os.environ, TERM="xterm-256color")
        self.process = subprocess.Popen(
            [binary, "top", *args], stdin=self.slave, stdout=self.slave, stderr=self.slave, env=env, start_new_session=True
        )

    def size(self, columns, lines):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns, lines):
        self.screen.resize(lines, columns)
        self.size(columns, lines)
        self.process.send_signal(signal.SIGWINCH)

    def read(self):
        while select.select([self.master], [], [], 0.02)[0]:
            data = os.read(self.master, 65536)
            self.raw += data
            self.stream.feed(data)
        return "\n".join(self.screen.display)

    def until(self, what, condition):
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            shown = self.read()
            if condition(shown):
                return shown
            if self.process.poll() is not None and not self.read():
                break
        raise AssertionError(f"not shown: {what} (status {self.process.poll()}):\n{self.read()}")

    def type(self, text):
        os.write(self.master, text.encode())

    def ended(self, code):
        status = self.process.wait(timeout=40)
        self.read()
        assert status == code, (status, self.raw[-2000:])
        # The other screen is left, the cursor is back, and lines are edited and echoed as before.
        assert self.raw.rindex(b"\x1b[?1049l") > self.raw.rindex(b"\x1b[?1049h"), self.raw[-500:]
        assert self.raw.rindex(b"\x1b[?25h") > self.raw.rindex(b"\x1b[?25l"), self.raw[-500:]
        assert termios.tcgetattr(self.slave) == self.before, "the terminal is not as it was"


going = True


def traffic():
    client = redis.Redis(port=port)
    while going:
        try:
            for _ in range(200):
                client.get("hottest:key")
        except redis.RedisError:
            time.sleep(0.05)


redis.Redis(port=port).set("hottest:key", "v")
thread = threading.Thread(target=traffic)
thread.start()
try:
    terminal = Terminal("--admin", admin)
    shown = terminal.until("the keys", lambda shown: "hottest:key" in shown)
    for words in ("larder ", "serving", "ready", "requests/s", "hit ratio", "upstream p99.9", "near-cache", "runway", "servers", "closed", "normal", "events", "q quits"):
        assert words in shown, (words, shown)
    first = shown.split("requests/s")[1].split()[0]
    terminal.until("other numbers", lambda shown: shown.split("requests/s")[1].split()[0] not in ("0", first))
    terminal.until("the hit ratio", lambda shown: "%" in shown.split("hit ratio")[1].split("\n")[0])
    # More room is used, and less is got along with.
    terminal.resize(130, 45)
    terminal.until("the last line far down", lambda shown: "q quits" in shown.split("\n")[44])
    terminal.resize(80, 24)
    terminal.until("the last line where it was", lambda shown: "q quits" in shown.split("\n")[23])
    # Larder does not answer for a while.
    os.kill(pid, signal.SIGSTOP)
    try:
        shown = terminal.until("that it is gone", lambda shown: "GONE for" in shown)
        assert admin in shown.split("GONE for")[1] and "serving" in shown, shown
    finally:
        os.kill(pid, signal.SIGCONT)
    terminal.until("that it is back", lambda shown: "GONE" not in shown)
    terminal.type("q")
    terminal.ended(0)

    # Nobody there from the beginning; a signal restores the terminal too, and so does Ctrl-C.
    terminal = Terminal("--admin", "127.0.0.1:1")
    terminal.until("that nobody is there", lambda shown: "GONE for" in shown and "127.0.0.1:1 cannot be reached" in shown)
    terminal.process.send_signal(signal.SIGTERM)
    terminal.ended(0)
    terminal = Terminal("--admin", admin)
    terminal.until("a state", lambda shown: "serving" in shown)
    terminal.type("\x03")
    terminal.ended(0)
finally:
    going = False
    thread.join()

# Without a terminal it says so.
ended = subprocess.run([binary, "top"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=40)
assert ended.returncode == 1 and "needs a terminal" in ended.stderr, ended
print("fine")
