/** The native functions of Cassandra 5.0, which everyone may call; `test/oracle/` compares the list with the jar's. */
const native = new Set(
  `abs ascii_as_blob asciiasblob avg bigint_as_blob bigintasblob blob_as_ascii blob_as_bigint blob_as_boolean
  blob_as_counter blob_as_date blob_as_decimal blob_as_double blob_as_duration blob_as_empty blob_as_float
  blob_as_inet blob_as_int blob_as_smallint blob_as_text blob_as_time blob_as_timestamp blob_as_timeuuid
  blob_as_tinyint blob_as_uuid blob_as_varchar blob_as_varint blobasascii blobasbigint blobasboolean blobascounter
  blobasdate blobasdecimal blobasdouble blobasduration blobasempty blobasfloat blobasinet blobasint blobassmallint
  blobastext blobastime blobastimestamp blobastimeuuid blobastinyint blobasuuid blobasvarchar blobasvarint
  boolean_as_blob booleanasblob castAsAscii castAsBigint castAsDate castAsDecimal castAsDouble castAsFloat castAsInt
  castAsSmallint castAsText castAsTimestamp castAsTinyint castAsVarint cast_as_ascii cast_as_bigint cast_as_date
  cast_as_decimal cast_as_double cast_as_float cast_as_int cast_as_smallint cast_as_text cast_as_timestamp
  cast_as_tinyint cast_as_varint collection_avg collection_count collection_max collection_min collection_sum count
  countRows count_rows counter_as_blob counterasblob current_date current_time current_timestamp current_timeuuid
  currentdate currenttime currenttimestamp currenttimeuuid date_as_blob dateasblob decimal_as_blob decimalasblob
  double_as_blob doubleasblob duration_as_blob durationasblob empty_as_blob emptyasblob exp float_as_blob floatasblob
  floor from_json fromjson inet_as_blob inetasblob int_as_blob intasblob log log10 map_keys map_values mask_default
  mask_hash mask_inner mask_null mask_outer mask_replace max max_timeuuid maxtimeuuid min min_timeuuid mintimeuuid now
  round similarity_cosine similarity_dot_product similarity_euclidean smallint_as_blob smallintasblob sum text_as_blob
  textasblob time_as_blob timeasblob timestamp_as_blob timestampasblob timeuuid_as_blob timeuuidasblob tinyint_as_blob
  tinyintasblob to_date to_json to_timestamp to_unix_timestamp todate tojson token totimestamp tounixtimestamp uuid
  uuid_as_blob uuidasblob varchar_as_blob varcharasblob varint_as_blob varintasblob`.split(/\s+/),
)

/** Whether a function needs no EXECUTE: it is of the `system` keyspace, or unqualified and native. */
export function isNativeFunction(keyspace: string | undefined, name: string): boolean {
  return keyspace === 'system' || (keyspace === undefined && native.has(name))
}
