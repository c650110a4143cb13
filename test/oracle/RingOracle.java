// Cassandra's own ring as an oracle: a line in, a line out, fields separated by tabs. See ring.oracle.ts for the other end.
//
//   in   C                                       a ring without nodes and keyspaces
//        N <host id> <data centre> <rack> <tokens, by commas>
//        K <strategy> <name=value, by commas>    one more keyspace
//        S <seed>                                of the keys to come
//        G <CQL types, by semicolons>            a random key of these columns
//        T <token>
//   out  O                                       done
//        X <exception class>                     refused by Cassandra
//        K <components in hex, by commas> <token> <replicas>
//        T <replicas>                            host ids by commas; keyspaces in their order by |

import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Date;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.UUID;
import java.util.stream.Collectors;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import org.apache.cassandra.config.DatabaseDescriptor;
import org.apache.cassandra.cql3.FieldIdentifier;
import org.apache.cassandra.db.marshal.AbstractType;
import org.apache.cassandra.db.marshal.AsciiType;
import org.apache.cassandra.db.marshal.BooleanType;
import org.apache.cassandra.db.marshal.ByteBufferAccessor;
import org.apache.cassandra.db.marshal.ByteType;
import org.apache.cassandra.db.marshal.BytesType;
import org.apache.cassandra.db.marshal.CompositeType;
import org.apache.cassandra.db.marshal.DecimalType;
import org.apache.cassandra.db.marshal.DoubleType;
import org.apache.cassandra.db.marshal.FloatType;
import org.apache.cassandra.db.marshal.InetAddressType;
import org.apache.cassandra.db.marshal.Int32Type;
import org.apache.cassandra.db.marshal.IntegerType;
import org.apache.cassandra.db.marshal.ListType;
import org.apache.cassandra.db.marshal.LongType;
import org.apache.cassandra.db.marshal.MapType;
import org.apache.cassandra.db.marshal.SetType;
import org.apache.cassandra.db.marshal.ShortType;
import org.apache.cassandra.db.marshal.SimpleDateType;
import org.apache.cassandra.db.marshal.TimeType;
import org.apache.cassandra.db.marshal.TimeUUIDType;
import org.apache.cassandra.db.marshal.TimestampType;
import org.apache.cassandra.db.marshal.TupleType;
import org.apache.cassandra.db.marshal.UTF8Type;
import org.apache.cassandra.db.marshal.UUIDType;
import org.apache.cassandra.db.marshal.UserType;
import org.apache.cassandra.db.marshal.VectorType;
import org.apache.cassandra.dht.Murmur3Partitioner;
import org.apache.cassandra.dht.Token;
import org.apache.cassandra.locator.AbstractNetworkTopologySnitch;
import org.apache.cassandra.locator.AbstractReplicationStrategy;
import org.apache.cassandra.locator.InetAddressAndPort;
import org.apache.cassandra.locator.NetworkTopologyStrategy;
import org.apache.cassandra.locator.SimpleStrategy;
import org.apache.cassandra.locator.TokenMetadata;
import org.apache.cassandra.schema.CQLTypeParser;
import org.apache.cassandra.schema.Types;
import org.apache.cassandra.utils.ByteBufferUtil;
import org.apache.cassandra.utils.TimeUUID;
import org.slf4j.LoggerFactory;

public class RingOracle
{
    private static final Types types = Types.of(new UserType("ks", ByteBufferUtil.bytes("address"),
        List.of(FieldIdentifier.forInternalString("street"), FieldIdentifier.forInternalString("number")),
        List.of(UTF8Type.instance, Int32Type.instance), false));

    private final Map<InetAddressAndPort, String[]> nodes = new HashMap<>();
    private final List<AbstractReplicationStrategy> keyspaces = new ArrayList<>();
    private final Map<String, AbstractType<?>> parsed = new HashMap<>();
    private final AbstractNetworkTopologySnitch snitch = new AbstractNetworkTopologySnitch()
    {
        public String getDatacenter(InetAddressAndPort node) { return nodes.get(node)[1]; }
        public String getRack(InetAddressAndPort node) { return nodes.get(node)[2]; }
    };
    private TokenMetadata ring;
    private Random random = new Random(0);

