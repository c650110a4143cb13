/** The record as the sidecar's document asks for it: lines of JSON, or sealed. What seals is loaded where it is asked for. */
import { createRequire } from 'node:module'
import type { Barrier } from '../audit/event.ts'
import { Recorded } from '../audit/recorded.ts'
import type { ShippingFigures } from '../audit/sealed/shipping.ts'
import { type AuditFigures, AuditWriter } from '../audit/writer.ts'
import { systemClock } from '../base/clock.ts'
import { after, nothingEnds } from '../base/contained.ts'
import type { CollectAnswer, CollectRequest } from '../mesh/collection.ts'
import type { Credentials } from '../mesh/credentials.ts'
import type { WitnessAnswer, WitnessRequest } from '../mesh/witness.ts'
import type { Logger } from '../telemetry/log.ts'
import type { SidecarConfig } from './config.ts'

const load = createRequire(import.meta.url)

/** One file of lines, or one segment, has at most so much and a little more. */
const fileBytesMax = { lines: 256 * 1024 * 1024, sealed: 64 * 1024 * 1024 }

export interface RecordOptions {
  readonly config: SidecarConfig
  readonly directory: string
  readonly credentials: () => Credentials
  readonly log: Logger
  /** Shows each checkpoint of a sealed record to the control plane; none is shown where it is not given. */
  readonly askWitness: ((request: WitnessRequest) => Promise<WitnessAnswer>) | undefined
  /** Hands a sealed record over to the control plane, where the document says so. */
  readonly collect: ((request: CollectRequest) => Promise<CollectAnswer>) | undefined
  /** Of the policy in force. */
  readonly revision: () => number
}

export interface TransactionRecord {
  readonly barrier: Barrier
  readonly figures: AuditFigures
  /** Undefined where it is not collected. */
  readonly shipping: ShippingFigures | undefined
  /** Resolves when what was written is handed over, or could not be in this time. */
  close(): Promise<void>
}

/** A sidecar that stops waits so long for the control plane to take the end of its record. */
const handOverMsMax = 5_000

/** @throws RingfenceError UNAVAILABLE where it cannot be written */
export function recordOf({
  config,
  directory,
  credentials,
  log,
  askWitness,
  collect,
  revision,
}: RecordOptions): TransactionRecord {
  const told = {
    directory,
    proxy: config.name,
    clock: systemClock,
    onFailure: (error: Error) =>
      log.error({ err: error }, 'the audit cannot be written; nothing is forwarded until it can'),
    onRecovery: () => log.info('the audit can be written again'),
  }
  const { format = 'lines', durability = 'kernel' } = config.audit
  if (format === 'lines') {
    const writer = new AuditWriter({ ...told, fileBytesMax: fileBytesMax.lines })
    const barrier = new Recorded(writer, revision)
    return shownAs(writer, barrier, undefined, () => Promise.resolve(writer.close()))
  }
  const { sealedRecordOf } = load('./sealed-record.ts') as typeof import('./sealed-record.ts')
  const { collect: collected, keepMegabytesMax } = config.audit
  const {
    writer,
    barrier,
    shipping,
    told: lastTold,
  } = sealedRecordOf({
    ...{ ...told, durability, segmentBytesMax: fileBytesMax.sealed, credentials, log, askWitness, revision },
    collect: collected === true ? collect : undefined,
    keepBytesMax: keepMegabytesMax === undefined ? undefined : keepMegabytesMax * 1_000_000,
  })
  return shownAs(writer, barrier, shipping, async () => {
    writer.close()
    const { promise: isLate, resolve: late } = Promise.withResolvers<void>()
    const timer = after(nothingEnds, 'the end of the record', handOverMsMax, late)
    await Promise.race([Promise.allSettled([lastTold()]), isLate])
    clearTimeout(timer)
    shipping?.stop()
    if (shipping === undefined) return
    const { uncollectedBytes, uncollectedWhy } = shipping.figures
    if (uncollectedBytes > 0)
      log.warn({ uncollectedBytes, why: uncollectedWhy }, 'the end of the record is not collected; it is kept here')
  })
}

function shownAs(
  writer: { readonly figures: AuditFigures },
  barrier: Barrier,
  shipping: { readonly figures: ShippingFigures } | undefined,
  close: () => Promise<void>,
): TransactionRecord {
  return {
    barrier,
    get figures() {
      return writer.figures
    },
    get shipping() {
      return shipping?.figures
    },
    close,
  }
}
