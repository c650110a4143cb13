"""The driver program for Python `cassandra-driver` (protocol v5 and v4), as published on PyPI.

It takes its target from the environment (see test/e2e/README.md), runs the cases of ../cases.ts and prints one line each.
"""

import os
import ssl
import sys
import uuid
from datetime import datetime
from decimal import Decimal

from cassandra import ConsistencyLevel, InvalidRequest, Unauthorized
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy, WhiteListRoundRobinPolicy
from cassandra.protocol import SyntaxException
from cassandra.query import UNSET_VALUE, BatchStatement, BatchType, SimpleStatement
from cassandra.util import Date, Duration, Time

env = os.environ
CONTACTS = [tuple(c.rsplit(":", 1)) for c in env.get("RF_CONTACTS", "127.0.0.1:9042").split(",")]
LOCAL_DC = env.get("RF_DC", "datacenter1")
PREFIX = env.get("RF_KEYSPACE", "e2e_python")
FIRST, SECOND = PREFIX + "_a", PREFIX + "_b"
REPLICATION = "{'class': 'NetworkTopologyStrategy', '%s': %s}" % (LOCAL_DC, env.get("RF_REPLICATION", "1"))
PROTOCOL = int(env.get("RF_PROTOCOL", "5"))
COMPRESSION = env.get("RF_COMPRESSION", "none")

TIMEUUID = uuid.UUID("50554d6e-29bb-11e5-b345-feff819cdc9f")
SAMPLES = [
    ("ascii", "plain ascii"),
    ("bigint", -(2**63)),
    ("blob", bytes([0, 1, 0x7F, 0x80, 0xFF])),
    ("boolean", True),
    ("date", Date("1969-07-20")),
    ("decimal", Decimal("-123456789.000000001")),
    ("double", -1.7976931348623157e308),
    ("duration", Duration(1, 2, 3)),
    ("float", 1.5),
    ("inet", "2001:db8::ff"),
    ("int", -(2**31)),
    ("smallint", -32768),
    ("text", "grüße, 世界 🚀"),
    ("time", Time("23:59:59.999999999")),
    ("timestamp", datetime(1969, 12, 31, 23, 59, 59, 999000)),
    ("timeuuid", TIMEUUID),
    ("tinyint", -128),
    ("uuid", uuid.UUID("f4c2a2a0-6d2b-4d0b-9c0e-1a2b3c4d5e6f")),
    ("varchar", ""),
    ("varint", -(2**127) - 1),
]


def open_cluster(identity="", single_host=False):
    """A cluster object of one identity; without RF_TLS a plain connection."""
    policy = (
        WhiteListRoundRobinPolicy([CONTACTS[0][0]])
        if single_host
        else TokenAwarePolicy(DCAwareRoundRobinPolicy(LOCAL_DC))
    )
    profile = ExecutionProfile(
        load_balancing_policy=policy, consistency_level=ConsistencyLevel.LOCAL_QUORUM, request_timeout=20
    )
    options = {}
    if env.get("RF_USER"):
        options["auth_provider"] = PlainTextAuthProvider(env["RF_USER"], env.get("RF_PASSWORD", ""))
    if env.get("RF_TLS") == "1":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(env["RF_CA"])
        context.load_cert_chain(env["RF_%sCERT" % identity], env["RF_%sKEY" % identity])
        options["ssl_context"] = context
        server_name = env.get("RF_SERVER_NAME")
        if server_name:
            context.check_hostname = True
            options["ssl_options"] = {"server_hostname": server_name}
    return Cluster(
        [(host, int(port)) for host, port in CONTACTS],
        port=int(CONTACTS[0][1]),
        protocol_version=PROTOCOL,
        compression=False if COMPRESSION == "none" else COMPRESSION,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        connect_timeout=10,
        control_connection_timeout=10,
        # A change that a node was not told of it pulls within a minute (Cassandra's MigrationCoordinator).
        max_schema_agreement_wait=70,
        **options,
    )


