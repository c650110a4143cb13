import com.datastax.dse.driver.api.core.auth.ProxyAuthentication;
import com.datastax.oss.driver.api.core.AllNodesFailedException;
import com.datastax.oss.driver.api.core.CqlSession;
import com.datastax.oss.driver.api.core.CqlSessionBuilder;
import com.datastax.oss.driver.api.core.auth.ProgrammaticPlainTextAuthProvider;
import com.datastax.oss.driver.api.core.config.DefaultDriverOption;
import com.datastax.oss.driver.api.core.config.DriverConfigLoader;
import com.datastax.oss.driver.api.core.cql.SimpleStatement;
import com.datastax.oss.driver.api.core.servererrors.UnauthorizedException;
import java.io.ByteArrayInputStream;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.time.Duration;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.stream.Collectors;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * Logs in by each piece of evidence of RF_CASES in turn with the Java driver, asks for what is permitted and for what is not, and prints a line for
 * each (../cases.ts says what).
 */
public final class LogIns {
  private static final char[] NO_PASSWORD = new char[0];

  private static Certificate[] certificates(String file) throws Exception {
    byte[] pem = Files.readAllBytes(Path.of(file));
    return CertificateFactory.getInstance("X.509")
        .generateCertificates(new ByteArrayInputStream(pem))
        .toArray(new Certificate[0]);
  }

  private static KeyManager[] own(String certFile, String keyFile) throws Exception {
    if (certFile.isEmpty()) return null;
    String pem = Files.readString(Path.of(keyFile));
    byte[] der = Base64.getMimeDecoder().decode(pem.replaceAll("-----[A-Z ]+-----", ""));
    PrivateKey key = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(der));
    KeyStore store = KeyStore.getInstance("PKCS12");
    store.load(null, null);
    store.setKeyEntry("own", key, NO_PASSWORD, certificates(certFile));
    KeyManagerFactory managers = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
    managers.init(store, NO_PASSWORD);
    return managers.getKeyManagers();
  }

  /** The chain is verified, the address is not: the mesh's certificates here are of SPIFFE ids. */
  private static SSLContext meshTls(String certFile, String keyFile) throws Exception {
    KeyStore roots = KeyStore.getInstance("PKCS12");
    roots.load(null, null);
    for (Certificate root : certificates(System.getenv("RF_CA"))) roots.setCertificateEntry("root" + roots.size(), root);
    TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(roots);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(own(certFile, keyFile), trust.getTrustManagers(), null);
    return context;
  }

  private static CqlSession open(String user, String password, String certFile, String keyFile, String behalf)
      throws Exception {
    DriverConfigLoader config =
        DriverConfigLoader.programmaticBuilder()
            .withDuration(DefaultDriverOption.REQUEST_TIMEOUT, Duration.ofSeconds(20))
            .withDuration(DefaultDriverOption.CONNECTION_CONNECT_TIMEOUT, Duration.ofSeconds(20))
            .withDuration(DefaultDriverOption.CONNECTION_INIT_QUERY_TIMEOUT, Duration.ofSeconds(20))
            .withDuration(DefaultDriverOption.CONTROL_CONNECTION_TIMEOUT, Duration.ofSeconds(20))
            // It waits two seconds at each end, for what may come still.
            .withDuration(DefaultDriverOption.NETTY_IO_SHUTDOWN_QUIET_PERIOD, Duration.ZERO)
            .withDuration(DefaultDriverOption.NETTY_ADMIN_SHUTDOWN_QUIET_PERIOD, Duration.ZERO)
            .build();
    CqlSessionBuilder builder =
        CqlSession.builder()
            .addContactPoint(new InetSocketAddress(System.getenv("RF_HOST"), Integer.parseInt(System.getenv("RF_PORT"))))
            .withLocalDatacenter(System.getenv("RF_DC"))
            .withConfigLoader(config)
            .withSslContext(meshTls(certFile, keyFile));
    if (!password.isEmpty() && behalf.isEmpty()) builder.withAuthCredentials(user, password);
    if (!password.isEmpty() && !behalf.isEmpty())
      builder.withAuthProvider(new ProgrammaticPlainTextAuthProvider(user, password, behalf));
    return builder.build();
  }

  private static void say(String... words) {
    System.out.println(Arrays.stream(words).map(word -> word.replaceAll("\\s+", " ")).collect(Collectors.joining("\t")));
    System.out.flush();
  }

  /** All that it says of why there is no session. */
  private static String wordsOf(Throwable error) {
    StringBuilder words = new StringBuilder();
    if (error instanceof AllNodesFailedException) {
      for (List<Throwable> ofNode : ((AllNodesFailedException) error).getAllErrors().values())
        for (Throwable one : ofNode) words.append(wordsOf(one)).append(' ');
    }
    for (Throwable one = error; one != null; one = one.getCause())
      words.append(one.getClass().getSimpleName()).append(": ").append(one.getMessage()).append(' ');
    return words.toString();
  }

  private static SimpleStatement statement(String variable, String token) {
    SimpleStatement statement = SimpleStatement.newInstance(System.getenv(variable));
    return token.isEmpty() ? statement : ProxyAuthentication.executeAs(token, statement);
  }

  private static String denialOf(CqlSession session, String token) {
    try {
      session.execute(statement("RF_FORBIDDEN", token));
      return "it was permitted";
    } catch (UnauthorizedException error) {
      return "denied: " + error.getMessage();
    } catch (RuntimeException error) {
      return "failed: " + wordsOf(error);
    }
  }

  public static void main(String[] args) throws Exception {
    for (String line : Files.readAllLines(Path.of(System.getenv("RF_CASES")))) {
      String[] parts = line.split("\t", -1);
      CqlSession session;
      try {
        session = open(parts[1], parts[2], parts[3], parts[4], parts[5]);
      } catch (RuntimeException error) {
        say(parts[0], "refused", wordsOf(error));
        continue;
      }
      try (session) {
        String token = parts[2].isEmpty() ? parts[5] : "";
        Object first = session.execute(statement("RF_PERMITTED", token)).one().getObject(0);
        say(parts[0], "in", String.valueOf(first), denialOf(session, token));
      } catch (RuntimeException error) {
        say(parts[0], "failed", wordsOf(error));
      }
    }
    System.exit(0);
  }
}
