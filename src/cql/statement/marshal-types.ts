/**
 * Types written as the name of a Java class, `'org.apache.cassandra.db.marshal.Int32Type'` or `'CompositeType(AsciiType, Int32Type)'`
 * (`TypeParser.java`). Cassandra loads the class while it parses; we know the names that a stock 5.0 has and refuse all
 * others, custom classes included.
 */
const simple = new Set(
  `AsciiType BooleanType ByteType BytesType CounterColumnType DateType DecimalType DoubleType DurationType EmptyType FloatType
  InetAddressType Int32Type IntegerType LexicalUUIDType LongType ShortType SimpleDateType TimeType TimestampType
  TimeUUIDType UTF8Type UUIDType`.split(/\s+/),
)
/** Types made of others, with the fewest and the most that they take. */
const made = new Map<string, readonly [number, number]>([
  ['CompositeType', [1, Number.POSITIVE_INFINITY]],
  ['DynamicCompositeType', [1, Number.POSITIVE_INFINITY]],
  ['FrozenType', [1, 1]],
  ['ListType', [1, 1]],
  ['MapType', [2, 2]],
  ['ReversedType', [1, 1]],
  ['SetType', [1, 1]],
  ['TupleType', [1, Number.POSITIVE_INFINITY]],
])
const prefix = 'org.apache.cassandra.db.marshal.'
const depthMax = 64

/** Whether a stock Cassandra 5.0 knows the type. */
export function isMarshalType(text: string): boolean {
  // A text that begins with no name, the empty one too, is Cassandra's BytesType, whatever it says.
  if (!/^[ \t\n]*[-+.&\w]/.test(text)) return true
  const tokens = text.match(/[-+.&\w]+|=>|[^ \t\n]/g) ?? []
  return typeEnd(tokens, 0, 0) === tokens.length
}

/** Where the type that starts at a token ends; -1 where none starts there. */
function typeEnd(tokens: readonly string[], start: number, depth: number): number {
  const written = tokens[start] ?? ''
  const name = written.startsWith(prefix) ? written.slice(prefix.length) : written
  if (simple.has(name)) return start + 1
  const counts = made.get(name)
  if (counts === undefined || depth === depthMax) return -1
  let at = start + 1
  let count = 0
  do {
    // The first time this stands on the opening parenthesis, then on a comma.
    if (count === 0 && tokens[at] !== '(') return -1
    at++
    if (name === 'DynamicCompositeType') {
      if (tokens[at]?.length !== 1 || !/\w/.test(tokens[at]!) || tokens[at + 1] !== '=>') return -1
      at += 2
    }
    at = typeEnd(tokens, at, depth + 1)
    if (at < 0) return -1
    count++
  } while (tokens[at] === ',')
  return tokens[at] === ')' && count >= counts[0] && count <= counts[1] ? at + 1 : -1
}
