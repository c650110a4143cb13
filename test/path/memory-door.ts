/** A third door, added from outside `src`: its clients ask in memory, in the process of the sidecar. */
import type { BytesBudget } from '../../src/base/bytes-budget.ts'
import type { Backend, ClientInfo } from '../../src/session/backend.ts'
import { ClientLife, PausedBy } from '../../src/session/client-life.ts'

export class MemoryDoor extends ClientLife {
  readonly version = 4 as const
  readonly answers: Buffer[] = []
  reads = true
  ended: string | undefined

  constructor(info: ClientInfo, budget: BytesBudget) {
    const account = budget.open(info.identity.key, info.address)
    super({ door: 'client in memory', account, nowMs: Date.now })
    this.enter(info)
  }

  use(backend: Backend): void {
    this.backend = backend
  }

  ask(request: Buffer): void {
    this.serve(request, 0, request.length)
  }

  /** It takes no answers. */
  stall(): void {
    this.pauseFor(PausedBy.OUTBOX)
  }

  protected give(buffer: Buffer, start: number, end: number): void {
    this.answers.push(Buffer.from(buffer.subarray(start, end)))
  }

  protected read(on: boolean): void {
    this.reads = on
  }

  protected finish(reason: string): void {
    this.ended = reason
    this.over()
  }
}
