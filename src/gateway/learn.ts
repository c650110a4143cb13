/** What a PREPARED tells a gateway of a statement: its id, who has it, and where its partition key is bound. */
import type { ProtocolVersion } from '../cql/protocol.ts'
import { headerFlags } from '../cql/protocol.ts'
import { PrepareView, readPrepare } from '../cql/requests.ts'
import { readPrepared } from '../cql/responses.ts'
import type { Lane } from './lane.ts'
import type { Router } from './routing/router.ts'
import { KeyMarkers } from './routing/routing-key.ts'
import { Statement, type StatementTable } from './routing/statements.ts'

const view = new PrepareView()

/** `prepare` is the client's envelope, and is kept; `buffer[start..end)` is the answer that came on `lane`. */
export function learnStatement(
  router: Router,
  table: StatementTable,
  lane: Lane,
  version: ProtocolVersion,
  prepare: Buffer,
  buffer: Buffer,
  start: number,
  end: number,
): void {
  const { id, bind } = readPrepared(buffer, start, end, version)
  const known = table.ids.find(id, 0, id.length)
  if (known?.prepare.subarray(FIXED_BYTES).equals(prepare.subarray(FIXED_BYTES))) {
    known.nowOn(lane.link)
    return
  }
  readPrepare(view, prepare, 0, prepare.length, version, headerFlags(prepare, 0))
  const route = router.texts.of(view.text, view.keyspace ?? lane.keyspace)
  if (route.mayUse) return
  // v3 does not say which markers are the key; there they come from the text and the table, as soon as that is known.
  const names = bind.columns.map(({ name }) => name)
  const keyed =
    version >= 4
      ? {
          keyspace: bind.keyspace || route.keyspace,
          table: bind.table || route.table,
          reads: route.reads,
          key: KeyMarkers.of(bind.pkIndexes, names),
        }
      : route
  const inForce = route.unqualified && view.keyspace === undefined ? lane.keyspace : undefined
  const statement = new Statement(id, prepare, inForce, keyed)
  router.statements.add(table, statement)
  statement.nowOn(lane.link)
}

/** Version, flags and stream differ between two PREPAREs of one statement. */
const FIXED_BYTES = 4
