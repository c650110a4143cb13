// Cassandra's own parser as an oracle: a line in, a line out. See oracle.ts for the other end.
//
//   in   P <base64 of UTF-8>     parse one statement
//        L <base64 of UTF-8>     lex only
//        N                       names of the native functions
//   out  fields separated by tabs:
//        A <class> <bind variables> <tables> <columns> <functions> <types> <own> <details>  accepted; lists of base64 names, by commas
//                                                                                          details: see class Details
//        R <exception class> <message, base64>                                            rejected
//        T <kind:start:end …>                                                             tokens

import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import com.google.common.collect.Multimap;
import org.antlr.runtime.ANTLRStringStream;
import org.antlr.runtime.CommonToken;
import org.antlr.runtime.RecognitionException;
import org.antlr.runtime.Token;
import org.apache.cassandra.auth.IResource;
import org.apache.cassandra.auth.RoleResource;
import org.apache.cassandra.config.DatabaseDescriptor;
import org.apache.cassandra.cql3.AbstractMarker;
import org.apache.cassandra.cql3.CQLStatement;
import org.apache.cassandra.cql3.ColumnIdentifier;
import org.apache.cassandra.cql3.Constants;
import org.apache.cassandra.cql3.CqlLexer;
import org.apache.cassandra.cql3.CqlParser;
import org.apache.cassandra.cql3.ErrorCollector;
import org.apache.cassandra.cql3.Operator;
import org.apache.cassandra.cql3.QualifiedName;
import org.apache.cassandra.cql3.QueryProcessor;
import org.apache.cassandra.cql3.Relation;
import org.apache.cassandra.cql3.RoleName;
import org.apache.cassandra.cql3.SingleColumnRelation;
import org.apache.cassandra.cql3.Tuples;
import org.apache.cassandra.cql3.UTName;
import org.apache.cassandra.cql3.functions.FunctionName;
import org.apache.cassandra.cql3.selection.RawSelector;
import org.apache.cassandra.cql3.selection.Selectable;
import org.apache.cassandra.cql3.statements.DescribeStatement;
import org.apache.cassandra.cql3.statements.ModificationStatement;
import org.apache.cassandra.cql3.statements.schema.CreateTriggerStatement;
import org.apache.cassandra.cql3.statements.schema.IndexAttributes;
import org.apache.cassandra.locator.AbstractReplicationStrategy;
import org.apache.cassandra.schema.CompactionParams;
import org.apache.cassandra.schema.CompressionParams;
import org.apache.cassandra.schema.IndexMetadata;
import org.apache.cassandra.utils.Pair;
import org.slf4j.LoggerFactory;