failures = 0
next_key = 100


def run(name, body, *args):
    global failures
    try:
        body(*args)
        print("ok", name, flush=True)
    except Exception as error:
        failures += 1
        where = error.__traceback__
        while where.tb_next is not None:
            where = where.tb_next
        why = " ".join(str(error).split())
        at = "%s:%d" % (os.path.basename(where.tb_frame.f_code.co_filename), where.tb_lineno)
        print("not ok %s: %s: %s (%s)" % (name, type(error).__name__, why, at), flush=True)


def check(got, want):
    if got != want:
        raise AssertionError("want %r, got %r" % (want, got))


cluster = open_cluster()
session = None


def connect():
    global session
    session = cluster.connect()
    check(cluster.protocol_version, PROTOCOL)
    if COMPRESSION != "none":
        [connection] = cluster.get_connection_holders()[:1][0].get_connections()[:1]
        if connection.compressor is None and not getattr(connection, "_segment_codec", None):
            raise AssertionError("the connection is not compressed")


def hosts():
    known = cluster.metadata.all_hosts()
    if len(known) < int(env.get("RF_HOSTS_MIN", "1")):
        raise AssertionError("%d hosts known" % len(known))
    for host in known:
        check(host.is_up, True)
        check(host.datacenter, LOCAL_DC)


def agreed(cql):
    result = session.execute(cql, timeout=40)
    check(result.response_future.is_schema_agreed, True)


def schema_change():
    for keyspace in (FIRST, SECOND):
        agreed("DROP KEYSPACE IF EXISTS " + keyspace)
        agreed("CREATE KEYSPACE %s WITH replication = %s" % (keyspace, REPLICATION))
    natives = ", ".join("c_%s %s" % (name, name) for name, _ in SAMPLES)
    agreed("CREATE TABLE %s.natives (k int PRIMARY KEY, %s)" % (FIRST, natives))
    agreed("CREATE TYPE %s.address (street text, number int, tags frozen<list<text>>)" % FIRST)
    agreed(
        "CREATE TABLE %s.shapes (k int PRIMARY KEY, l list<int>, s set<text>, m map<text, int>,"
        " n map<text, frozen<list<frozen<list<text>>>>>, t tuple<int, text, boolean>,"
        " u frozen<address>, v vector<float, 3>)" % FIRST
    )
    agreed("CREATE TABLE %s.rows (p int, c int, v text, PRIMARY KEY (p, c))" % FIRST)
    agreed("CREATE TABLE %s.kv (k int PRIMARY KEY, v text)" % FIRST)
    agreed("CREATE TABLE %s.kv (k int PRIMARY KEY, v text)" % SECOND)
    agreed("CREATE TABLE %s.counters (k int PRIMARY KEY, c counter)" % FIRST)

    agreed("CREATE TABLE %s.brief (k int PRIMARY KEY, v text)" % FIRST)
    tables = lambda: cluster.metadata.keyspaces[FIRST].tables  # noqa: E731
    check(sorted(tables()["brief"].columns), ["k", "v"])
    agreed("ALTER TABLE %s.brief ADD w int" % FIRST)
    check(sorted(tables()["brief"].columns), ["k", "v", "w"])
    agreed("DROP TABLE %s.brief" % FIRST)
    check("brief" in tables(), False)


def prepare_and_execute():
    insert = session.prepare("INSERT INTO %s.kv (k, v) VALUES (?, ?)" % FIRST)
    session.execute(insert, (1, "one"))
    select = session.prepare("SELECT v FROM %s.kv WHERE k = ?" % FIRST)
    check(session.execute(select, (1,)).one().v, "one")
    named = session.prepare("SELECT v FROM %s.kv WHERE k = :key" % FIRST)
    check(session.execute(named, {"key": 1}).one().v, "one")


