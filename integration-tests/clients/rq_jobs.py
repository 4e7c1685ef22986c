"""rq as an application uses it, with real workers: `rq_jobs.py PORT`. Prints `fine` when every job came out right."""

import logging
import sys
import warnings
from datetime import timedelta

warnings.simplefilter("error")

import redis
from rq import Queue, Retry, Worker
from rq.job import Job, JobStatus
from rq.registry import FailedJobRegistry, FinishedJobRegistry, ScheduledJobRegistry

client = redis.Redis(host="127.0.0.1", port=int(sys.argv[1]))
low, high = Queue("low", connection=client), Queue("high", connection=client)

# Jobs by the names of what everybody has: the worker imports them in a process of its own.
factorials = [low.enqueue("math.factorial", number) for number in range(8)]
first = high.enqueue("operator.add", 20, 3, meta={"by": "test"})
second = high.enqueue("operator.mul", 6, 7, depends_on=first)
failing = low.enqueue("math.sqrt", -1, retry=Retry(max=2))
later = low.enqueue_in(timedelta(hours=1), "math.factorial", 5)
canceled = low.enqueue("math.factorial", 1000)
canceled.cancel()
assert len(low) == 9 and len(high) == 1, (len(low), len(high))

worker = Worker([high, low], connection=client, name="larder-test")
assert worker.work(burst=True, logging_level=logging.CRITICAL)

assert [job.return_value() for job in factorials] == [1, 1, 2, 6, 24, 120, 720, 5040]
assert first.return_value() == 23 and second.return_value() == 42
assert first.get_meta() == {"by": "test"}
assert second.get_status() == JobStatus.FINISHED
assert failing.get_status() == JobStatus.FAILED
assert "ValueError" in failing.latest_result().exc_string
assert later.get_status() == JobStatus.SCHEDULED
assert Job.fetch(canceled.id, connection=client).get_status() == JobStatus.CANCELED
assert set(FinishedJobRegistry(queue=low).get_job_ids()) == {job.id for job in factorials}
assert FailedJobRegistry(queue=low).get_job_ids() == [failing.id]
assert ScheduledJobRegistry(queue=low).get_job_ids() == [later.id]
assert len(low) == 0 and len(high) == 0
assert Worker.count(connection=client) == 0

# Once more with a job that had failed: its queue takes it again.
FailedJobRegistry(queue=low).requeue(failing.id)
assert low.get_job_ids() == [failing.id]
low.empty()
assert len(low) == 0
print("fine")