    public static void main(String[] arguments) throws Exception
    {
        PrintStream out = new PrintStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16), false, StandardCharsets.UTF_8);
        System.setOut(System.err);
        ((Logger) LoggerFactory.getLogger(Logger.ROOT_LOGGER_NAME)).setLevel(Level.OFF);
        DatabaseDescriptor.clientInitialization();
        DatabaseDescriptor.setPartitionerUnsafe(Murmur3Partitioner.instance);
        // Without these two, factors such as 3/1 are refused.
        DatabaseDescriptor.setTransientReplicationEnabledUnsafe(true);
        DatabaseDescriptor.getRawConfig().num_tokens = 1;
        RingOracle oracle = new RingOracle();
        DatabaseDescriptor.setEndpointSnitch(oracle.snitch);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine())
        {
            String answer;
            try
            {
                answer = oracle.answer(line.split("\t", -1));
            }
            catch (Throwable failure)
            {
                answer = "X\t" + failure.getClass().getSimpleName();
            }
            out.println(answer);
            if (!in.ready())
                out.flush();
        }
        out.flush();
    }

    private String answer(String[] fields) throws Exception
    {
        switch (fields[0])
        {
            case "C":
                nodes.clear();
                keyspaces.clear();
                ring = new TokenMetadata(snitch);
                return "O";
            case "N":
                addNode(fields);
                return "O";
            case "K":
                keyspaces.add(strategy(fields[1], options(fields[2])));
                return "O";
            case "S":
                random = new Random(Long.parseLong(fields[1]));
                return "O";
            case "G":
                return key(fields[1].split(";"));
            case "T":
                return "T\t" + replicas(new Murmur3Partitioner.LongToken(Long.parseLong(fields[1])));
            default:
                throw new IllegalArgumentException(fields[0]);
        }
    }

    private void addNode(String[] fields) throws Exception
    {
        InetAddressAndPort address = InetAddressAndPort.getByAddress(new byte[]{ 10, 0, (byte) (nodes.size() >> 8), (byte) nodes.size() });
        nodes.put(address, Arrays.copyOfRange(fields, 1, 4));
        List<Token> tokens = new ArrayList<>();
        for (String token : fields[4].split(","))
            tokens.add(new Murmur3Partitioner.LongToken(Long.parseLong(token)));
        ring.updateNormalTokens(tokens, address);
    }

    private static Map<String, String> options(String text)
    {
        Map<String, String> options = new LinkedHashMap<>();
        for (String option : text.split(","))
            options.put(option.substring(0, option.indexOf('=')), option.substring(option.indexOf('=') + 1));
        return options;
    }

    private AbstractReplicationStrategy strategy(String name, Map<String, String> options)
    {
        return name.equals("SimpleStrategy") ? new SimpleStrategy("ks", ring, snitch, options)
                                             : new NetworkTopologyStrategy("ks", ring, snitch, options);
    }

    private String replicas(Token token)
    {
        return keyspaces.stream()
                        .map(strategy -> strategy.getNaturalReplicasForToken(token).endpointList().stream()
                                                 .map(endpoint -> nodes.get(endpoint)[0])
                                                 .collect(Collectors.joining(",")))
                        .collect(Collectors.joining("|"));
    }

    private String key(String[] columns)
    {
        ByteBuffer[] components = new ByteBuffer[columns.length];
        StringBuilder hex = new StringBuilder();
        for (int at = 0; at < columns.length; at++)
        {
            components[at] = value(parsed.computeIfAbsent(columns[at], text -> CQLTypeParser.parse("ks", text, types)));
            hex.append(at == 0 ? "" : ",").append(ByteBufferUtil.bytesToHex(components[at]));
        }
        ByteBuffer key = components.length == 1 ? components[0] : CompositeType.build(ByteBufferAccessor.instance, components);
        Token token = Murmur3Partitioner.instance.getToken(key);
        return "K\t" + hex + "\t" + token + "\t" + replicas(token);
    }

    private ByteBuffer value(AbstractType<?> type)
    {
        if (type instanceof VectorType)
        {
            VectorType<?> vector = (VectorType<?>) type;
            List<ByteBuffer> elements = new ArrayList<>();
            for (int at = 0; at < vector.dimension; at++)
                elements.add(value(vector.elementType));
            return vector.decomposeRaw(elements);
        }
        if (type instanceof TupleType)
        {
            List<ByteBuffer> fields = new ArrayList<>();
            for (AbstractType<?> field : ((TupleType) type).allTypes())
                fields.add(random.nextInt(5) == 0 ? null : value(field));
            return TupleType.buildValue(fields.toArray(new ByteBuffer[0]));
        }
        return type.decomposeUntyped(object(type));
    }

    /** What the type's own serialiser takes. */
    private Object object(AbstractType<?> type)
    {
        if (type instanceof AsciiType) return text(0x80);
        if (type instanceof UTF8Type) return text(0x10000);
        if (type instanceof BytesType) return ByteBuffer.wrap(bytes(random.nextInt(41)));
        if (type instanceof BooleanType) return random.nextBoolean();
        if (type instanceof ByteType) return (byte) random.nextInt();
        if (type instanceof ShortType) return (short) random.nextInt();
        if (type instanceof Int32Type || type instanceof SimpleDateType) return random.nextInt();
        if (type instanceof LongType) return random.nextInt(4) == 0 ? (long) random.nextInt(1000) : random.nextLong();
        if (type instanceof TimeType) return (long) (random.nextDouble() * 86_400_000_000_000L);
        if (type instanceof TimestampType) return new Date(random.nextLong() >> 20);
        if (type instanceof FloatType) return Float.intBitsToFloat(random.nextInt());
        if (type instanceof DoubleType) return Double.longBitsToDouble(random.nextLong());
        if (type instanceof IntegerType) return new BigInteger(random.nextInt(200), random).subtract(BigInteger.valueOf(random.nextInt(1 << 20)));
        if (type instanceof DecimalType) return new BigDecimal(new BigInteger(random.nextInt(120), random).negate(), random.nextInt(60) - 30);
        if (type instanceof TimeUUIDType) return TimeUUID.atUnixMicrosWithLsb(random.nextInt() & 0xffffffffL, random.nextLong());
        if (type instanceof UUIDType) return new UUID(random.nextLong(), random.nextLong());
        if (type instanceof InetAddressType) return address();
        int size = random.nextInt(4);
        if (type instanceof ListType)
        {
            List<Object> list = new ArrayList<>();
            for (int at = 0; at < size; at++)
                list.add(element(((ListType<?>) type).getElementsType()));
            return list;
        }
        if (type instanceof SetType)
        {
            LinkedHashSet<Object> set = new LinkedHashSet<>();
            for (int at = 0; at < size; at++)
                set.add(element(((SetType<?>) type).getElementsType()));
            return set;
        }
        if (type instanceof MapType)
        {
            Map<Object, Object> map = new LinkedHashMap<>();
            for (int at = 0; at < size; at++)
                map.put(element(((MapType<?, ?>) type).getKeysType()), element(((MapType<?, ?>) type).getValuesType()));
            return map;
        }
        throw new IllegalArgumentException(type.toString());
    }

    private Object element(AbstractType<?> type)
    {
        return type instanceof TupleType ? value(type) : object(type);
    }

    private String text(int below)
    {
        StringBuilder text = new StringBuilder();
        for (int left = random.nextInt(24); left > 0; left--)
        {
            int character = random.nextInt(random.nextBoolean() ? Math.min(below, 0x80) : below);
            if (!Character.isSurrogate((char) character))
                text.append((char) character);
        }
        return text.toString();
    }

    private byte[] bytes(int count)
    {
        byte[] bytes = new byte[count];
        random.nextBytes(bytes);
        return bytes;
    }

    private InetAddress address()
    {
        try
        {
            return InetAddress.getByAddress(bytes(random.nextBoolean() ? 4 : 16));
        }
        catch (java.net.UnknownHostException impossible)
        {
            throw new AssertionError(impossible);
        }
    }
}
