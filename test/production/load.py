"""An application with Python `cassandra-driver`: writes a row, reads it back, again and again, with the driver's default policies, until its
input ends. Prints {"answered": ..., "failed": ..., "errors": [...]} twice a second. By password without TLS, or by certificate where RF_CERT names one.
"""

import datetime
import json
import os
import ssl
import sys
import threading
import time

from cassandra import ConsistencyLevel
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy

env = os.environ
host, port = env["RF_CONTACT"].rsplit(":", 1)
if "RF_CERT" in env:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(env["RF_CA"])
    context.load_cert_chain(env["RF_CERT"], env["RF_KEY"])
    access = {"ssl_context": context}
else:
    access = {"auth_provider": PlainTextAuthProvider(env["RF_USER"], env["RF_PASSWORD"])}
profile = ExecutionProfile(
    load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy("datacenter1")),
    consistency_level=ConsistencyLevel.LOCAL_QUORUM,
    # The CPU is another process's for seconds at a time while nodes start.
    request_timeout=30,
)
# For the same reason: the first of these is 5 s by default, the second 2 s.
waits = {"connect_timeout": 15, "control_connection_timeout": 15}
profiles = {EXEC_PROFILE_DEFAULT: profile}
cluster = Cluster([host], port=int(port), protocol_version=5, execution_profiles=profiles, **waits, **access)
session = cluster.connect()
insert = session.prepare("INSERT INTO shop.orders (id, total) VALUES (?, ?)")
select = session.prepare("SELECT total FROM shop.orders WHERE id = ?")
insert.is_idempotent = select.is_idempotent = True

lock = threading.Lock()
answered, failed, errors = 0, 0, []
stopped = threading.Event()


def work(worker):
    global answered, failed
    n = 0
    while not stopped.is_set():
        n += 1
        # Its own: for a while two of these run, the one before a step of the page and the one after it.
        key, total = "python %d %d %d" % (os.getpid(), worker, n % 50), str(n)
        try:
            session.execute(insert, [key, total])
            row = session.execute(select, [key]).one()
            if row is None or row.total != total:
                raise ValueError("wrote %s, read %r" % (total, row))
            with lock:
                answered += 2
        except Exception as error:
            with lock:
                failed += 1
                # The first ones tell enough.
                if len(errors) < 20:
                    errors.append("%s %s: %s" % (datetime.datetime.utcnow().isoformat(), type(error).__name__, error))
        time.sleep(0.1)


def show():
    with lock:
        print(json.dumps({"answered": answered, "failed": failed, "errors": errors}), flush=True)


def shows():
    while not stopped.is_set():
        show()
        time.sleep(0.5)


threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2)]
for thread in [*threads, threading.Thread(target=shows, daemon=True)]:
    thread.start()
sys.stdin.read()
stopped.set()
for thread in threads:
    thread.join()
show()
cluster.shutdown()
