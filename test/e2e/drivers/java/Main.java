import com.datastax.oss.driver.api.core.CqlIdentifier;
import com.datastax.oss.driver.api.core.CqlSession;
import com.datastax.oss.driver.api.core.CqlSessionBuilder;
import com.datastax.oss.driver.api.core.config.DefaultDriverOption;
import com.datastax.oss.driver.api.core.config.DriverConfigLoader;
import com.datastax.oss.driver.api.core.config.ProgrammaticDriverConfigLoaderBuilder;
import com.datastax.oss.driver.api.core.cql.AsyncResultSet;
import com.datastax.oss.driver.api.core.cql.BatchStatement;
import com.datastax.oss.driver.api.core.cql.BatchStatementBuilder;
import com.datastax.oss.driver.api.core.cql.BatchType;
import com.datastax.oss.driver.api.core.cql.DefaultBatchType;
import com.datastax.oss.driver.api.core.cql.PreparedStatement;
import com.datastax.oss.driver.api.core.cql.QueryTrace;
import com.datastax.oss.driver.api.core.cql.ResultSet;
import com.datastax.oss.driver.api.core.cql.Row;
import com.datastax.oss.driver.api.core.cql.SimpleStatement;
import com.datastax.oss.driver.api.core.cql.Statement;
import com.datastax.oss.driver.api.core.data.CqlDuration;
import com.datastax.oss.driver.api.core.data.CqlVector;
import com.datastax.oss.driver.api.core.data.TupleValue;
import com.datastax.oss.driver.api.core.data.UdtValue;
import com.datastax.oss.driver.api.core.metadata.Node;
import com.datastax.oss.driver.api.core.metadata.schema.TableMetadata;
import com.datastax.oss.driver.api.core.servererrors.InvalidQueryException;
import com.datastax.oss.driver.api.core.servererrors.SyntaxError;
import com.datastax.oss.driver.api.core.servererrors.UnauthorizedException;
import com.datastax.oss.driver.api.core.type.TupleType;
import com.datastax.oss.driver.api.core.type.UserDefinedType;
import java.io.InputStream;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalTime;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.CompletionStage;
import java.util.stream.Collectors;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * The driver program for Java `java-driver-core` 4.x (protocol v5 and v4), as published on Maven Central. It takes its target from
 * the environment (see test/e2e/README.md), runs the cases of ../cases.ts and prints one line each.
 */
public final class Main {
  private static final List<String> CONTACTS = List.of(env("RF_CONTACTS", "127.0.0.1:9042").split(","));
  private static final String LOCAL_DC = env("RF_DC", "datacenter1");
  private static final String FIRST = env("RF_KEYSPACE", "e2e_java") + "_a";
  private static final String SECOND = env("RF_KEYSPACE", "e2e_java") + "_b";
  private static final String REPLICATION =
      "{'class': 'NetworkTopologyStrategy', '" + LOCAL_DC + "': " + env("RF_REPLICATION", "1") + "}";
  private static final String PROTOCOL = "V" + env("RF_PROTOCOL", "5");

  private interface Body {
    void run() throws Exception;
  }

  private static CqlSession session;
  private static int failures = 0;
  private static int nextKey = 100;

  private static String env(String name, String otherwise) {
    String value = System.getenv(name);
    return value == null || value.isEmpty() ? otherwise : value;
  }

