"""Celery with Redis as its broker and its store of results, with a real worker: `celery_tasks.py PORT`. Prints `fine`
when every task came out right.
"""

import os
import subprocess
import sys

from celery import Celery, chord, group

PORT = os.environ.get("CELERY_TASKS_PORT") or sys.argv[1]
app = Celery("celery_tasks", broker=f"redis://127.0.0.1:{PORT}/0", backend=f"redis://127.0.0.1:{PORT}/1")
app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False, task_track_started=True)


@app.task
def add(a, b):
    return a + b


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True, max_retries=3)
def fails_twice(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return self.request.retries


@app.task
def fails():
    raise ValueError("on purpose")


def main():
    assert add.delay(2, 3).get(timeout=30) == 5
    assert group(add.s(number, number) for number in range(20))().get(timeout=30) == list(range(0, 40, 2))
    assert (add.s(1, 2) | add.s(10)).delay().get(timeout=30) == 13
    assert chord((add.s(number, 1) for number in range(5)), total.s()).delay().get(timeout=30) == 15
    assert fails_twice.delay().get(timeout=30) == 2
    outcome = fails.delay()
    try:
        outcome.get(timeout=30)
        raise AssertionError("the task did not fail")
    except ValueError as error:
        assert "on purpose" in str(error)
    assert outcome.state == "FAILURE"
    assert add.apply_async((1, 1), countdown=0.2).get(timeout=30) == 2
    [pong] = app.control.ping(timeout=10, limit=1)
    assert list(pong.values()) == [{"ok": "pong"}], pong
    [registered] = app.control.inspect(timeout=10, limit=1).registered().values()
    assert "celery_tasks.add" in registered


if __name__ == "__main__":
    # A worker of its own process, which imports this file by its name.
    command = [sys.executable, "-m", "celery", "-A", "celery_tasks", "worker", "--pool", "threads", "--concurrency", "2"]
    environment = {**os.environ, "CELERY_TASKS_PORT": PORT, "PYTHONPATH": os.path.dirname(os.path.abspath(__file__))}
    # Tasks must be known here by the name under which the worker knows them.
    sys.path.insert(0, environment["PYTHONPATH"])
    import celery_tasks

    output = subprocess.PIPE
    quiet = [*command, "--loglevel", "error", "--without-heartbeat", "-n", "larder-test@here"]
    with subprocess.Popen(quiet, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True) as worker:
        try:
            celery_tasks.main()
        except BaseException:
            worker.kill()
            print(worker.communicate()[0], file=sys.stderr)
            raise
        worker.terminate()
        worker.communicate(timeout=30)
    print("fine")
