"""A reader with Python `cassandra-driver` that shows what its driver knows: reads by key without a pause, with the driver's default
retry policy, and prints a line of JSON ten times a second (`Watched` of ../../gateways.e2e.test.ts) until its input ends.
"""

import json
import os
import ssl
import sys
import threading
import time

from cassandra import ConsistencyLevel
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy

env = os.environ
host, port = env["RF_CONTACTS"].rsplit(":", 1)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.load_verify_locations(env["RF_CA"])
context.load_cert_chain(env["RF_CERT"], env["RF_KEY"])
profile = ExecutionProfile(
    load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(env["RF_DC"]), shuffle_replicas=True),
    consistency_level=ConsistencyLevel.LOCAL_ONE,
)
cluster = Cluster(
    [(host, int(port))],
    port=int(port),
    protocol_version=int(env["RF_PROTOCOL"]),
    ssl_context=context,
    execution_profiles={EXEC_PROFILE_DEFAULT: profile},
)
session = cluster.connect()
select = session.prepare("SELECT v FROM %s.rows WHERE k = ?" % env["RF_KEYSPACE"])
select.is_idempotent = True

lock = threading.Lock()
answered, errors, by = 0, [], {}
stopped = threading.Event()


def read(first):
    global answered
    k = first
    while not stopped.is_set():
        k = (k + 1) % 20
        try:
            future = session.execute_async(select, [k])
            row = future.result().one()
            if row is None or row.v != "value %d" % k:
                raise ValueError("asked for %d, got %r" % (k, row))
            coordinator = str(future.coordinator_host.endpoint)
            with lock:
                answered += 1
                by[coordinator] = by.get(coordinator, 0) + 1
        except Exception as error:
            with lock:
                errors.append("%s: %s" % (type(error).__name__, error))
            time.sleep(0.05)


def show():
    while not stopped.is_set():
        with lock:
            hosts = sorted(str(one.endpoint) for one in cluster.metadata.all_hosts())
            print(json.dumps({"hosts": hosts, "answered": answered, "errors": errors, "by": by}), flush=True)
        time.sleep(0.1)


threads = [threading.Thread(target=read, args=(first,)) for first in (0, 5, 10, 15)] + [threading.Thread(target=show)]
for thread in threads:
    thread.start()
sys.stdin.read()
stopped.set()
for thread in threads:
    thread.join()
cluster.shutdown()
