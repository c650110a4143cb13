"""An application with Python `cassandra-driver`, which counts up through several clients until its input ends. Each client reads its certificate for each
connection (docs/drivers/python.md). The driver sends everything again whose connection is lost, so a request that was lost or done twice is seen in the sums.

Prints {"clients": {name: {"requests", "failed", "opened", "ended", "said": {text: count}}}} each second, and at the end "increments" of each row, too.
Failures are counted by what they say, as `failures.ts` does.
"""

import json
import os
import re
import ssl
import sys
import threading
import time

from cassandra import ConsistencyLevel
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import DCAwareRoundRobinPolicy, ExponentialReconnectionPolicy, TokenAwarePolicy

env = os.environ
BURST = 16
ROWS = 64
TEXTS_MAX = 40
# So that an outage counts by how long it is, and not by how quickly the driver says no.
FAILED_PAUSE = 0.25
lock = threading.Lock()
stopped = threading.Event()


def plain(text):
    """Without numbers, but for those that say what it is."""
    return re.sub(r"(HTTP \d+|code=\d+|0x[0-9a-f]{4}\b)|0x[0-9a-f]+|\d+", lambda found: found.group(1) or "#", text)


def mesh_context(certs):
    """Reads the files for each connection that is opened."""

    class MeshContext(ssl.SSLContext):
        def wrap_socket(self, *args, **kwargs):
            self.load_verify_locations(certs + "/bundle.pem")
            self.load_cert_chain(certs + "/svid.pem", certs + "/key.pem")
            return super().wrap_socket(*args, **kwargs)

    context = MeshContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


class Client:
    def __init__(self, name, host, port, certs, per_second):
        self.name, self.pause = name, BURST / per_second
        self.requests, self.failed, self.opened, self.ended = 0, 0, 0, 0
        self.said = {}
        # By row: those that were answered, and those of which that is not known.
        self.done, self.unknown = {}, {}
        self.live = []
        client = self

        class Counted(Cluster.connection_class):
            @classmethod
            def factory(cls, *args, **kwargs):
                connection = super().factory(*args, **kwargs)
                with lock:
                    client.opened += 1
                    client.live.append(connection)
                return connection

        # The CPU is another process's for seconds at a time.
        profile = ExecutionProfile(
            load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(env["RF_DC"])),
            consistency_level=ConsistencyLevel.LOCAL_QUORUM,
            request_timeout=60,
        )
        self.cluster = Cluster(
            [host],
            port=port,
            connection_class=Counted,
            ssl_context=mesh_context(certs),
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            reconnection_policy=ExponentialReconnectionPolicy(0.25, 10.0, None),
            connect_timeout=15,
            control_connection_timeout=15,
        )
        self.session = self.cluster.connect()
        self.update = self.session.prepare("UPDATE soak.counters SET n = n + 1 WHERE id = ?")

    def work(self):
        count, due = 0, time.monotonic()
        while not stopped.is_set():
            asked, failed_before = [], self.failed
            for _ in range(BURST):
                count += 1
                row = "%s%s %d" % (env.get("RF_ROWS", ""), self.name, count % ROWS)
                asked.append((row, self.session.execute_async(self.update, [row])))
            for row, future in asked:
                try:
                    future.result()
                    self.done[row] = self.done.get(row, 0) + 1
                    self.requests += 1
                except Exception as error:
                    self.unknown[row] = self.unknown.get(row, 0) + 1
                    self.fail(error)
            if self.failed > failed_before:
                stopped.wait(FAILED_PAUSE)
            due = max(due + self.pause, time.monotonic() - 1)
            stopped.wait(max(0, due - time.monotonic()))

    def fail(self, error):
        inner = getattr(error, "errors", None)
        # NoHostAvailable has them in its text, too, in the order in which hosts were asked.
        own = error.args[0] if isinstance(inner, dict) and error.args else error
        said = [plain("%s: %s" % (type(error).__name__, own))]
        if isinstance(inner, dict):
            said += sorted({plain(repr(why)) for why in inner.values()})
        text = "; ".join(said)[:500]
        with lock:
            self.requests += 1
            self.failed += 1
            if text not in self.said and len(self.said) >= TEXTS_MAX:
                text = "other"
            self.said[text] = self.said.get(text, 0) + 1

    def counts(self):
        with lock:
            self.ended += sum(1 for one in self.live if one.is_closed or one.is_defunct)
            self.live = [one for one in self.live if not (one.is_closed or one.is_defunct)]
            counts = {"requests": self.requests, "failed": self.failed, "opened": self.opened, "ended": self.ended}
            return {**counts, "said": dict(self.said)}


clients = [
    Client(one["name"], one["host"], one["port"], one["certs"], one["perSecond"]) for one in json.loads(env["RF_CLIENTS"])
]


def show(**more):
    counts = {client.name: client.counts() for client in clients}
    with lock:
        print(json.dumps({"clients": counts, **more}), flush=True)


threads = [threading.Thread(target=client.work) for client in clients]
for thread in threads:
    thread.start()


def shows():
    while not stopped.wait(1):
        show()


threading.Thread(target=shows, daemon=True).start()
sys.stdin.read()
stopped.set()
for thread in threads:
    thread.join()
rows = {}
for client in clients:
    for row in {*client.done, *client.unknown}:
        rows[row] = [client.done.get(row, 0), client.unknown.get(row, 0)]
show(increments=rows)
sys.stdout.flush()
os._exit(0)
