"""Celery's settings, each with its reason. Every application on the broker reads this file."""

import os

from intake.doorbell import QUEUES, VISIBILITY_TIMEOUT_S
from runtime.settings import Settings

_settings = Settings.from_env(os.environ)

broker_url = _settings.broker_url
broker_connection_retry_on_startup = True

# A task longer than the visibility timeout would run twice, so the hard limit stays below it.
task_time_limit = 300
task_soft_time_limit = 270

broker_transport_options = {
    "visibility_timeout": VISIBILITY_TIMEOUT_S,
    # A killed worker's messages come back after seconds, not after the 100 s that the defaults multiply to.
    "unacked_restore_interval": 2,
    "unacked_restore_throttle": 1,
    "socket_keepalive": True,
    # A server that says nothing is given up after so long. Shorter pauses are waited out: to connect anew is what has
    # made workers deaf.
    "socket_timeout": 30,
    "socket_connect_timeout": 5,
}

# Steps are idempotent: a message is acknowledged once its work is done, or its failure is kept (workers/steps.py,
# workers/requests.py): when it killed its pool process, too, so that it cannot do so for ever.
task_acks_late = True
task_reject_on_worker_lost = False
# A pool process that died may have answered before: its answer is waited for so long.
worker_lost_wait = 3
# Messages that nobody understands are kept, not dropped.
worker_consumer = "workers.consumer:Consumer"
worker_prefetch_multiplier = 1
# The effect of a task stands in PostgreSQL; nobody reads a result.
task_ignore_result = True
result_backend = None

task_default_queue = "default"
task_create_missing_queues = True
# Long steps get a queue and a worker of their own instead of a priority.
task_routes = {name: {"queue": queue} for name, queue in QUEUES.items()}

task_serializer = "json"
accept_content = ["json"]
timezone = "UTC"
enable_utc = True

worker_max_tasks_per_child = 10_000
worker_send_task_events = True
worker_hijack_root_logger = False

assert task_time_limit < VISIBILITY_TIMEOUT_S

# Periodic jobs take their rows with SKIP LOCKED or by compare-and-set: two beats do no harm. A tick that was not
# taken within its own period is stale.
_EVERY_S = {
    "sweep.journals": 1.0,
    "sweep.draws": 1.0,
    "sweep.wallets": 2.0,
    "events.send": 1.0,
    "sweep.retries": 1.0,
    "sweep.stuck": 30.0,
    "draws.open": 1.0,
    "draws.close": 1.0,
    "draws.schedule": 600.0,
    "audit.chain": 1.0,
    "audit.chain_all": 3600.0,
    "sweep.people": 1.0,
    "people.forget": 3600.0,
    "claims.expire": 3600.0,
    "sweep.notifications": 1.0,
    "notifications.forget": 3600.0,
    "sweep.reports": 1.0,
    "reports.expire": 3600.0,
}
beat_schedule = {
    name: {"task": name, "schedule": seconds, "options": {"expires": max(1.0, seconds)}}
    for name, seconds in _EVERY_S.items()
}
beat_max_loop_interval = 1
