/**
 * Types written as the name of a Java class, `'org.apache.cassandra.db.marshal.Int32Type'`. Cassandra loads the class while it
 * parses; we know the names that a stock 5.0 has and refuse all others, custom classes included.
 */
const simple = new Set(
  `AsciiType BooleanType ByteType BytesType CounterColumnType DateType DecimalType DoubleType DurationType EmptyType FloatType
  InetAddressType Int32Type IntegerType LexicalUUIDType LongType ShortType SimpleDateType TimeType TimestampType
  TimeUUIDType UTF8Type UUIDType`.split(/\s+/),
)
const prefix = 'org.apache.cassandra.db.marshal.'

/** Whether a stock Cassandra 5.0 knows the type. */
export function isMarshalType(text: string): boolean {
  // The empty text is Cassandra's BytesType.
  return text === '' || simple.has(text.startsWith(prefix) ? text.slice(prefix.length) : text)
}
