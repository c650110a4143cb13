"""An application with Python `cassandra-driver`, which reads a row again and again until its input ends. Its token is in a file that somebody else
renews; the driver reads it for each connection. Prints {"answered": ..., "failed": ..., "error": ...} four times a second.
"""

import json
import os
import ssl
import sys
import threading
import time

from cassandra.auth import AuthProvider, PlainTextAuthenticator
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import DCAwareRoundRobinPolicy, ExponentialReconnectionPolicy, TokenAwarePolicy
from cassandra.query import SimpleStatement

env = os.environ


class TokenFromFile(PlainTextAuthenticator):
    """Reads it when it is asked: a driver that tries to reconnect makes one authenticator for all its attempts."""

    def __init__(self):
        self.username = "token"

    @property
    def password(self):
        with open(env["RF_TOKEN_FILE"], encoding="utf-8") as file:
            return file.read().strip()


class TokensFromFile(AuthProvider):
    def new_authenticator(self, _host):
        return TokenFromFile()


context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.load_verify_locations(env["RF_CA"])
policy = TokenAwarePolicy(DCAwareRoundRobinPolicy(env["RF_DC"]))
cluster = Cluster(
    [env["RF_HOST"]],
    port=int(env["RF_PORT"]),
    protocol_version=5,
    ssl_context=context,
    auth_provider=TokensFromFile(),
    execution_profiles={EXEC_PROFILE_DEFAULT: ExecutionProfile(load_balancing_policy=policy, request_timeout=5)},
    # The default doubles its wait up to ten minutes.
    reconnection_policy=ExponentialReconnectionPolicy(1.0, 10.0, None),
    # Of the first connection, on a machine where all applications start at once.
    connect_timeout=30,
    control_connection_timeout=30,
)
session = cluster.connect()
statement = SimpleStatement(env["RF_QUERY"], is_idempotent=True)

lock = threading.Lock()
answered, failed, said = 0, 0, None
stopped = threading.Event()


def work():
    global answered, failed, said
    while not stopped.is_set():
        try:
            session.execute(statement)
            with lock:
                answered += 1
        except Exception as error:  # noqa: BLE001 (whatever the driver throws, it does not work now)
            with lock:
                failed += 1
                said = "%s: %s" % (type(error).__name__, error)
        time.sleep(0.05)


def show():
    with lock:
        print(json.dumps({"answered": answered, "failed": failed, "error": said}), flush=True)


def shows():
    while not stopped.is_set():
        show()
        time.sleep(0.25)


threads = [threading.Thread(target=work) for _ in range(2)]
for thread in [*threads, threading.Thread(target=shows, daemon=True)]:
    thread.start()
sys.stdin.read()
stopped.set()
for thread in threads:
    thread.join()
show()
cluster.shutdown()
