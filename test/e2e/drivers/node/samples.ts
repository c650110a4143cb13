/** One value of each native type, chosen near an edge of its range, with the comparison that proves the round trip. */
import { types } from 'cassandra-driver'
import type { nativeTypes } from '../cases.ts'

type Sample = readonly [
  name: (typeof nativeTypes)[number],
  value: unknown,
  same: (got: unknown, put: unknown) => boolean,
]

const asText = (got: unknown, put: unknown): boolean => String(got) === String(put)
const asIs = (got: unknown, put: unknown): boolean => got === put

export const samples: readonly Sample[] = [
  ['ascii', 'plain ascii', asIs],
  ['bigint', types.Long.fromString('-9223372036854775808'), asText],
  [
    'blob',
    Buffer.from([0, 1, 0x7f, 0x80, 0xff]),
    (got, put) => Buffer.isBuffer(got) && Buffer.compare(got, put as Buffer) === 0,
  ],
  ['boolean', true, asIs],
  ['date', types.LocalDate.fromString('1969-07-20'), asText],
  ['decimal', types.BigDecimal.fromString('-123456789.000000001'), asText],
  ['double', -1.7976931348623157e308, asIs],
  ['duration', types.Duration.fromString('1mo2d3s4ns'), asText],
  ['float', 1.5, asIs],
  ['inet', types.InetAddress.fromString('2001:db8::ff'), asText],
  ['int', -2147483648, asIs],
  ['smallint', -32768, asIs],
  ['text', 'grüße, 世界 🚀', asIs],
  ['time', types.LocalTime.fromString('23:59:59.999999999'), asText],
  [
    'timestamp',
    new Date(-1),
    (got, put) => got instanceof Date && put instanceof Date && got.getTime() === put.getTime(),
  ],
  ['timeuuid', types.TimeUuid.fromString('50554d6e-29bb-11e5-b345-feff819cdc9f'), asText],
  ['tinyint', -128, asIs],
  ['uuid', types.Uuid.fromString('f4c2a2a0-6d2b-4d0b-9c0e-1a2b3c4d5e6f'), asText],
  ['varchar', '', asIs],
  ['varint', types.Integer.fromString('-170141183460469231731687303715884105729'), asText],
]
