/** The envelope, read to its last byte. A BATCH is read with its statements (`batch.ts`). */
import { RingfenceError } from '../../base/errors.ts'
import { Opcode } from '../../cql/protocol.ts'
import {
  ExecuteView,
  type ParamsView,
  PrepareView,
  QueryView,
  readExecute,
  readPrepare,
  readQuery,
} from '../../cql/requests.ts'
import type { Request } from '../request.ts'
import { type Session, Step } from './stage.ts'

// Filled anew for each envelope.
const query = new QueryView()
const prepare = new PrepareView()
const execute = new ExecuteView()

export function read(request: Request, { version }: Session): Step {
  const { opcode } = request
  switch (opcode) {
    case Opcode.EXECUTE:
      readExecute(execute, request, version)
      request.idStart = execute.idStart
      request.idEnd = execute.idEnd
      setParams(request, execute, execute.params)
      return Step.NEXT
    case Opcode.QUERY:
      readQuery(query, request, version)
      request.text = query.text
      setParams(request, query, query.params)
      return Step.NEXT
    case Opcode.PREPARE:
      readPrepare(prepare, request, version)
      request.text = prepare.text
      request.keyspace = prepare.keyspace
      request.params = undefined
      request.consistency = 0
      setPayload(request, prepare)
      return Step.NEXT
    case Opcode.BATCH:
      return Step.NEXT
    default:
      throw new RingfenceError('PROTOCOL', `unknown opcode ${opcode}`)
  }
}

function setParams(request: Request, view: PayloadRange, params: ParamsView): void {
  request.params = params
  request.consistency = params.consistency
  request.keyspace = params.keyspace
  setPayload(request, view)
}

interface PayloadRange {
  readonly payloadStart: number
  readonly payloadEnd: number
}

export function setPayload(request: Request, { payloadStart, payloadEnd }: PayloadRange): void {
  request.payloadStart = payloadStart
  request.payloadEnd = payloadEnd
}
