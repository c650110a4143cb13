import com.datastax.oss.driver.api.core.CqlSession;
import com.datastax.oss.driver.api.core.auth.PlainTextAuthProviderBase;
import com.datastax.oss.driver.api.core.config.DefaultDriverOption;
import com.datastax.oss.driver.api.core.config.DriverConfigLoader;
import com.datastax.oss.driver.api.core.cql.SimpleStatement;
import com.datastax.oss.driver.api.core.metadata.EndPoint;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * An application with the Java driver, which reads a row again and again until its input ends. Its token is in a file that somebody else renews; the
 * driver reads it for each connection. Prints {"answered": …, "failed": …, "error": …} four times a second.
 */
public final class Outage {
  private static int answered;
  private static int failed;
  private static String said = "";
  private static volatile boolean stopped;

  private static final class TokenFromFile extends PlainTextAuthProviderBase {
    TokenFromFile() {
      super("outage");
    }

    @Override
    protected Credentials getCredentials(EndPoint endPoint, String serverAuthenticator) {
      try {
        String token = Files.readString(Path.of(System.getenv("RF_TOKEN_FILE"))).trim();
        return new Credentials("token".toCharArray(), token.toCharArray());
      } catch (IOException cause) {
        throw new UncheckedIOException(cause);
      }
    }
  }

  /** The chain is verified, the address is not: the mesh's certificates here are of SPIFFE ids. */
  private static SSLContext meshTls() throws Exception {
    KeyStore roots = KeyStore.getInstance("PKCS12");
    roots.load(null, null);
    byte[] pem = Files.readAllBytes(Path.of(System.getenv("RF_CA")));
    for (Certificate root : CertificateFactory.getInstance("X.509").generateCertificates(new ByteArrayInputStream(pem)))
      roots.setCertificateEntry("root" + roots.size(), root);
    TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(roots);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, trust.getTrustManagers(), null);
    return context;
  }

  public static void main(String[] args) throws Exception {
    // A minute by default.
    DriverConfigLoader config =
        DriverConfigLoader.programmaticBuilder()
            .withDuration(DefaultDriverOption.RECONNECTION_MAX_DELAY, Duration.ofSeconds(10))
            .withDuration(DefaultDriverOption.REQUEST_TIMEOUT, Duration.ofSeconds(5))
            .build();
    int port = Integer.parseInt(System.getenv("RF_PORT"));
    try (CqlSession session =
        CqlSession.builder()
            .addContactPoint(new InetSocketAddress(System.getenv("RF_HOST"), port))
            .withLocalDatacenter(System.getenv("RF_DC"))
            .withConfigLoader(config)
            .withSslContext(meshTls())
            .withAuthProvider(new TokenFromFile())
            .build()) {
      Thread[] workers = {new Thread(() -> work(session)), new Thread(() -> work(session))};
      for (Thread worker : workers) worker.start();
      Thread shows = new Thread(Outage::shows);
      shows.setDaemon(true);
      shows.start();
      System.in.transferTo(OutputStream.nullOutputStream());
      stopped = true;
      for (Thread worker : workers) worker.join();
      show();
    }
  }

  private static void work(CqlSession session) {
    SimpleStatement statement = SimpleStatement.newInstance(System.getenv("RF_QUERY")).setIdempotent(true);
    while (!stopped) {
      try {
        session.execute(statement);
        count(null);
      } catch (RuntimeException error) {
        count(String.valueOf(error.getMessage()));
      }
      sleep(50);
    }
  }

  private static synchronized void count(String error) {
    if (error == null) {
      answered++;
    } else {
      failed++;
      said = error.replaceAll("[\"\\\\\\p{Cntrl}]", " ");
    }
  }

  private static void shows() {
    for (;;) {
      show();
      sleep(250);
    }
  }

  private static synchronized void show() {
    System.out.printf("{\"answered\": %d, \"failed\": %d, \"error\": \"%s\"}%n", answered, failed, said);
  }

  private static void sleep(int ms) {
    try {
      Thread.sleep(ms);
    } catch (InterruptedException cause) {
      throw new IllegalStateException(cause);
    }
  }
}