  /** A session builder of one identity; without RF_TLS a plain connection. */
  private static CqlSessionBuilder builder(String identity) throws Exception {
    ProgrammaticDriverConfigLoaderBuilder options =
        DriverConfigLoader.programmaticBuilder()
            .withString(DefaultDriverOption.PROTOCOL_VERSION, PROTOCOL)
            .withString(DefaultDriverOption.PROTOCOL_COMPRESSION, env("RF_COMPRESSION", "none"))
            .withString(DefaultDriverOption.REQUEST_CONSISTENCY, "LOCAL_QUORUM")
            .withDuration(DefaultDriverOption.REQUEST_TIMEOUT, Duration.ofSeconds(20))
            .withDuration(DefaultDriverOption.CONNECTION_INIT_QUERY_TIMEOUT, Duration.ofSeconds(10))
            .withDuration(DefaultDriverOption.CONTROL_CONNECTION_TIMEOUT, Duration.ofSeconds(10))
            // A change that a node was not told of it pulls within a minute (Cassandra's MigrationCoordinator).
            .withDuration(DefaultDriverOption.CONTROL_CONNECTION_AGREEMENT_TIMEOUT, Duration.ofSeconds(70))
            .withDuration(DefaultDriverOption.METADATA_SCHEMA_WINDOW, Duration.ofMillis(50))
            // Cassandra writes its traces after the answer; the driver's five attempts are over after fifteen milliseconds.
            .withInt(DefaultDriverOption.REQUEST_TRACE_ATTEMPTS, 100)
            .withDuration(DefaultDriverOption.REQUEST_TRACE_INTERVAL, Duration.ofMillis(100))
            .withInt(DefaultDriverOption.CONNECTION_MAX_REQUESTS, 2048)
            .withInt(DefaultDriverOption.CONNECTION_POOL_LOCAL_SIZE, 1);
    CqlSessionBuilder builder = CqlSession.builder().withConfigLoader(options.build()).withLocalDatacenter(LOCAL_DC);
    for (String contact : CONTACTS) {
      int colon = contact.lastIndexOf(':');
      builder.addContactPoint(
          new InetSocketAddress(contact.substring(0, colon), Integer.parseInt(contact.substring(colon + 1))));
    }
    if (!env("RF_USER", "").isEmpty()) builder.withAuthCredentials(env("RF_USER", ""), env("RF_PASSWORD", ""));
    if (env("RF_TLS", "").equals("1")) {
      builder.withSslContext(
          sslContext(env("RF_CA", ""), env("RF_" + identity + "CERT", ""), env("RF_" + identity + "KEY", "")));
    }
    return builder;
  }

  /** A TLS context out of PEM files (the key in PKCS#8, elliptic curve or RSA); the chain of the server is always verified. */
  private static SSLContext sslContext(String caPath, String certPath, String keyPath) throws Exception {
    KeyStore trusted = KeyStore.getInstance("PKCS12");
    trusted.load(null, null);
    for (Certificate certificate : certificates(caPath)) {
      trusted.setCertificateEntry("ca" + trusted.size(), certificate);
    }
    TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(trusted);

    KeyStore own = KeyStore.getInstance("PKCS12");
    own.load(null, null);
    own.setKeyEntry("own", privateKey(keyPath), new char[0], certificates(certPath).toArray(new Certificate[0]));
    KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
    keys.init(own, new char[0]);

    SSLContext context = SSLContext.getInstance("TLS");
    context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
    return context;
  }

  private static Collection<? extends Certificate> certificates(String path) throws Exception {
    try (InputStream in = Files.newInputStream(Path.of(path))) {
      return CertificateFactory.getInstance("X.509").generateCertificates(in);
    }
  }