public class Oracle
{
    public static void main(String[] arguments) throws Exception
    {
        PrintStream out = new PrintStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16), false, StandardCharsets.UTF_8);
        System.setOut(System.err);
        ((Logger) LoggerFactory.getLogger(Logger.ROOT_LOGGER_NAME)).setLevel(Level.OFF);
        DatabaseDescriptor.clientInitialization();
        String[] kinds = new String[512];
        for (int at = 0; at < CqlParser.tokenNames.length; at++)
            kinds[at] = CqlParser.tokenNames[at];
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line = in.readLine(); line != null; line = in.readLine())
        {
            String text = line.length() < 3 ? "" : new String(Base64.getDecoder().decode(line.substring(2)), StandardCharsets.UTF_8);
            switch (line.charAt(0))
            {
                case 'P': out.println(parse(text)); break;
                case 'L': out.println(lex(text, kinds)); break;
                case 'N': out.println(natives()); break;
                default: throw new IllegalArgumentException(line);
            }
            if (!in.ready())
                out.flush();
        }
        out.flush();
    }

    private static String parse(String text)
    {
        try
        {
            return new Names().describe(QueryProcessor.parseStatement(text));
        }
        catch (Throwable failure)
        {
            return "R\t" + failure.getClass().getSimpleName() + "\t" + encode(String.valueOf(failure.getMessage()));
        }
    }

    private static String lex(String text, String[] kinds)
    {
        ErrorCollector errors = new ErrorCollector(text);
        CqlLexer lexer = new CqlLexer(new ANTLRStringStream(text));
        lexer.addErrorListener(errors);
        StringBuilder line = new StringBuilder("T\t");
        try
        {
            for (Token token = lexer.nextToken(); token.getType() != Token.EOF; token = lexer.nextToken())
                if (token.getChannel() == Token.DEFAULT_CHANNEL)
                {
                    CommonToken place = (CommonToken) token;
                    line.append(encode(kinds[token.getType()])).append(':').append(place.getStartIndex())
                        .append(':').append(place.getStopIndex() + 1).append(' ');
                }
            errors.throwFirstSyntaxError();
        }
        catch (Throwable failure)
        {
            return "R\t" + failure.getClass().getSimpleName() + "\t" + encode(String.valueOf(failure.getMessage()));
        }
        return line.toString();
    }

    private static String natives() throws Exception
    {
        Set<String> names = new TreeSet<>();
        for (Object function : org.apache.cassandra.cql3.functions.NativeFunctions.instance.getFunctions())
            names.add(((org.apache.cassandra.cql3.functions.Function) function).name().name);
        Field field = org.apache.cassandra.cql3.functions.NativeFunctions.class.getDeclaredField("factories");
        field.setAccessible(true);
        Names keys = new Names();
        keys.walk(field.get(org.apache.cassandra.cql3.functions.NativeFunctions.instance));
        for (String name : keys.functions)
            names.add(new String(Base64.getDecoder().decode(name.substring(name.indexOf('.') + 1)), StandardCharsets.UTF_8));
        return "N\t" + String.join(",", names);
    }

    private static String encode(String text)
    {
        return Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
    }

    /**
     * What a raw statement says beside names, in parts parted by spaces; the statements of a BATCH follow it, parted by '/'.
     * An amount is a number or m and the place of a marker, '-' where there is none; so is a value, or t and a string in base64, or u.
     */
    private static final class Details
    {
        static String of(Object statement) throws Exception
        {
            StringBuilder out = new StringBuilder();
            String type = statement.getClass().getName().replaceFirst(".*\\.", "");
            if (type.equals("SelectStatement$RawStatement"))
                select(out, statement);
            else if (statement instanceof ModificationStatement.Parsed)
                write(out, statement);
            else if (type.equals("BatchStatement$Parsed"))
            {
                out.append("timestamp=").append(amount(get(get(statement, "attrs"), "timestamp")));
                for (Object child : (List<?>) get(statement, "parsedStatements"))
                    write(out.append('/'), child);
            }
            else if (statement instanceof DescribeStatement)
                out.append("internals=").append(get(statement, "includeInternalDetails"));
            else if (type.matches("(Create|Alter)(Table|View)Statement.Raw"))
                out.append("ttl=").append(defaultTtl(get(statement, "attrs"))).append(" classes=").append(classes(statement));
            else if (type.matches("(Create|Alter)Keyspace.*|CreateIndex.*|CreateTrigger.*"))
                out.append("classes=").append(classes(statement));
            return out.toString();
        }

        /** Full names of the classes that properties, an index or a trigger name, as Cassandra makes them. */
        private static String classes(Object statement) throws Exception
        {
            Set<String> classes = new TreeSet<>();
            if (statement instanceof CreateTriggerStatement.Raw)
                return encode((String) get(statement, "triggerClass"));
            Object attributes = get(statement, "attrs");
            if (attributes instanceof IndexAttributes && ((IndexAttributes) attributes).customClass != null)
            {
                Map<String, String> options = Map.of("class_name", ((IndexAttributes) attributes).customClass);
                classes.add(encode(IndexMetadata.fromSchemaMetadata("i", IndexMetadata.Kind.CUSTOM, options).getIndexClassName()));
            }
            for (Map.Entry<?, ?> property : ((Map<?, ?>) get(attributes, "properties")).entrySet())
            {
                if (!(property.getValue() instanceof Map))
                    continue;
                for (String key : List.of("class", "class_name", "sstable_compression", "analyzer_class"))
                {
                    Object name = ((Map<?, ?>) property.getValue()).get(key);
                    String full = name == null ? null : fullName(property.getKey().toString(), name.toString());
                    if (full != null)
                        classes.add(encode(full));
                }
            }
            return String.join(",", classes);
        }

        private static String fullName(String property, String name) throws Exception
        {
            switch (property)
            {
                case "compaction": return asked(CompactionParams.class, "classFromName", name);
                case "compression": return asked(CompressionParams.class, "parseCompressorClass", name);
                case "replication": return asked(AbstractReplicationStrategy.class, "getClass", name);
                default: return name;
            }
        }

        /** The class that Cassandra finds, or says that it did not find. */
        private static String asked(Class<?> owner, String method, String name) throws Exception
        {
            Method finder = owner.getDeclaredMethod(method, String.class);
            finder.setAccessible(true);
            try
            {
                Class<?> found = (Class<?>) finder.invoke(null, name);
                return found == null ? null : found.getName();
            }
            catch (InvocationTargetException failure)
            {
                Matcher said = SOUGHT.matcher(failure.getCause().getMessage());
                if (!said.matches())
                    throw failure;
                return said.group(1) == null ? said.group(2) : said.group(1);
            }
        }

        private static final Pattern SOUGHT = Pattern.compile(".* class '(.*)'(?:: must .*)?|Could not create Compression for type (.*)", Pattern.DOTALL);

        private static void select(StringBuilder out, Object statement) throws Exception
        {
            Object parameters = get(statement, "parameters");
            out.append("limit=").append(amount(get(statement, "limit")));
            out.append(" filtering=").append(get(parameters, "allowFiltering"));
            where(out, get(statement, "whereClause"));
            out.append(" selection=");
            List<?> selectors = (List<?>) get(statement, "selectClause");
            if ((Boolean) get(parameters, "isJson"))
                out.append('-');
            else if (selectors.isEmpty())
                out.append('*');
            else
                for (Object selector : selectors)
                {
                    Object selectable = get(selector, "selectable");
                    out.append(selectable instanceof Selectable.RawIdentifier ? encode(Names.rawColumn((Selectable.RawIdentifier) selectable)) : "u").append(',');
                }
        }

        private static void write(StringBuilder out, Object statement) throws Exception
        {
            Object attributes = get(statement, "attrs");
            out.append("ttl=").append(amount(get(attributes, "timeToLive")));
            out.append(" timestamp=").append(amount(get(attributes, "timestamp")));
            out.append(" if=");
            Set<String> columns = new LinkedHashSet<>();
            for (Object pair : (Collection<?>) get(statement, "conditions"))
                columns.add(((Pair<?, ?>) pair).left.toString());
            for (String column : columns)
                out.append(encode(column)).append(',');
            String type = statement.getClass().getSimpleName();
            if (type.equals("ParsedInsert"))
            {
                List<?> names = (List<?>) get(statement, "columnNames");
                List<?> values = (List<?>) get(statement, "columnValues");
                out.append(" where=");
                for (int at = 0; at < names.size() && at < values.size(); at++)
                    out.append(encode(names.get(at).toString())).append(",:=:false:").append(value(values.get(at))).append(",:-;");
            }
            else if (type.equals("ParsedInsertJson"))
                out.append(" where=");
            else
                where(out, get(statement, "whereClause"));
        }

        /** columns : operator : whether of a token : values : marker of the list ; */
        private static void where(StringBuilder out, Object clause) throws Exception
        {
            out.append(" where=");
            for (Object each : (List<?>) get(clause, "relations"))
            {
                Relation relation = (Relation) each;
                boolean isSingle = relation instanceof SingleColumnRelation;
                if (isSingle)
                    out.append(encode(get(relation, "entity").toString())).append(',');
                else
                    for (Object column : (List<?>) get(relation, "entities"))
                        out.append(encode(column.toString())).append(',');
                boolean isPlain = !isSingle || get(relation, "mapKey") == null;
                String operator = relation.operator() == Operator.EQ && isPlain ? "=" : relation.operator() == Operator.IN ? "IN" : "other";
                out.append(':').append(operator).append(':').append(relation.onToken()).append(':');
                String list = "-";
                if (operator.equals("IN"))
                {
                    List<?> inside = (List<?>) get(relation, "inValues");
                    if (inside == null)
                        list = value(get(relation, isSingle ? "value" : "inMarker"));
                    else
                        for (Object value : inside)
                            out.append(isSingle ? value(value) : "u").append(',');
                }
                else if (operator.equals("="))
                {
                    Object compared = get(relation, isSingle || relation.onToken() ? "value" : "valuesOrMarker");
                    if (isSingle || relation.onToken())
                        out.append(value(compared)).append(',');
                    else if (compared instanceof Tuples.Literal)
                        for (Object value : (List<?>) get(compared, "elements"))
                            out.append(value(value)).append(',');
                    else
                        for (Object column : (List<?>) get(relation, "entities"))
                            out.append("u,");
                }
                out.append(':').append(list).append(';');
            }
            for (Object expression : (List<?>) get(clause, "expressions"))
                out.append(":other:false::-;");
        }

        private static String defaultTtl(Object attributes) throws Exception
        {
            Object text = ((Map<?, ?>) get(attributes, "properties")).get("default_time_to_live");
            if (text == null)
                return "-";
            try
            {
                return String.valueOf(Integer.parseInt((String) text));
            }
            catch (RuntimeException refused)
            {
                return "refused";
            }
        }

        private static String amount(Object raw) throws Exception
        {
            if (raw == null)
                return "-";
            return raw instanceof Constants.Literal ? new BigInteger((String) get(raw, "text")).toString() : value(raw);
        }

        private static String value(Object raw) throws Exception
        {
            if (raw instanceof AbstractMarker.Raw || raw instanceof AbstractMarker.MultiColumnRaw)
                return "m" + get(raw, "bindIndex");
            if (raw instanceof Constants.Literal && get(raw, "type") == Constants.Type.STRING)
                return "t" + encode((String) get(raw, "text"));
            return "u";
        }

        private static Object get(Object object, String name) throws Exception
        {
            return FIELDS.computeIfAbsent(object.getClass(), key -> new HashMap<>()).computeIfAbsent(name, key -> {
                for (Class<?> at = object.getClass(); at != null; at = at.getSuperclass())
                    for (Field field : at.getDeclaredFields())
                        if (field.getName().equals(key))
                        {
                            field.setAccessible(true);
                            return field;
                        }
                throw new IllegalStateException(object.getClass() + " has no field " + key);
            }).get(object);
        }

        private static final Map<Class<?>, Map<String, Field>> FIELDS = new HashMap<>();
    }

    /** Everything a raw statement names, found by walking its fields. */
    private static final class Names
    {
        private static final Map<Class<?>, List<Field>> FIELDS = new HashMap<>();
        final Set<String> tables = new TreeSet<>();
        final Set<String> columns = new TreeSet<>();
        final Set<String> functions = new TreeSet<>();
        final Set<String> types = new TreeSet<>();
        private final IdentityHashMap<Object, Boolean> seen = new IdentityHashMap<>();
        private final ArrayDeque<Object> waiting = new ArrayDeque<>();

        String describe(CQLStatement.Raw statement) throws Exception
        {
            Field variables = CQLStatement.Raw.class.getDeclaredField("bindVariables");
            variables.setAccessible(true);
            StringBuilder markers = new StringBuilder();
            Object bound = variables.get(statement);
            for (Object name : (Collection<?>) named(bound))
                markers.append(name == null ? "?" : encode(name.toString())).append(',');
            walk(statement);
            return "A\t" + statement.getClass().getName().replaceFirst(".*\\.", "") + '\t' + markers + '\t' + join(tables)
                   + '\t' + (columns.isEmpty() ? "-" : join(columns)) + '\t' + join(functions) + '\t' + join(types) + '\t' + join(own(statement))
                   + '\t' + Details.of(statement);
        }

        /** Names that a statement keeps as plain strings, roles or resources: `field=value`. */
        private static Set<String> own(Object statement) throws Exception
        {
            Set<String> own = new TreeSet<>();
            for (Class<?> at = statement.getClass(); at != null && at != Object.class; at = at.getSuperclass())
                for (Field field : at.getDeclaredFields())
                {
                    if (Modifier.isStatic(field.getModifiers()))
                        continue;
                    field.setAccessible(true);
                    Object value = field.get(statement);
                    if (value instanceof String)
                        own.add(encode(field.getName() + '=' + value));
                    else if (value instanceof RoleName)
                        own.add(encode(field.getName() + '=' + ((RoleName) value).getName()));
                    else if (value instanceof RoleResource)
                        own.add(encode(field.getName() + '=' + ((RoleResource) value).getName()));
                    else if (value instanceof IResource)
                        own.add(encode("resource=" + ((IResource) value).getName()));
                }
            return own;
        }

        /** The list of names inside VariableSpecifications or a plain list. */
        private static Object named(Object bound) throws Exception
        {
            if (bound instanceof Collection)
                return bound;
            Field names = bound.getClass().getDeclaredField("variableNames");
            names.setAccessible(true);
            return names.get(bound);
        }

        void walk(Object root) throws Exception
        {
            waiting.add(root);
            while (!waiting.isEmpty())
                visit(waiting.poll());
        }

        private void visit(Object object) throws Exception
        {
            if (object == null || object instanceof Enum || object instanceof Class || seen.put(object, true) != null)
                return;
            if (object instanceof QualifiedName)
            {
                QualifiedName name = (QualifiedName) object;
                if (name.getName() != null)
                    tables.add(pair(name.hasKeyspace() ? name.getKeyspace() : null, name.getName()));
                return;
            }
            if (object instanceof UTName)
            {
                UTName name = (UTName) object;
                types.add(pair(name.hasKeyspace() ? name.getKeyspace() : null, name.getStringTypeName()));
                return;
            }
            if (object instanceof FunctionName)
            {
                FunctionName name = (FunctionName) object;
                functions.add(pair(name.keyspace, name.name));
                return;
            }
            if (object instanceof ColumnIdentifier)
            {
                columns.add(encode(object.toString()));
                return;
            }
            if (object instanceof Collection)
            {
                for (Object each : (Collection<?>) object)
                    if (each != null)
                        waiting.add(each);
                return;
            }
            if (object instanceof Multimap)
            {
                waiting.add(((Multimap<?, ?>) object).asMap());
                return;
            }
            if (object instanceof Map)
            {
                for (Map.Entry<?, ?> each : ((Map<?, ?>) object).entrySet())
                {
                    waiting.add(each.getKey());
                    if (each.getValue() != null)
                        waiting.add(each.getValue());
                }
                return;
            }
            String type = object.getClass().getName();
            if (!type.startsWith("org.apache.cassandra.cql3") && !type.startsWith("org.apache.cassandra.utils.Pair"))
                return;
            if (object instanceof Selectable.RawIdentifier)
            {
                columns.add(encode(rawColumn((Selectable.RawIdentifier) object)));
                return;
            }
            for (Field field : fields(object.getClass()))
            {
                // An alias names nothing that is stored, and bind variables are told apart.
                if (object instanceof RawSelector && field.getName().equals("alias"))
                    continue;
                if (field.getDeclaringClass() == CQLStatement.Raw.class)
                    continue;
                Object value = field.get(object);
                if (value != null)
                    waiting.add(value);
            }
        }

        static String rawColumn(Selectable.RawIdentifier identifier) throws Exception
        {
            Field text = Selectable.RawIdentifier.class.getDeclaredField("text");
            Field quoted = Selectable.RawIdentifier.class.getDeclaredField("quoted");
            text.setAccessible(true);
            quoted.setAccessible(true);
            return new ColumnIdentifier((String) text.get(identifier), quoted.getBoolean(identifier)).toString();
        }

        private static List<Field> fields(Class<?> type)
        {
            return FIELDS.computeIfAbsent(type, key -> {
                List<Field> found = new ArrayList<>();
                for (Class<?> at = key; at != null && at != Object.class; at = at.getSuperclass())
                    for (Field field : at.getDeclaredFields())
                        if (!Modifier.isStatic(field.getModifiers()) && !field.getType().isPrimitive() && field.getType() != String.class)
                        {
                            try
                            {
                                field.setAccessible(true);
                                found.add(field);
                            }
                            catch (RuntimeException closed)
                            {
                                // a class of the JDK: it names nothing
                            }
                        }
                return found;
            });
        }

        private static String pair(String keyspace, String name)
        {
            return (keyspace == null ? "" : encode(keyspace)) + '.' + encode(name);
        }

        private static String join(Set<String> names)
        {
            return String.join(",", names);
        }
    }
}
