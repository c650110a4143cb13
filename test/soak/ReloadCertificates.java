import com.sun.tools.attach.VirtualMachine;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import javax.management.MBeanServerConnection;
import javax.management.ObjectName;
import javax.management.remote.JMXConnectorFactory;
import javax.management.remote.JMXServiceURL;

/**
 * What `nodetool reloadssl` does, for all nodes of this machine in one process that stays: a program of Java for each renewal would take a core. Whoever
 * connects to the port of loopback writes the process id of a node in a line and is answered `ok`, or what went wrong.
 */
public final class ReloadCertificates {
  public static void main(String[] args) throws Exception {
    try (ServerSocket server = new ServerSocket(Integer.parseInt(args[0]), 8, InetAddress.getLoopbackAddress())) {
      for (;;) {
        try (Socket socket = server.accept()) {
          socket.setSoTimeout(5_000);
          String pid = new BufferedReader(new InputStreamReader(socket.getInputStream())).readLine();
          String said;
          try {
            reload(pid);
            said = "ok";
          } catch (Exception cause) {
            said = cause.toString().replaceAll("\\s+", " ");
          }
          socket.getOutputStream().write((said + "\n").getBytes());
        } catch (Exception cause) {
          System.err.println(cause);
        }
      }
    }
  }

  private static void reload(String pid) throws Exception {
    VirtualMachine machine = VirtualMachine.attach(pid);
    String address = machine.startLocalManagementAgent();
    machine.detach();
    try (var connector = JMXConnectorFactory.connect(new JMXServiceURL(address))) {
      MBeanServerConnection node = connector.getMBeanServerConnection();
      node.invoke(new ObjectName("org.apache.cassandra.net:type=MessagingService"), "reloadSslCertificates", null, null);
    }
  }
}