  private static PrivateKey privateKey(String path) throws Exception {
    String pem = Files.readString(Path.of(path)).replaceAll("-----[A-Z ]+-----", "").replaceAll("\\s", "");
    PKCS8EncodedKeySpec spec = new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem));
    try {
      return KeyFactory.getInstance("EC").generatePrivate(spec);
    } catch (java.security.spec.InvalidKeySpecException notElliptic) {
      return KeyFactory.getInstance("RSA").generatePrivate(spec);
    }
  }

  private static void run(String name, Body body) {
    try {
      body.run();
      System.out.println("ok " + name);
    } catch (Throwable error) {
      failures++;
      String where = "";
      for (StackTraceElement frame : error.getStackTrace()) {
        if (frame.getClassName().equals("Main")) where = " (line " + frame.getLineNumber() + ")";
        if (!where.isEmpty()) break;
      }
      System.out.println(("not ok " + name + ": " + error + where).replaceAll("\\s+", " "));
    }
    System.out.flush();
  }

  private static void check(Object got, Object want) {
    if (!Objects.equals(got, want)) throw new AssertionError("want " + want + ", got " + got);
  }

  private static Row one(String cql, Object... values) {
    return session.execute(session.prepare(cql).bind(values)).one();
  }

  private static void exec(String cql, Object... values) {
    session.execute(session.prepare(cql).bind(values));
  }

  private static Map<String, Object> samples() throws Exception {
    Map<String, Object> samples = new LinkedHashMap<>();
    samples.put("ascii", "plain ascii");
    samples.put("bigint", Long.MIN_VALUE);
    samples.put("blob", ByteBuffer.wrap(new byte[] {0, 1, 0x7f, (byte) 0x80, (byte) 0xff}));
    samples.put("boolean", true);
    samples.put("date", LocalDate.of(1969, 7, 20));
    samples.put("decimal", new BigDecimal("-123456789.000000001"));
    samples.put("double", -Double.MAX_VALUE);
    samples.put("duration", CqlDuration.newInstance(1, 2, 3));
    samples.put("float", 1.5f);
    samples.put("inet", InetAddress.getByName("2001:db8::ff"));
    samples.put("int", Integer.MIN_VALUE);
    samples.put("smallint", Short.MIN_VALUE);
    samples.put("text", "grüße, 世界 🚀");
    samples.put("time", LocalTime.MAX);
    samples.put("timestamp", Instant.ofEpochMilli(-1));
    samples.put("timeuuid", UUID.fromString("50554d6e-29bb-11e5-b345-feff819cdc9f"));
    samples.put("tinyint", Byte.MIN_VALUE);
    samples.put("uuid", UUID.fromString("f4c2a2a0-6d2b-4d0b-9c0e-1a2b3c4d5e6f"));
    samples.put("varchar", "");
    samples.put("varint", new BigInteger("-170141183460469231731687303715884105729"));
    return samples;
  }

  private static void connect() throws Exception {
    session = builder("").build();
    check(session.getContext().getProtocolVersion().toString(), PROTOCOL);
  }

  private static void hosts() {
    Collection<Node> nodes = session.getMetadata().getNodes().values();
    if (nodes.size() < Integer.parseInt(env("RF_HOSTS_MIN", "1"))) throw new AssertionError(nodes.size() + " hosts known");
    for (Node node : nodes) {
      check(node.getDatacenter(), LOCAL_DC);
      if (node.getHostId() == null) throw new AssertionError("no host id: " + node);
    }
    if (session.getMetadata().getTokenMap().isEmpty()) throw new AssertionError("no token map");
  }

  private static void agreed(String cql) {
    ResultSet result = session.execute(SimpleStatement.newInstance(cql).setTimeout(Duration.ofSeconds(90)));
    if (result.getExecutionInfo().isSchemaInAgreement()) return;
    String versions =
        session.execute("SELECT schema_version FROM system.local").all().stream()
            .map(row -> "local " + row.getUuid(0))
            .collect(Collectors.joining())
            + session.execute("SELECT peer, schema_version FROM system.peers").all().stream()
                .map(row -> ", " + row.getInetAddress(0) + " " + row.getUuid(1))
                .collect(Collectors.joining());
    throw new AssertionError("the nodes do not agree on the schema after " + cql + ": " + versions);
  }

  /** The columns of a table once the driver's own metadata shows what is wanted, or what it shows after ten seconds. */
  private static Set<String> columnsOf(String table, Set<String> want) throws Exception {
    Set<String> got = null;
    for (int attempt = 0; attempt < 100; attempt++) {
      Optional<TableMetadata> found =
          session.getMetadata().getKeyspace(FIRST).flatMap(keyspace -> keyspace.getTable(table));
      got =
          found
              .map(t -> t.getColumns().keySet().stream().map(CqlIdentifier::asInternal).collect(Collectors.toSet()))
              .map(names -> (Set<String>) new TreeSet<>(names))
              .orElse(Set.of());
      if (got.equals(want)) return got;
      Thread.sleep(100);
    }
    return got;
  }

  private static void schemaChange() throws Exception {
    for (String keyspace : List.of(FIRST, SECOND)) {
      agreed("DROP KEYSPACE IF EXISTS " + keyspace);
      agreed("CREATE KEYSPACE " + keyspace + " WITH replication = " + REPLICATION);
    }
    String natives = samples().keySet().stream().map(name -> "c_" + name + " " + name).collect(Collectors.joining(", "));
    agreed("CREATE TABLE " + FIRST + ".natives (k int PRIMARY KEY, " + natives + ")");
    agreed("CREATE TYPE " + FIRST + ".address (street text, number int, tags frozen<list<text>>)");
    agreed(
        "CREATE TABLE " + FIRST + ".shapes (k int PRIMARY KEY, l list<int>, s set<text>, m map<text, int>,"
            + " n map<text, frozen<list<frozen<list<text>>>>>, t tuple<int, text, boolean>,"
            + " u frozen<address>, v vector<float, 3>)");
    agreed("CREATE TABLE " + FIRST + ".rows (p int, c int, v text, PRIMARY KEY (p, c))");
    agreed("CREATE TABLE " + FIRST + ".kv (k int PRIMARY KEY, v text)");
    agreed("CREATE TABLE " + SECOND + ".kv (k int PRIMARY KEY, v text)");
    agreed("CREATE TABLE " + FIRST + ".counters (k int PRIMARY KEY, c counter)");

    agreed("CREATE TABLE " + FIRST + ".brief (k int PRIMARY KEY, v text)");
    check(columnsOf("brief", Set.of("k", "v")), Set.of("k", "v"));
    agreed("ALTER TABLE " + FIRST + ".brief ADD w int");
    check(columnsOf("brief", Set.of("k", "v", "w")), Set.of("k", "v", "w"));
    agreed("DROP TABLE " + FIRST + ".brief");
    check(columnsOf("brief", Set.of()), Set.of());
  }

  private static void prepareAndExecute() {
    exec("INSERT INTO " + FIRST + ".kv (k, v) VALUES (?, ?)", 1, "one");
    check(one("SELECT v FROM " + FIRST + ".kv WHERE k = ?", 1).getString("v"), "one");
    Row named =
        session
            .execute(session.prepare("SELECT v FROM " + FIRST + ".kv WHERE k = :key").bind().setInt("key", 1))
            .one();
    check(named.getString("v"), "one");
    SimpleStatement simple = SimpleStatement.newInstance("SELECT v FROM " + FIRST + ".kv WHERE k = :key", Map.of("key", 1));
    check(session.execute(simple).one().getString("v"), "one");
  }

  private static Object roundTrip(String table, String column, Object value) {
    int key = nextKey++;
    exec("INSERT INTO " + FIRST + "." + table + " (k, " + column + ") VALUES (?, ?)", key, value);
    return one("SELECT " + column + " FROM " + FIRST + "." + table + " WHERE k = ?", key).getObject(0);
  }

  private static void bind(String table, String column, Object value) {
    check(roundTrip(table, column, value), value);
  }

  private static void bindCounter() {
    exec("UPDATE " + FIRST + ".counters SET c = c + ? WHERE k = ?", 7L, 1);
    exec("UPDATE " + FIRST + ".counters SET c = c - ? WHERE k = ?", 2L, 1);
    check(one("SELECT c FROM " + FIRST + ".counters WHERE k = ?", 1).getLong(0), 5L);
  }

  private static void bindNull() {
    String insert = "INSERT INTO " + FIRST + ".natives (k, c_text, c_int) VALUES (?, ?, ?)";
    exec(insert, 1, "here", 5);
    exec(insert, 1, null, null);
    Row row = one("SELECT c_text, c_int FROM " + FIRST + ".natives WHERE k = ?", 1);
    check(row.isNull("c_text") && row.isNull("c_int"), true);
  }

  private static void bindUnset() {
    PreparedStatement insert = session.prepare("INSERT INTO " + FIRST + ".natives (k, c_text, c_int) VALUES (?, ?, ?)");
    session.execute(insert.bind(2, "stays", 5));
    session.execute(insert.bind().setInt(0, 2).unset(1).setInt(2, 6));
    Row row = one("SELECT c_text, c_int FROM " + FIRST + ".natives WHERE k = ?", 2);
    check(row.getString("c_text"), "stays");
    check(row.getInt("c_int"), 6);
  }

  /** A mebibyte of bytes that do not compress: several segments of v5, each way. */
  private static void largeValue() {
    byte[] put = new byte[1024 * 1024];
    new Random(7).nextBytes(put);
    if (!roundTrip("natives", "c_blob", ByteBuffer.wrap(put)).equals(ByteBuffer.wrap(put))) {
      throw new AssertionError("the bytes that came back differ");
    }
  }

  private static void bindTuple() {
    TableMetadata shapes = session.getMetadata().getKeyspace(FIRST).get().getTable("shapes").get();
    TupleType type = (TupleType) shapes.getColumn("t").get().getType();
    TupleValue got = (TupleValue) roundTrip("shapes", "t", type.newValue(7, "seven", true));
    check(List.of(got.getInt(0), got.getString(1), got.getBoolean(2)), List.of(7, "seven", true));
  }

  private static void bindUdt() {
    UserDefinedType type = session.getMetadata().getKeyspace(FIRST).get().getUserDefinedType("address").get();
    UdtValue got = (UdtValue) roundTrip("shapes", "u", type.newValue("Hauptstraße", 7, List.of("home", "old")));
    check(got.getString("street"), "Hauptstraße");
    check(got.getInt("number"), 7);
    check(got.getList("tags", String.class), List.of("home", "old"));
  }

  private static void paging() {
    PreparedStatement insert = session.prepare("INSERT INTO " + FIRST + ".rows (p, c, v) VALUES (?, ?, ?)");
    for (int from = 0; from < 10_000; from += 100) {
      BatchStatementBuilder batch = BatchStatement.builder(DefaultBatchType.UNLOGGED);
      for (int row = from; row < from + 100; row++) batch.addStatement(insert.bind(from / 1000, row, "row " + row));
      session.execute(batch.build());
    }

    // The driver's own paging of a prepared statement.
    Set<Integer> seen = new HashSet<>();
    for (Row row : session.execute(session.prepare("SELECT c, v FROM " + FIRST + ".rows").bind().setPageSize(500))) {
      check(row.getString("v"), "row " + row.getInt("c"));
      seen.add(row.getInt("c"));
    }
    check(seen.size(), 10_000);

    // By hand, with the paging state of each page on a new request.
    SimpleStatement plain = SimpleStatement.newInstance("SELECT c FROM " + FIRST + ".rows").setPageSize(500);
    int count = 0;
    int pages = 0;
    ByteBuffer state = null;
    do {
      ResultSet page = session.execute(plain.setPagingState(state));
      int here = page.getAvailableWithoutFetching();
      if (here > 500) throw new AssertionError("a page of " + here + " rows");
      count += here;
      pages++;
      state = page.getExecutionInfo().getPagingState();
    } while (state != null);
    check(count, 10_000);
    if (pages < 20) throw new AssertionError(pages + " pages");
  }

  private static Map<Integer, String> kvOf(List<Integer> keys) {
    Map<Integer, String> got = new TreeMap<>();
    PreparedStatement select = session.prepare("SELECT k, v FROM " + FIRST + ".kv WHERE k IN ?");
    for (Row row : session.execute(select.bind(keys))) got.put(row.getInt("k"), row.getString("v"));
    return got;
  }

  private static void batch(BatchType kind, int base) {
    PreparedStatement insert = session.prepare("INSERT INTO " + FIRST + ".kv (k, v) VALUES (?, ?)");
    Map<Integer, String> want = new TreeMap<>();
    BatchStatementBuilder batch = BatchStatement.builder(kind);
    for (int key = base; key < base + 3; key++) {
      want.put(key, "b" + key);
      batch.addStatement(insert.bind(key, "b" + key));
    }
    session.execute(batch.build());
    check(kvOf(new ArrayList<>(want.keySet())), want);
  }

  private static void batchCounter() {
    PreparedStatement update = session.prepare("UPDATE " + FIRST + ".counters SET c = c + ? WHERE k = ?");
    session.execute(
        BatchStatement.builder(DefaultBatchType.COUNTER)
            .addStatement(update.bind(2L, 2))
            .addStatement(SimpleStatement.newInstance("UPDATE " + FIRST + ".counters SET c = c + 3 WHERE k = 3"))
            .build());
    check(one("SELECT c FROM " + FIRST + ".counters WHERE k = ?", 2).getLong(0), 2L);
    check(one("SELECT c FROM " + FIRST + ".counters WHERE k = ?", 3).getLong(0), 3L);
  }

  private static void batchMixed() {
    String into = "INSERT INTO " + FIRST + ".kv (k, v) VALUES ";
    PreparedStatement insert = session.prepare(into + "(?, ?)");
    session.execute(
        BatchStatement.builder(DefaultBatchType.LOGGED)
            .addStatement(SimpleStatement.newInstance(into + "(1020, 'literal')"))
            .addStatement(insert.bind(1021, "prepared"))
            .addStatement(SimpleStatement.newInstance(into + "(?, ?)", 1022, "with values"))
            .addStatement(insert.bind(1023, "prepared again"))
            .build());
    check(
        kvOf(List.of(1020, 1021, 1022, 1023)),
        Map.of(1020, "literal", 1021, "prepared", 1022, "with values", 1023, "prepared again"));
  }

  private static void lwt() {
    PreparedStatement insert = session.prepare("INSERT INTO " + FIRST + ".kv (k, v) VALUES (?, ?) IF NOT EXISTS");
    check(session.execute(insert.bind(2000, "first")).wasApplied(), true);
    ResultSet refused = session.execute(insert.bind(2000, "second"));
    check(refused.wasApplied(), false);
    check(refused.one().getString("v"), "first");
    PreparedStatement update = session.prepare("UPDATE " + FIRST + ".kv SET v = ? WHERE k = ? IF v = ?");
    ResultSet differs = session.execute(update.bind("third", 2000, "other"));
    check(differs.wasApplied(), false);
    check(differs.one().getString("v"), "first");
    check(session.execute(update.bind("third", 2000, "first")).wasApplied(), true);
  }

  private static void tracing() {
    SimpleStatement select = SimpleStatement.newInstance("SELECT v FROM " + FIRST + ".kv WHERE k = 1").setTracing(true);
    ResultSet result = session.execute(select);
    if (result.getExecutionInfo().getTracingId() == null) throw new AssertionError("no trace id");
    QueryTrace trace = result.getExecutionInfo().getQueryTrace();
    if (trace.getEvents().isEmpty()) throw new AssertionError("no trace events");
  }

  private static void use() throws Exception {
    try (CqlSession other = builder("").build()) {
      other.execute("USE " + FIRST);
      other.execute("INSERT INTO kv (k, v) VALUES (3000, 'in a')");
      other.execute("USE " + SECOND);
      check(other.getKeyspace().map(CqlIdentifier::asInternal).orElse(""), SECOND);
      other.execute("INSERT INTO kv (k, v) VALUES (3000, 'in b')");
      PreparedStatement select = other.prepare("SELECT v FROM kv WHERE k = ?");
      check(other.execute(select.bind(3000)).one().getString("v"), "in b");
      other.execute("USE " + FIRST);
      check(other.execute("SELECT v FROM kv WHERE k = 3000").one().getString("v"), "in a");
    }
    if (PROTOCOL.equals("V5")) { // only v5 can name the keyspace in a request
      SimpleStatement plain = SimpleStatement.newInstance("SELECT v FROM kv WHERE k = 3000");
      check(session.execute(plain.setKeyspace(FIRST)).one().getString("v"), "in a");
      check(session.execute(plain.setKeyspace(SECOND)).one().getString("v"), "in b");
      PreparedStatement inSecond = session.prepare(plain.setKeyspace(SECOND));
      check(session.execute(inSecond.bind()).one().getString("v"), "in b");
    }
  }

  /** One connection to one host, 1,000 requests sent before an answer is looked at; each must get its own row. */
  private static void inFlight() throws Exception {
    InetSocketAddress target =
        new InetSocketAddress(
            CONTACTS.get(0).substring(0, CONTACTS.get(0).lastIndexOf(':')),
            Integer.parseInt(CONTACTS.get(0).substring(CONTACTS.get(0).lastIndexOf(':') + 1)));
    Node node =
        session.getMetadata().findNode(target).orElseGet(() -> session.getMetadata().getNodes().values().iterator().next());
    // The pool holds one connection; the other that may be open to this host is the control connection.
    if (node.getOpenConnections() > 2) throw new AssertionError(node.getOpenConnections() + " connections");
    PreparedStatement insert = session.prepare("INSERT INTO " + FIRST + ".kv (k, v) VALUES (?, ?)");
    PreparedStatement select = session.prepare("SELECT k, v FROM " + FIRST + ".kv WHERE k = ?");
    List<CompletionStage<AsyncResultSet>> answers = new ArrayList<>();
    for (int key = 10_000; key < 11_000; key++) {
      Statement<?> write = insert.bind(key, "value of " + key).setNode(node);
      answers.add(session.executeAsync(write));
    }
    for (CompletionStage<AsyncResultSet> answer : answers) answer.toCompletableFuture().get();
    answers.clear();
    for (int key = 10_000; key < 11_000; key++) answers.add(session.executeAsync(select.bind(key).setNode(node)));
    for (int index = 0; index < 1000; index++) {
      Row row = answers.get(index).toCompletableFuture().get().one();
      check(row.getInt("k"), 10_000 + index);
      check(row.getString("v"), "value of " + (10_000 + index));
    }
  }

  private static void fails(Class<? extends Exception> kind, Body body) throws Exception {
    try {
      body.run();
    } catch (Exception error) {
      if (kind.isInstance(error)) return;
      throw error;
    }
    throw new AssertionError("no " + kind.getSimpleName());
  }

  private static void stillUsable(CqlSession using) {
    check(using.execute("SELECT key FROM system.local WHERE key = 'local'").one().getString("key"), "local");
  }

  private static void errorSyntax() throws Exception {
    fails(SyntaxError.class, () -> session.execute("SELEKT * FROM nothing"));
    fails(SyntaxError.class, () -> session.prepare("SELEKT * FROM nothing"));
    stillUsable(session);
  }

  private static void errorUnknownTable() throws Exception {
    fails(InvalidQueryException.class, () -> session.execute("SELECT * FROM " + FIRST + ".nothing_here"));
    fails(InvalidQueryException.class, () -> session.prepare("SELECT * FROM " + FIRST + ".nothing_here WHERE k = ?"));
    stillUsable(session);
  }

  private static void refusedReader() throws Exception {
    try (CqlSession reader = builder("READER_").build()) {
      PreparedStatement select = reader.prepare("SELECT v FROM " + FIRST + ".kv WHERE k = ?");
      check(reader.execute(select.bind(1)).one().getString("v"), "one");
      String into = "INSERT INTO " + FIRST + ".kv (k, v) VALUES ";
      fails(UnauthorizedException.class, () -> reader.execute(into + "(1, 'changed')"));
      fails(UnauthorizedException.class, () -> reader.execute(reader.prepare(into + "(?, ?)").bind(1, "changed")));
      BatchStatement batch =
          BatchStatement.newInstance(DefaultBatchType.LOGGED, SimpleStatement.newInstance(into + "(1, 'changed')"));
      fails(UnauthorizedException.class, () -> reader.execute(batch));
      check(reader.execute(select.bind(1)).one().getString("v"), "one");
    }
  }

  private static void refusedNobody() throws Exception {
    try (CqlSession nobody = builder("NOBODY_").build()) {
      fails(UnauthorizedException.class, () -> nobody.execute("SELECT v FROM " + FIRST + ".kv WHERE k = 1"));
      stillUsable(nobody);
      String select = "SELECT v FROM " + FIRST + ".kv WHERE k = ?";
      fails(UnauthorizedException.class, () -> nobody.execute(nobody.prepare(select).bind(1)));
      stillUsable(nobody);
    }
  }

  public static void main(String[] arguments) throws Exception {
    run("connect", Main::connect);
    if (session == null) System.exit(1);
    run("hosts", Main::hosts);
    run("schema change", Main::schemaChange);
    run("prepare and execute", Main::prepareAndExecute);
    for (Map.Entry<String, Object> sample : samples().entrySet()) {
      run("bind " + sample.getKey(), () -> bind("natives", "c_" + sample.getKey(), sample.getValue()));
    }
    run("bind counter", Main::bindCounter);
    run("bind null", Main::bindNull);
    run("bind unset", Main::bindUnset);
    run("large value", Main::largeValue);
    run("collection list", () -> bind("shapes", "l", List.of(3, 1, 2)));
    run("collection set", () -> bind("shapes", "s", Set.of("a", "b", "ü")));
    run("collection map", () -> bind("shapes", "m", Map.of("one", 1, "two", 2)));
    run(
        "collection nested frozen",
        () -> bind("shapes", "n", Map.of("k", List.of(List.of("x", "y"), List.of("z")))));
    run("tuple", Main::bindTuple);
    run("udt", Main::bindUdt);
    run("vector", () -> bind("shapes", "v", CqlVector.newInstance(0.5f, -1.25f, 3f)));
    run("paging 10000", Main::paging);
    run("batch logged", () -> batch(DefaultBatchType.LOGGED, 1000));
    run("batch unlogged", () -> batch(DefaultBatchType.UNLOGGED, 1010));
    run("batch counter", Main::batchCounter);
    run("batch mixed", Main::batchMixed);
    run("lwt", Main::lwt);
    run("tracing", Main::tracing);
    run("use", Main::use);
    run("in flight 1000", Main::inFlight);
    run("error syntax", Main::errorSyntax);
    run("error unknown table", Main::errorUnknownTable);
    if (env("RF_READER_CERT", "").isEmpty()) System.out.println("ok refused reader # skip no such identity given");
    else run("refused reader", Main::refusedReader);
    if (env("RF_NOBODY_CERT", "").isEmpty()) System.out.println("ok refused nobody # skip no such identity given");
    else run("refused nobody", Main::refusedNobody);
    for (String keyspace : List.of(FIRST, SECOND)) {
      try {
        session.execute(
            SimpleStatement.newInstance("DROP KEYSPACE IF EXISTS " + keyspace).setTimeout(Duration.ofSeconds(40)));
      } catch (RuntimeException ignored) {
        // The cases above have said what is wrong.
      }
    }
    session.close();
    System.exit(failures == 0 ? 0 : 1);
  }
}
