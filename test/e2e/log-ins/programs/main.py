"""Logs in by each piece of evidence of RF_CASES in turn with Python `cassandra-driver`, asks for what is permitted and for what is not, and prints
a line for each (../cases.ts says what).
"""

import logging
import os
import ssl

from cassandra import ConsistencyLevel, Unauthorized
from cassandra.auth import AuthProvider, PlainTextAuthenticator, PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy

logging.disable(logging.CRITICAL)
env = os.environ


class OnBehalf(PlainTextAuthenticator):
    def __init__(self, user, password, behalf):
        super().__init__(user, password)
        self.behalf = behalf

    def initial_response(self):
        return "\0".join((self.behalf, self.username, self.password)).encode()


class OnBehalfProvider(AuthProvider):
    def __init__(self, *proof):
        self.proof = proof

    def new_authenticator(self, host):
        return OnBehalf(*self.proof)


def credentials(user, password, behalf):
    if not password:
        return None
    return OnBehalfProvider(user, password, behalf) if behalf else PlainTextAuthProvider(user, password)


def open_cluster(user, password, cert_file, key_file, behalf):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(env["RF_CA"])
    if cert_file:
        context.load_cert_chain(cert_file, key_file)
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(env["RF_DC"])),
        consistency_level=ConsistencyLevel.LOCAL_ONE,
        request_timeout=20,
    )
    return Cluster(
        [env["RF_HOST"]],
        port=int(env["RF_PORT"]),
        protocol_version=5,
        ssl_context=context,
        auth_provider=credentials(user, password, behalf),
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        # It does not notice a connection that closes while it logs in, and waits for this.
        connect_timeout=10,
        control_connection_timeout=20,
    )


def say(*words):
    print("\t".join(" ".join(word.split()) for word in words), flush=True)


def words_of(error):
    return "%s: %s" % (type(error).__name__, error)


def denial_of(session, token):
    try:
        session.execute(env["RF_FORBIDDEN"], execute_as=token)
        return "it was permitted"
    except Unauthorized as error:
        return "denied: %s" % error
    except Exception as error:  # noqa: BLE001 (what the driver throws is what is looked at)
        return "failed: %s" % words_of(error)


with open(env["RF_CASES"], encoding="utf-8") as file:
    cases = [line.split("\t") for line in file.read().split("\n") if line]
for name, *evidence in cases:
    cluster = open_cluster(*evidence)
    try:
        session = cluster.connect()
    except Exception as error:  # noqa: BLE001
        say(name, "refused", words_of(error))
        cluster.shutdown()
        continue
    try:
        _user, password, _cert, _key, behalf = evidence
        token = behalf if behalf and not password else None
        row = session.execute(env["RF_PERMITTED"], execute_as=token).one()
        say(name, "in", str(row[0]), denial_of(session, token))
    except Exception as error:  # noqa: BLE001
        say(name, "failed", words_of(error))
    cluster.shutdown()
