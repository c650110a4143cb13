/** The three tables as rows in memory, out of the virtual hosts. */
import { shapeOf, Table, type TableColumn, type TableShape } from '../../cql/query/table.ts'
import { inetBytes } from '../../cql/text-bytes.ts'
import { type CqlType, listOf, native } from '../../cql/types.ts'
import { encodeValue } from '../../cql/values.ts'
import { BodyWriter } from '../../cql/writer.ts'
import { type SystemColumn, type SystemTable, systemColumns } from './columns.ts'
import type { TopologyModel, VirtualHost } from './model.ts'
import { cellOf, hostsOf } from './values.ts'

const bigint = native('bigint')
const int = native('int')

/** Virtual rows were written when this process began; nobody can tell better. */
const writtenMicros = BigInt(Math.round(performance.timeOrigin)) * 1000n

interface Stamp {
  readonly of: SystemColumn
  readonly kind: 'writetime' | 'ttl' | 'maxwritetime'
}

const stampKinds = ['writetime', 'ttl', 'maxwritetime'] as const
const stamps = (table: SystemTable): Stamp[] =>
  systemColumns[table]
    .filter(({ role }) => role === 'regular')
    .flatMap((of) => stampKinds.map((kind): Stamp => ({ of, kind })))

const isMulticell = ({ kind }: CqlType): boolean => kind === 'set' || kind === 'map'

/** Of a collection there is one for each of its cells, but for `maxwritetime`. */
function stampType({ of, kind }: Stamp): CqlType {
  const one = kind === 'ttl' ? int : bigint
  return kind !== 'maxwritetime' && isMulticell(of.type) ? listOf(one) : one
}

function stampCell(stamp: Stamp, cell: Buffer | null): Buffer | null {
  if (cell === null) return null
  const { of, kind } = stamp
  const one = kind === 'ttl' ? null : encodeValue(bigint, writtenMicros)
  if (kind === 'maxwritetime' || !isMulticell(of.type)) return one
  const count = cell.readInt32BE(0)
  const body = new BodyWriter().int(count)
  for (let i = 0; i < count; i++) body.bytes(one)
  return body.take()
}

function makeShape(table: SystemTable, stamped: boolean): TableShape {
  const own = systemColumns[table]
  const columns = own.map(
    ({ name, type, role }): TableColumn => ({
      name,
      type,
      kind: role === 'partition' ? 'partition_key' : role,
      position: role === 'regular' ? -1 : 0,
      multicell: isMulticell(type),
    }),
  )
  const behind = stamped
    ? stamps(table).map((stamp): TableColumn => {
        const name = `${stamp.kind}(${stamp.of.name})`
        return { name, type: stampType(stamp), kind: 'regular', position: -1 }
      })
    : []
  return shapeOf('system', table, [...columns, ...behind], 'murmur3', own.length)
}

const shapes = new Map<string, TableShape>()

export function shapeFor(table: SystemTable, stamped: boolean): TableShape {
  const key = `${table} ${stamped}`
  const known = shapes.get(key) ?? makeShape(table, stamped)
  shapes.set(key, known)
  return known
}

/** The rows as `self`, the host that the client is connected to, would list them. */
export function tableOf(table: SystemTable, stamped: boolean, model: TopologyModel, self: VirtualHost): Table {
  const own = systemColumns[table]
  const rows = inKeyOrder(hostsOf(table, model, self)).map((host) => {
    const cells = new Map(own.map((column) => [column.name, cellOf(table, column, host, model)]))
    const behind = stamped ? stamps(table).map((stamp) => stampCell(stamp, cells.get(stamp.of.name) ?? null)) : []
    return [...cells.values(), ...behind]
  })
  return Table.of(shapeFor(table, stamped), rows)
}

/** Rows of one partition stand together, by their port. */
function inKeyOrder(hosts: readonly VirtualHost[]): VirtualHost[] {
  return hosts.toSorted((a, b) => Buffer.compare(inetBytes(a.address), inetBytes(b.address)) || a.port - b.port)
}