def round_trip(table, column, value):
    global next_key
    next_key += 1
    insert = session.prepare("INSERT INTO %s.%s (k, %s) VALUES (?, ?)" % (FIRST, table, column))
    session.execute(insert, (next_key, value))
    select = session.prepare("SELECT %s FROM %s.%s WHERE k = ?" % (column, FIRST, table))
    return session.execute(select, (next_key,)).one()[0]


def bind(table, column, value, convert=lambda got: got):
    check(convert(round_trip(table, column, value)), value)


def bind_counter():
    session.execute(session.prepare("UPDATE %s.counters SET c = c + ? WHERE k = ?" % FIRST), (7, 1))
    session.execute(session.prepare("UPDATE %s.counters SET c = c - ? WHERE k = ?" % FIRST), (2, 1))
    check(session.execute("SELECT c FROM %s.counters WHERE k = 1" % FIRST).one().c, 5)


def natives_of(key):
    return tuple(session.execute("SELECT c_text, c_int FROM %s.natives WHERE k = %d" % (FIRST, key)).one())


def bind_null():
    insert = session.prepare("INSERT INTO %s.natives (k, c_text, c_int) VALUES (?, ?, ?)" % FIRST)
    session.execute(insert, (1, "here", 5))
    session.execute(insert, (1, None, None))
    check(natives_of(1), (None, None))


def bind_unset():
    insert = session.prepare("INSERT INTO %s.natives (k, c_text, c_int) VALUES (?, ?, ?)" % FIRST)
    session.execute(insert, (2, "stays", 5))
    session.execute(insert, (2, UNSET_VALUE, 6))
    check(natives_of(2), ("stays", 6))


def large_value():
    """A mebibyte of bytes that do not compress: several segments of v5, each way."""
    put = os.urandom(1024 * 1024)
    if round_trip("natives", "c_blob", put) != put:
        raise AssertionError("the bytes that came back differ")


def plain_map(got):
    return {key: [list(inner) for inner in outer] for key, outer in got.items()}


def bind_udt():
    put = ("Hauptstraße", 7, ["home", "old"])
    got = round_trip("shapes", "u", put)
    check((got.street, got.number, list(got.tags)), put)


def paging():
    insert = session.prepare("INSERT INTO %s.rows (p, c, v) VALUES (?, ?, ?)" % FIRST)
    for start in range(0, 10_000, 100):
        batch = BatchStatement(BatchType.UNLOGGED)
        for row in range(start, start + 100):
            batch.add(insert, (start // 1000, row, "row %d" % row))
        session.execute(batch)

    # The driver's own paging of a prepared statement.
    select = session.prepare("SELECT p, c, v FROM %s.rows" % FIRST)
    select.fetch_size = 500
    seen = set()
    for row in session.execute(select):
        check(row.v, "row %d" % row.c)
        seen.add(row.c)
    check(len(seen), 10_000)

    # By hand with paging states of a plain statement, each page on a new request.
    plain = SimpleStatement("SELECT c FROM %s.rows" % FIRST, fetch_size=500)
    count, pages, state = 0, 0, None
    while True:
        result = session.execute(plain, paging_state=state)
        if len(result.current_rows) > 500:
            raise AssertionError("a page of %d rows" % len(result.current_rows))
        count += len(result.current_rows)
        pages += 1
        state = result.paging_state
        if state is None:
            break
    check(count, 10_000)
    if pages < 20:
        raise AssertionError("%d pages" % pages)


def kv_of(*keys):
    rows = session.execute("SELECT k, v FROM %s.kv WHERE k IN (%s)" % (FIRST, ", ".join(map(str, keys))))
    return [row.v for row in sorted(rows, key=lambda row: row.k)]


def batch_of(kind, base):
    insert = session.prepare("INSERT INTO %s.kv (k, v) VALUES (?, ?)" % FIRST)
    batch = BatchStatement(kind)
    for key in range(base, base + 3):
        batch.add(insert, (key, "b%d" % key))
    session.execute(batch)
    check(kv_of(base, base + 1, base + 2), ["b%d" % key for key in range(base, base + 3)])


def batch_counter():
    update = session.prepare("UPDATE %s.counters SET c = c + ? WHERE k = ?" % FIRST)
    batch = BatchStatement(BatchType.COUNTER)
    batch.add(update, (2, 2))
    batch.add(SimpleStatement("UPDATE %s.counters SET c = c + 3 WHERE k = 3" % FIRST))
    session.execute(batch)
    rows = session.execute("SELECT k, c FROM %s.counters WHERE k IN (2, 3)" % FIRST)
    check(sorted(row.c for row in rows), [2, 3])


def batch_mixed():
    insert = session.prepare("INSERT INTO %s.kv (k, v) VALUES (?, ?)" % FIRST)
    batch = BatchStatement(BatchType.LOGGED)
    batch.add("INSERT INTO %s.kv (k, v) VALUES (1020, 'literal')" % FIRST)
    batch.add(insert, (1021, "prepared"))
    batch.add(SimpleStatement("INSERT INTO %s.kv (k, v) VALUES (%%s, %%s)" % FIRST), (1022, "formatted"))
    batch.add(insert, (1023, "prepared again"))
    session.execute(batch)
    check(kv_of(1020, 1021, 1022, 1023), ["literal", "prepared", "formatted", "prepared again"])


def lwt():
    insert = session.prepare("INSERT INTO %s.kv (k, v) VALUES (?, ?) IF NOT EXISTS" % FIRST)
    check(session.execute(insert, (2000, "first")).was_applied, True)
    refused = session.execute(insert, (2000, "second"))
    check(refused.was_applied, False)
    check(refused.one().v, "first")
    update = session.prepare("UPDATE %s.kv SET v = ? WHERE k = ? IF v = ?" % FIRST)
    differs = session.execute(update, ("third", 2000, "other"))
    check((differs.was_applied, differs.one().v), (False, "first"))
    check(session.execute(update, ("third", 2000, "first")).was_applied, True)


def tracing():
    result = session.execute("SELECT v FROM %s.kv WHERE k = 1" % FIRST, trace=True)
    trace = result.get_query_trace(max_wait_sec=10)
    if not trace.events:
        raise AssertionError("no trace events")


def use():
    other = cluster.connect()
    try:
        other.execute("USE " + FIRST)
        other.execute("INSERT INTO kv (k, v) VALUES (3000, 'in a')")
        other.execute("USE " + SECOND)
        check(other.keyspace, SECOND)
        other.execute("INSERT INTO kv (k, v) VALUES (3000, 'in b')")
        select = other.prepare("SELECT v FROM kv WHERE k = ?")
        check(other.execute(select, (3000,)).one().v, "in b")
        other.set_keyspace(FIRST)
        check(other.execute("SELECT v FROM kv WHERE k = 3000").one().v, "in a")
    finally:
        other.shutdown()


def in_flight():
    """One connection to one host, 1,000 requests sent before an answer is looked at; each must get its own row."""
    single = open_cluster(single_host=True)
    try:
        one = single.connect()
        insert = one.prepare("INSERT INTO %s.kv (k, v) VALUES (?, ?)" % FIRST)
        keys = range(10_000, 11_000)
        for future in [one.execute_async(insert, (key, "value of %d" % key)) for key in keys]:
            future.result()
        select = one.prepare("SELECT k, v FROM %s.kv WHERE k = ?" % FIRST)
        futures = [one.execute_async(select, (key,)) for key in keys]
        [pool] = one.get_pool_state().values()
        check(pool["open_count"], 1)
        for key, future in zip(keys, futures):
            row = future.result().one()
            check((row.k, row.v), (key, "value of %d" % key))
    finally:
        single.shutdown()


def raises(kind, using, statement, *args):
    try:
        using.execute(statement, *args)
    except kind:
        return
    raise AssertionError("no %s from %s" % (kind.__name__, statement))


def still_usable(using):
    check(using.execute("SELECT key FROM system.local WHERE key = 'local'").one().key, "local")


def error_syntax():
    raises(SyntaxException, session, "SELEKT * FROM nothing")
    still_usable(session)


def error_unknown_table():
    raises(InvalidRequest, session, "SELECT * FROM %s.nothing_here" % FIRST)
    try:
        session.prepare("SELECT * FROM %s.nothing_here WHERE k = ?" % FIRST)
        raise AssertionError("the unknown table was prepared")
    except InvalidRequest:
        pass
    still_usable(session)


def prepared_is_refused(using, cql, values):
    """Cassandra refuses the EXECUTE, the mesh already the PREPARE."""
    try:
        using.execute(using.prepare(cql), values)
    except Unauthorized:
        return
    raise AssertionError("executed without rights: " + cql)


def refused_reader():
    other = open_cluster("READER_")
    try:
        reader = other.connect()
        select = reader.prepare("SELECT v FROM %s.kv WHERE k = ?" % FIRST)
        check(reader.execute(select, (1,)).one().v, "one")
        raises(Unauthorized, reader, "INSERT INTO %s.kv (k, v) VALUES (1, 'changed')" % FIRST)
        prepared_is_refused(reader, "INSERT INTO %s.kv (k, v) VALUES (?, ?)" % FIRST, (1, "changed"))
        batch = BatchStatement()
        batch.add("INSERT INTO %s.kv (k, v) VALUES (1, 'changed')" % FIRST)
        raises(Unauthorized, reader, batch)
        check(reader.execute(select, (1,)).one().v, "one")
    finally:
        other.shutdown()


def refused_nobody():
    other = open_cluster("NOBODY_")
    try:
        nobody = other.connect()
        raises(Unauthorized, nobody, "SELECT v FROM %s.kv WHERE k = 1" % FIRST)
        still_usable(nobody)
        prepared_is_refused(nobody, "SELECT v FROM %s.kv WHERE k = ?" % FIRST, (1,))
        still_usable(nobody)
    finally:
        other.shutdown()


def main():
    run("connect", connect)
    run("hosts", hosts)
    run("schema change", schema_change)
    run("prepare and execute", prepare_and_execute)
    for name, value in SAMPLES:
        run("bind " + name, bind, "natives", "c_" + name, value)
    run("bind counter", bind_counter)
    run("bind null", bind_null)
    run("bind unset", bind_unset)
    run("large value", large_value)
    run("collection list", bind, "shapes", "l", [3, 1, 2], list)
    run("collection set", bind, "shapes", "s", {"a", "b", "ü"}, set)
    run("collection map", bind, "shapes", "m", {"one": 1, "two": 2}, dict)
    run("collection nested frozen", bind, "shapes", "n", {"k": [["x", "y"], ["z"]]}, plain_map)
    run("tuple", bind, "shapes", "t", (7, "seven", True), tuple)
    run("udt", bind_udt)
    run("vector", bind, "shapes", "v", [0.5, -1.25, 3.0], list)
    run("paging 10000", paging)
    run("batch logged", batch_of, BatchType.LOGGED, 1000)
    run("batch unlogged", batch_of, BatchType.UNLOGGED, 1010)
    run("batch counter", batch_counter)
    run("batch mixed", batch_mixed)
    run("lwt", lwt)
    run("tracing", tracing)
    run("use", use)
    run("in flight 1000", in_flight)
    run("error syntax", error_syntax)
    run("error unknown table", error_unknown_table)
    for name, body, variable in (
        ("refused reader", refused_reader, "RF_READER_CERT"),
        ("refused nobody", refused_nobody, "RF_NOBODY_CERT"),
    ):
        if env.get(variable):
            run(name, body)
        else:
            print("ok %s # skip no such identity given" % name, flush=True)
    for keyspace in (FIRST, SECOND):
        try:
            session.execute("DROP KEYSPACE IF EXISTS " + keyspace, timeout=40)
        except Exception:
            pass  # the cases above have said what is wrong
    cluster.shutdown()
    sys.exit(1 if failures else 0)


main()
